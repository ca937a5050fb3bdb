"""Drafts change how fast a text comes, and nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_server.backends.echo import EchoBackend
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.engine.engine import Engine, Limits
from llm_server.engine.grammar import FixedGuide, Grammar
from llm_server.engine.observer import Observer
from llm_server.engine.sampling import SamplingParams
from llm_server.engine.speculation import MOST, PRIOR, REACH, Lookup, StepCost
from tests.llm_server.running import GREEDY, running, say, start

LIST = 'root ::= (item)*\nitem ::= "red, " | "green, " | "blue, "'


class Counting(Observer):
    """Adds up drafts."""

    def __init__(self) -> None:
        self.offered = self.taken = 0

    def drafted(self, offered: int, taken: int) -> None:
        """Both counts."""
        self.offered += offered
        self.taken += taken


@pytest.fixture(scope="module")
def exact(tiny: Callable[[str], Path]) -> Iterator[LlamaBackend]:
    options = LlamaOptions(threads=1, context=512, running=4, float32_cache=True)
    backend = LlamaBackend(tiny("f16"), options)
    yield backend
    backend.close()


class Cheap(StepCost):
    """Whatever was measured: a test must not hang on the clock."""

    def share(self, rows: int) -> float:
        """A tenth."""
        return 0.1


def observed(engine: Engine, speculate: bool = True) -> Counting:
    counting = Counting()
    engine._observer = counting
    engine.scheduler._cost = Cheap() if speculate else None
    return counting


@pytest.mark.parametrize(
    "params",
    [GREEDY, SamplingParams(temperature=0.2, seed=3), SamplingParams(temperature=0, frequency_penalty=0.01)],
)
def test_the_text_is_the_same_with_drafts_and_without(exact: LlamaBackend, params: SamplingParams) -> None:
    """A random model that may say four letters only repeats itself, which is what drafts are good for."""
    few = {exact.vocabulary.tokenize(letter)[0]: 50.0 for letter in "abcd"}
    params = replace(params, logit_bias=few)
    prompts = [say(f"{word} and " * 10) for word in ("cats", "dogs", "trains")]
    texts = []
    for speculate in (False, True):
        with running(exact, Limits(running=4)) as engine:
            counting = observed(engine, speculate)
            runs = [start(engine, prompt, params=params, max_tokens=120) for prompt in prompts]
            texts.append([run.wait().sequence.tokens for run in runs])
            assert bool(counting.offered) == speculate
    assert texts[0] == texts[1]
    assert counting.taken > 5


def test_a_grammar_holds_inside_a_draft(exact: LlamaBackend) -> None:
    texts = []
    for speculate in (False, True):
        with running(exact) as engine:
            counting = observed(engine, speculate)
            guide = FixedGuide(Grammar(LIST, "red, "))
            texts.append(start(engine, say("colours"), guide=guide, max_tokens=60).wait().text)
    assert texts[0] == texts[1]
    assert counting.taken > 5


def test_what_was_kept_of_a_wrong_draft_is_only_what_was_right() -> None:
    """The echo backend refuses a chunk that does not begin where its slot ends."""
    with running(EchoBackend()) as engine:
        counting = observed(engine)
        for text in ("abcabcabcabd abcabe", "one two one two one three one two"):
            assert start(engine, say(text), max_tokens=99).wait().text == text
        assert 0 < counting.taken < counting.offered


def test_who_does_not_want_drafts_has_none() -> None:
    with running(EchoBackend(), Limits(speculate=False)) as engine:
        engine._observer = counting = Counting()
        assert start(engine, say("abababababababab"), max_tokens=99).wait().text == "abababababababab"
        assert counting.offered == 0


def test_a_length_ends_inside_a_draft() -> None:
    with running(EchoBackend()) as engine:
        run = start(engine, say("abababababababab"), max_tokens=11).wait()
        assert (run.text, run.reason, run.sequence.usage().completion) == ("abababababa", "length", 11)


def test_drafts_stop_where_they_are_wrong_and_come_back() -> None:
    lookup = Lookup()
    tokens = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert lookup.draft(tokens, MOST, 1 / 3) == [4, 5]
    for _ in range(20):
        lookup.learn(2, 0)
    assert lookup.draft(tokens, MOST, 1 / 3) == []
    for _ in range(300):
        lookup.draft(tokens, MOST, 1 / 3)
    assert lookup.draft(tokens, MOST, 1 / 3) != []
    for _ in range(40):
        lookup.learn(4, 4)
    assert lookup.draft(tokens, MOST, 1 / 3) == [4, 5, 6, 1, 2, 3]
    assert lookup.draft(tokens, 2, 1 / 3) == [4, 5]
    assert lookup.draft([7, 8, 9], MOST, 0.0) == []


def test_the_latest_place_counts_and_the_end_itself_does_not() -> None:
    lookup = Lookup(chance=0.99)
    assert lookup.draft([1, 1, 1], MOST, 0.1) == []
    assert lookup.draft([5, 6, 7, 1, 5, 6, 7, 2, 5, 6, 7], 1, 0.1) == [2]
    assert REACH == 3


def test_the_cost_of_a_token_is_measured() -> None:
    cheap, dear = StepCost(), StepCost()
    for tokens in (1, 3, 5, 9) * 10:
        cheap.learn(tokens, 0.010 + 0.001 * tokens)
        dear.learn(tokens, 0.004 * tokens)
    assert cheap.share(1) == pytest.approx(1 / 11)
    assert cheap.share(8) == pytest.approx(0.001 / (0.010 / 8 + 0.001))
    assert dear.share(1) == pytest.approx(1.0)
    assert Lookup(chance=PRIOR).draft([1, 2, 3, 4, 1, 2, 3], MOST, dear.share(1)) == []


def test_steps_of_one_size_say_nothing_about_the_next_token() -> None:
    cost = StepCost()
    for _ in range(50):
        cost.learn(1, 0.01)
    assert cost.share(1) == pytest.approx(1 / 3)
