"""The real backend: batches, prefixes, samplers."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest

from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.backends.llama_sampler import utf8_tail
from llm_server.engine.backend import Chunk
from llm_server.engine.engine import Limits
from llm_server.engine.grammar import Directive, FixedGuide, Grammar
from llm_server.engine.sampling import SamplingParams
from llm_server.errors import BadRequest, PreparationFailed
from tests.llm_server.running import GREEDY, running, say, start

WORDS = ["cats", "dogs", "refunds", "orders", "trains", "rivers", "clouds", "books"]


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_k_m"])
def test_a_batch_of_16_tokens_decodes_in_every_quantisation(tiny: Callable[[str], Path], kind: str) -> None:
    """Repacked weights ended the process here: see use_extra_bufts in the backend."""
    backend = LlamaBackend(tiny(kind), LlamaOptions(threads=1, context=256))
    rows = backend.decode([Chunk(0, 0, list(range(16)), True), Chunk(1, 0, list(range(16)), True)])
    assert rows == [15, 31]
    assert backend.logits(15).shape == (backend.vocabulary.size,)
    backend.close()


def test_every_beginning_of_a_character_can_be_finished() -> None:
    """Two bytes of a surrogate were taken for one, and then no token fitted."""
    dead = [b"\xed\xa0", b"\xed\xbc", b"\xe0\x80", b"\xf0\x80", b"\xf4\x90", b"\xc0", b"\xff", b"\x80"]
    assert [utf8_tail(tail) for tail in dead] == [None] * len(dead)
    for text in ("é", "€", "\ud7ff", "\U0010ffff", "\U00010000", "\u0800"):
        whole = text.encode()
        assert [utf8_tail(whole[:n]) for n in range(1, len(whole))] == [
            whole[:n] for n in range(1, len(whole))
        ]
        assert utf8_tail(whole) == b""


def test_a_batch_says_what_each_sequence_says_alone(backend: LlamaBackend) -> None:
    prompts = [say(f"question {n} about {word} " * (n + 1)) for n, word in enumerate(WORDS)]
    with running(backend, Limits(running=1)) as engine:
        alone = [start(engine, prompt, max_tokens=24).wait().sequence.tokens for prompt in prompts]
    with running(backend, Limits(running=8, step_tokens=64)) as engine:
        runs = [start(engine, prompt, max_tokens=24) for prompt in prompts]
        assert [run.wait().sequence.tokens for run in runs] == alone


def test_a_reused_prefix_changes_nothing(backend: LlamaBackend) -> None:
    with running(backend) as engine:
        first = start(engine, say("the same long beginning " * 5)).wait()
        again = start(engine, say("the same long beginning " * 5)).wait()
        assert again.sequence.tokens == first.sequence.tokens
        assert again.sequence.reused == again.sequence.prompt_length - 1
        other = start(engine, say("the same long beginning " * 4 + "and another end")).wait()
        assert other.sequence.reused > 20
        cold = start(engine, say("something else")).wait()
        assert cold.sequence.reused < 10


@pytest.mark.parametrize("cells", [None, 600], ids=["a buffer each", "one buffer"])
def test_what_was_shared_or_saved_is_what_was_computed(
    tiny: Callable[[str], Path], cells: int | None
) -> None:
    """Logits after one more token: of a copy of a prefix, and of one that was away meanwhile."""
    options = LlamaOptions(threads=1, running=3, context=256, cache_tokens=cells, float32_cache=True)
    backend = LlamaBackend(tiny("f16"), options)
    tokens = list(range(40, 80))

    def after(slot: int, start: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        return backend.logits(backend.decode([Chunk(slot, start, [7], True)])[0]).copy()

    backend.decode([Chunk(0, 0, tokens, False)])
    backend.share(0, 1, 30)
    blob = backend.save(0)
    whole = after(0, 40)
    backend.trim(0, 0)
    backend.decode([Chunk(0, 0, tokens[:30], False)])
    # In one buffer the two lie in different cells and sums run in another order: 4e-4 apart with AVX-512,
    # while another prefix is tenths away.
    np.testing.assert_allclose(after(1, 30), after(0, 30), atol=2e-3)
    backend.trim(0, 0)
    backend.decode([Chunk(0, 0, tokens[::-1], False)])
    backend.trim(2, 0)
    assert backend.restore(2, blob)
    np.testing.assert_array_equal(after(2, 40), whole)
    backend.close()


def test_more_conversations_than_slots_go_on_where_they_were(backend: LlamaBackend) -> None:
    """Ten of them take turns in eight slots; every second turn finds its first one."""
    talks = [say(f"{n} {word} " * 12) for n, word in enumerate(WORDS + WORDS[:2])]
    with running(backend) as engine:
        first = [start(engine, talk, max_tokens=8).wait() for talk in talks]
        again = [start(engine, talk, max_tokens=8).wait() for talk in talks]
        assert [run.sequence.tokens for run in again] == [run.sequence.tokens for run in first]
        assert [run.sequence.reused for run in again] == [run.sequence.prompt_length - 1 for run in again]
        assert engine.scheduler.cache.saved_bytes > 0


def test_a_small_cache_still_serves_everyone(tiny: Callable[[str], Path]) -> None:
    options = LlamaOptions(threads=1, cache_tokens=256, running=4)
    backend = LlamaBackend(tiny("f16"), options)
    with running(backend, Limits(running=4)) as engine:
        runs = [start(engine, say(f"{word} " * 20), max_tokens=60) for word in WORDS]
        assert {run.wait().reason for run in runs} <= {"length", "stop"}
    backend.close()


def test_a_seed_repeats_and_another_does_not(backend: LlamaBackend) -> None:
    hot = SamplingParams(temperature=1.5, seed=1)
    with running(backend) as engine:
        texts = [start(engine, say("hi"), params=p).wait().text for p in (hot, hot, replace(hot, seed=2))]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1, top_k=1),
        SamplingParams(temperature=1, top_p=1e-6),
        SamplingParams(temperature=1, min_p=1.0),
    ],
)
def test_narrow_sampling_is_greedy(backend: LlamaBackend, params: SamplingParams) -> None:
    with running(backend) as engine:
        assert start(engine, say("hi"), params=params).wait().text == start(engine, say("hi")).wait().text


def test_a_bias_decides(backend: LlamaBackend) -> None:
    token = backend.vocabulary.tokenize("q")[0]
    with running(backend) as engine:
        run = start(engine, say("hi"), params=replace(GREEDY, logit_bias={token: 100.0}), max_tokens=4).wait()
    assert run.text == "qqqq"


def test_a_penalty_avoids_what_was_said(backend: LlamaBackend) -> None:
    token = backend.vocabulary.tokenize("q")[0]
    params = replace(GREEDY, logit_bias={token: 100.0}, frequency_penalty=200.0)
    with running(backend) as engine:
        assert start(engine, say("hi"), params=params, max_tokens=6).wait().text.count("q") == 1


def test_log_probabilities_are_the_models(backend: LlamaBackend) -> None:
    with running(backend) as engine:
        run = start(engine, say("hi"), params=replace(GREEDY, logprobs=3), max_tokens=3).wait()
    assert len(run.scores) == 3
    for score in run.scores:
        assert score.logprob == max(p for _, _, p in score.top) <= 0
        assert len(score.top) == 3


def test_two_grammars_in_one_batch(backend: LlamaBackend) -> None:
    with running(backend) as engine:
        runs = [
            start(engine, say("a"), guide=FixedGuide(Grammar('root ::= "{\\"n\\": " [0-9]{3} "}"'))),
            start(engine, say("b"), guide=FixedGuide(Grammar('root ::= ("yes" | "no")'))),
            start(engine, say("c"), max_tokens=10),
        ]
        texts = [run.wait().text for run in runs]
    assert isinstance(json.loads(texts[0])["n"], int) or texts[0].startswith('{"n": 0')
    assert texts[1] in {"yes", "no"}
    assert runs[0].reason == runs[1].reason == "stop"


def test_an_exempt_token_comes_where_the_grammar_may_end_and_never_inside_it(backend: LlamaBackend) -> None:
    (mark,) = backend.vocabulary.tokenize("<tool_call>", special=True)
    wanted = SamplingParams(temperature=0, logit_bias={mark: 90.0})
    quoted = Grammar('root ::= "\\"" "ab" "\\"" [a-z ]*')

    class Calls(FixedGuide):
        """Ends at the mark; the grammar has a token of its own first."""

        def begin(self) -> Directive:
            return Directive(grammar=quoted, exempt=frozenset({mark}))

        def after(self, text: str, token: int, complete: bool) -> Directive | None:
            return Directive(finish="tool_calls") if token == mark else None

    unbiased = SamplingParams(temperature=0, logit_bias={mark: -90.0})
    with running(backend) as engine:
        at_once = start(engine, say("a"), guide=Calls(quoted), params=wanted, max_tokens=20).wait()
        never = start(engine, say("a"), guide=Calls(quoted), params=unbiased, max_tokens=20).wait()
    assert (at_once.text, at_once.reason) == ("", "tool_calls")
    assert never.text.startswith('"ab"')

    class Late(Calls):
        """The mark is wanted as soon as something has been said."""

        def begin(self) -> Directive:
            return Directive(grammar=quoted, exempt=frozenset())

        def after(self, text: str, token: int, complete: bool) -> Directive | None:
            if text == '"' and not complete:
                return Directive(grammar=quoted, exempt=frozenset({mark}), replay=True)
            return super().after(text, token, complete)

    with running(backend) as engine:
        late = start(engine, say("a"), guide=Late(quoted), params=wanted, max_tokens=20).wait()
    assert (late.text, late.reason) == ('"ab"', "tool_calls")


def test_a_broken_grammar_is_the_requests_fault(backend: LlamaBackend) -> None:
    with running(backend) as engine:
        run = start(engine, say("a"), guide=FixedGuide(Grammar("root ::= broken ["))).wait()
        assert start(engine, say("a")).wait().reason
    assert "grammar" in str(run.end)
    with pytest.raises(BadRequest):
        raise run.end.error  # type: ignore[union-attr]  # it failed


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF not at all")
    with pytest.raises(PreparationFailed, match=r"x\.gguf"):
        LlamaBackend(path)


@pytest.fixture
def plain(tiny: Callable[[str], Path]) -> Iterator[LlamaBackend]:
    loaded = LlamaBackend(tiny("f16"), LlamaOptions(threads=1))
    yield loaded
    loaded.close()


def test_the_vocabulary_reads_and_writes(plain: LlamaBackend) -> None:
    vocabulary = plain.vocabulary
    text = "naïve 日本 🎉 \t end"
    tokens = vocabulary.tokenize(text)
    assert b"".join(map(vocabulary.piece, tokens)).decode() == text
    assert vocabulary.tokenize("<|im_end|>", special=True) == [vocabulary.specials["<|im_end|>"]]
    assert len(vocabulary.tokenize("<|im_end|>")) > 1
    assert vocabulary.is_end(vocabulary.specials["<|im_end|>"])
    assert vocabulary.chat_template
    assert plain.context == 1024


def test_a_core_is_lent_between_steps_and_taken_back(tiny: Callable[[str], Path]) -> None:
    backend = LlamaBackend(tiny("f16"), LlamaOptions(threads=2, context=256))
    place = count()

    def threads() -> int:
        backend.decode([Chunk(0, next(place), [5], True)])
        return int(llama.llama_n_threads(backend._context))

    assert threads() == 2
    with backend.lending_a_core():
        assert threads() == 1
        with backend.lending_a_core():
            assert threads() == 1, "one is left"
    assert threads() == 2
    held = backend.lending_a_core()
    with backend._stepping, ThreadPoolExecutor(1) as other:
        lending = other.submit(held.__enter__)
        with pytest.raises(TimeoutError):
            lending.result(0.05)
        backend._stepping.release()  # the step that ran is through
        lending.result(60)
        backend._stepping.acquire()
    assert threads() == 1
    backend.close()
