"""Sequences with different adapters side by side: each says what it says alone."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers

from llm_server.adapters.selection import Wanted
from tests.llm_server.adapters.conftest import Rig
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.running import Run

NAMES = [f"adapter-{n}" for n in range(4)]
TEXTS = ["tell me a story", "tell me a joke about cats", "tell me a story about a long journey by train"]


def scores(run: Run) -> list[tuple[int, float]]:
    """Tokens with their log probabilities."""
    run.wait()
    return [(score.token, score.logprob) for score in run.scores]


def near(some: list[tuple[int, float]], others: list[tuple[int, float]]) -> float:
    """Largest distance of log probabilities; infinite where a token differs."""
    if [token for token, _ in some] != [token for token, _ in others]:
        return float("inf")
    return max((abs(a - b) for (_, a), (_, b) in zip(some, others, strict=True)), default=0.0)


def test_an_adapter_changes_what_is_said_and_the_base_is_as_before(rig: Rig) -> None:
    before = scores(rig.run("hello", logprobs=0))
    rig.made("a", 1)
    assert near(scores(rig.run("hello", "a", logprobs=0)), before) > 0.01
    assert near(scores(rig.run("hello", logprobs=0)), before) < 1e-4


def test_random_interleavings_never_answer_from_another_adapter(rig: Rig) -> None:
    """The same beginnings under all adapters, so that a cache that mixed them up would be found out."""
    for seed, name in enumerate(NAMES):
        rig.made(name, seed)
    rng = random.Random(5)
    chosen = [*NAMES, ""]
    alone = {
        (name, text): scores(rig.run(text, *filter(None, [name]), logprobs=0))
        for name in chosen
        for text in TEXTS
    }
    for _ in range(12):
        batch = [(rng.choice(chosen), rng.choice(TEXTS)) for _ in range(12)]
        runs = [rig.run(text, *filter(None, [name]), logprobs=0) for name, text in batch]
        for (name, text), run in zip(batch, runs, strict=True):
            said = scores(run)
            distances = {other: near(said, alone[other, text]) for other in chosen}
            assert min(distances, key=lambda other: distances[other]) == name
            assert distances[name] < 0.01
            assert run.sequence.reused >= run.sequence.prompt_length - 1


def test_scales_and_sums_are_other_models(rig: Rig) -> None:
    rig.made("a", 1)
    rig.made("b", 2)
    wanted = [
        (),
        (Wanted("a"),),
        (Wanted("a", scale=0.5),),
        (Wanted("a", scale=-1),),
        (Wanted("b"),),
        (Wanted("a"), Wanted("b")),
        (Wanted("a"), Wanted("b", scale=0.5)),
    ]
    runs = [rig.run("hello there", *some, logprobs=0) for some in wanted]
    said = [scores(run) for run in runs]
    assert all(near(a, b) > 1e-3 for i, a in enumerate(said) for b in said[:i])
    assert near(scores(rig.run("hello there", Wanted("a", scale=0.0), logprobs=0)), said[0]) < 1e-4
    halves = rig.run("hello there", Wanted("a", scale=0.5), Wanted("a", scale=0.5), logprobs=0)
    assert near(scores(halves), said[1]) < 1e-4


def test_a_group_of_many_does_not_starve_one(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.made("a", 1)
    many = [rig.run(f"question {n}", "a", max_tokens=60) for n in range(7)]
    one = rig.run("and mine", max_tokens=20)
    one.wait()
    assert all(len(run.sequence.tokens) < run.sequence.prompt_length + 60 or run.events for run in many)
    ahead = [run.sequence.generated for run in many]
    assert max(ahead) <= 2 * one.sequence.generated + 16
    assert {run.wait().reason for run in many} <= {"length", "stop"}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")
def test_logits_are_those_of_peft(rig: Rig, models: Path) -> None:
    folder = make_adapter(rig.folder / "a", 3, rank=8, use_rslora=True)
    rig.load("a", folder)
    base = transformers.AutoModelForCausalLM.from_pretrained(models / "tiny", dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, folder).eval()
    run = rig.run("which books do you have", "a", max_tokens=10, logprobs=0).wait()
    tokens, start = run.sequence.tokens, run.sequence.prompt_length
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([tokens])).logits[0].double(), -1)
    got = np.array([score.logprob for score in run.scores])
    expected = np.array([float(wanted[start - 1 + i, score.token]) for i, score in enumerate(run.scores)])
    assert np.abs(got - expected).max() < 5e-3
    assert [int(wanted[start - 1 + i].argmax()) for i in range(len(got))] == tokens[start:]
