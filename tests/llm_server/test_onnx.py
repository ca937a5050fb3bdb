"""The ONNX Runtime engine without adapters: parity, slots, sampling, grammars."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.backends.onnx_manifest import MANIFEST, PLAIN, WEIGHTS
from llm_server.backends.onnx_memory import DeviceMemory, Memory
from llm_server.constraints.tools import CallGrammar, Words
from llm_server.engine.backend import Chunk
from llm_server.engine.engine import Limits
from llm_server.engine.grammar import FixedGuide, Grammar
from llm_server.engine.sampling import SamplingParams
from llm_server.errors import EngineFailure, PreparationFailed
from llm_server.tool_calls import Marks, ToolGuide
from tests.llm_server.onnx_models import Reference, prepared
from tests.llm_server.running import GREEDY, running, say, start

WORDS = ["cats", "dogs", "refunds", "orders", "trains", "rivers", "clouds", "books"]
EXACT = 1e-4


@pytest.fixture(scope="module")
def backend(models: Path) -> Iterator[OnnxBackend]:
    loaded = OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=24, threads=1))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def reference(models: Path) -> Reference:
    prepared(models, "fp32")
    return Reference(models / "tiny", {})


def prompts(count: int) -> list[list[int]]:
    rng = np.random.default_rng(count)
    return [rng.integers(0, 400, size).tolist() for size in rng.integers(2, 90, count)]


def check(
    backend: OnnxBackend, row: int, expected: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
) -> None:
    assert np.abs(backend.logits(row) - expected).max() < EXACT


def test_prompts_have_the_logits_of_transformers(backend: OnnxBackend, reference: Reference) -> None:
    sequences = prompts(5)
    rows = backend.decode([Chunk(slot, 0, tokens, True) for slot, tokens in enumerate(sequences)])
    for row, tokens in zip(rows, sequences, strict=True):
        check(backend, row, reference(tokens))


def test_a_prompt_in_parts_is_the_prompt(backend: OnnxBackend, reference: Reference) -> None:
    (tokens,) = [[*prompts(1)[0], *range(50)]]
    for start_at, stop in ((0, 1), (1, 20), (20, 21), (21, len(tokens))):
        last = stop == len(tokens)
        (row,) = backend.decode([Chunk(3, start_at, tokens[start_at:stop], last)])
        assert (row >= 0) == last
    check(backend, row, reference(tokens))


def test_slots_that_lie_apart_decode_in_one_run(backend: OnnxBackend, reference: Reference) -> None:
    slots = [20, 1, 9, 4, 15]
    sequences = dict(zip(slots, prompts(5), strict=True))
    backend.decode([Chunk(slot, 0, tokens, False) for slot, tokens in sequences.items()])
    for step in range(6):
        # Somebody leaves, comes back, and a prompt is computed beside them.
        chosen = [slot for slot in slots if (step + slot) % 3]
        for slot in chosen:
            sequences[slot].append(step * 7)
        chunks = [Chunk(s, len(sequences[s]) - 1, sequences[s][-1:], s != 9) for s in chosen]
        chunks.insert(1, Chunk(7, 0, [step, 5, 6], True))
        rows = backend.decode(chunks)
        assert sorted(row for row in rows if row >= 0) == list(range(sum(c.wanted for c in chunks)))
        for chunk, row in zip(chunks, rows, strict=True):
            tokens = sequences.get(chunk.slot, [step, 5, 6])
            if chunk.wanted:
                check(backend, row, reference(tokens))


class OnDevice(OnnxBackend):
    """Keys and values in the memory that CUDA would use, on the processor."""

    def _reserve(self, rows: int, context: int) -> Memory:
        return DeviceMemory(self.manifest, rows, context, "cpu")


def test_a_devices_memory_serves_as_well(models: Path, reference: Reference) -> None:
    backend = OnDevice(prepared(models, "fp32"), OnnxOptions(running=12, threads=1))
    first, second = prompts(2)
    backend.decode([Chunk(0, 0, first, False), Chunk(3, 0, second, False)])
    backend.share(3, 5, len(second))
    rows = backend.decode([Chunk(5, len(second), [7], True), Chunk(0, len(first), [8], True)])
    check(backend, rows[0], reference([*second, 7]))
    check(backend, rows[1], reference([*first, 8]))
    backend.close()


def test_a_shared_prefix_is_a_copy(backend: OnnxBackend, reference: Reference) -> None:
    tokens = prompts(1)[0] + list(range(40))
    backend.decode([Chunk(2, 0, tokens, False)])
    backend.share(2, 11, 30)
    other = [*tokens[:30], 9, 8, 7]
    rows = backend.decode([Chunk(11, 30, other[30:], True), Chunk(2, len(tokens), [5], True)])
    check(backend, rows[0], reference(other))
    check(backend, rows[1], reference([*tokens, 5]))


def test_what_was_trimmed_is_gone(backend: OnnxBackend, reference: Reference) -> None:
    tokens = prompts(1)[0] + list(range(40))
    backend.decode([Chunk(6, 0, tokens, False)])
    backend.trim(6, 10)
    again = [*tokens[:10], 3, 2, 1]
    (row,) = backend.decode([Chunk(6, 10, again[10:], True)])
    check(backend, row, reference(again))


def test_a_sequence_that_is_too_long_is_an_error_of_its_own(backend: OnnxBackend) -> None:
    with pytest.raises(EngineFailure, match="1024"):
        backend.decode([Chunk(0, backend.context, [1], True)])


@pytest.mark.parametrize(("precision", "error"), [("int8", 0.1), ("int4", 0.6)])
def test_fewer_bits_are_close(models: Path, reference: Reference, precision: str, error: float) -> None:
    backend = OnnxBackend(prepared(models, precision), OnnxOptions(running=6, threads=1))
    tokens = prompts(3)
    rows = backend.decode([Chunk(slot, 0, prompt, True) for slot, prompt in enumerate(tokens)])
    for row, prompt in zip(rows, tokens, strict=True):
        expected = reference(prompt)
        apart = np.linalg.norm(backend.logits(row) - expected) / np.linalg.norm(expected)
        assert 0 < apart < error
    full, small = ((prepared(models, kind) / WEIGHTS).stat().st_size for kind in ("fp32", precision))
    assert small < full / 2
    backend.close()


def test_long_prompts_are_cut_for_the_memory_of_attention(
    models: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_server.backends.onnx.ATTENTION_BYTES", 7 * 4 * 4 * 1024)
    backend = OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=1, threads=1))
    tokens = [*prompts(1)[0], *range(50)]
    (row,) = backend.decode([Chunk(0, 0, tokens, True)])
    check(backend, row, reference(tokens))
    backend.close()


def test_a_batch_says_what_each_sequence_says_alone(backend: OnnxBackend) -> None:
    texts = [say(f"question {n} about {word} " * (n + 1)) for n, word in enumerate(WORDS)]
    with running(backend, Limits(running=1)) as engine:
        alone = [start(engine, text, max_tokens=24).wait().sequence.tokens for text in texts]
    with running(backend, Limits(running=8, step_tokens=64)) as engine:
        runs = [start(engine, text, max_tokens=24) for text in texts]
        assert [run.wait().sequence.tokens for run in runs] == alone


def test_a_reused_prefix_changes_nothing(backend: OnnxBackend) -> None:
    with running(backend) as engine:
        first = start(engine, say("the same long beginning " * 5)).wait()
        again = start(engine, say("the same long beginning " * 5)).wait()
        other = start(engine, say("the same long beginning " * 4 + "and another end")).wait()
    assert again.sequence.tokens == first.sequence.tokens
    assert again.sequence.reused == again.sequence.prompt_length - 1
    assert other.sequence.reused > 20


def test_both_engines_say_the_same(backend: OnnxBackend, tiny: Callable[[str], Path]) -> None:
    peer = LlamaBackend(tiny("f32"), LlamaOptions(threads=1, float32_cache=True))
    params = SamplingParams(temperature=0.7, top_k=40, top_p=0.9, repetition_penalty=1.2, seed=5)
    said = []
    for engine_backend in (backend, peer):
        with running(engine_backend) as engine:
            said.append(
                [start(engine, say(word), params=p).wait().text for word in WORDS for p in (GREEDY, params)]
            )
    peer.close()
    assert said[0] == said[1]


def test_the_vocabulary_is_that_of_the_other_engine(
    backend: OnnxBackend, tiny: Callable[[str], Path]
) -> None:
    peer = LlamaBackend(tiny("f32"), LlamaOptions(threads=1, context=64))
    ours, theirs = backend.vocabulary, peer.vocabulary
    assert [ours.piece(i) for i in range(ours.size)] == [theirs.piece(i) for i in range(theirs.size)]
    assert (ours.specials, ours.control, ours.ends) == (theirs.specials, theirs.control, theirs.ends)
    assert (ours.eos, ours.chat_template) == (theirs.eos, theirs.chat_template)
    for text in ("naïve 日本 🎉 \t end", say("hi") + "<tool_call>", ""):
        for special in (True, False):
            assert ours.tokenize(text, special=special) == theirs.tokenize(text, special=special)
    peer.close()


def test_a_bias_and_a_penalty_decide(backend: OnnxBackend) -> None:
    token = backend.vocabulary.tokenize("q")[0]
    biased = replace(GREEDY, logit_bias={token: 100.0})
    with running(backend) as engine:
        assert start(engine, say("hi"), params=biased, max_tokens=4).wait().text == "qqqq"
        params = replace(biased, frequency_penalty=200.0)
        assert start(engine, say("hi"), params=params, max_tokens=6).wait().text.count("q") == 1


def test_log_probabilities_are_the_models(backend: OnnxBackend) -> None:
    with running(backend) as engine:
        run = start(engine, say("hi"), params=replace(GREEDY, logprobs=3), max_tokens=3).wait()
    for score in run.scores:
        assert score.logprob == max(p for _, _, p in score.top) <= 0


def test_grammars_in_one_batch(backend: OnnxBackend) -> None:
    with running(backend) as engine:
        runs = [
            start(engine, say("a"), guide=FixedGuide(Grammar('root ::= "{\\"n\\": " [1-9] [0-9]{2} "}"'))),
            start(engine, say("b"), guide=FixedGuide(Grammar('root ::= ("yes" | "no")'))),
            start(engine, say("c"), max_tokens=10),
            start(engine, say("d"), guide=FixedGuide(Grammar("root ::= broken ["))),
        ]
        texts = [run.wait().text for run in runs]
    assert json.loads(texts[0])["n"] > 99
    assert texts[1] in {"yes", "no"}
    assert "grammar" in str(runs[3].end)


def test_a_tool_call_fits_its_schema(backend: OnnxBackend) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
    grammar = CallGrammar([{"name": "weather", "parameters": schema}], Words(("in Rome",)))
    guide = ToolGuide(Marks.of(backend.vocabulary), grammar, forced=True, parallel=False)
    with running(backend) as engine:
        run = start(engine, say("in Rome"), guide=guide, max_tokens=120).wait()
    call = json.loads(run.text)
    assert call["name"] == "weather"
    assert run.reason == "tool_calls"
    assert call["arguments"]["city"] in {"Oslo", "Rome"}


def test_what_is_no_folder_of_ours_is_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(PreparationFailed, match="not a model for ONNX Runtime"):
        OnnxBackend(models / "tiny")
    copy = tmp_path / "copy"
    shutil.copytree(prepared(models, "fp32"), copy)
    (copy / PLAIN).write_bytes(b"not a graph")
    with pytest.raises(PreparationFailed, match="cannot load"):
        OnnxBackend(copy)
    (copy / WEIGHTS).unlink()
    with pytest.raises(PreparationFailed, match=r"weights\.bin missing"):
        OnnxBackend(copy)
    content = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(PreparationFailed, match="format 99"):
        OnnxBackend(copy)


def test_a_provider_that_is_not_installed_is_named(models: Path) -> None:
    with pytest.raises(PreparationFailed, match="onnxruntime-gpu"):
        OnnxBackend(prepared(models, "fp32"), OnnxOptions(provider="cuda"))


def test_a_small_memory_cuts_prefixes_first(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_server.backends.onnx.MEMORY_SHARE", 1e-12)
    backend = OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=2, threads=1))
    assert (backend.slots, backend.context) == (2, 256)
    backend.close()
