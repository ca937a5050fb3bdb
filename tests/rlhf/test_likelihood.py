"""Perplexity and divergence are those of the weights, and nothing is divergent from itself."""

from math import exp, log
from pathlib import Path

import pytest
import torch

from rlhf.adapters import causal
from rlhf.likelihood import likelihoods
from rlhf.parity import adapted, tokenised
from tests.llm_server.adapters.making import make_adapter
from tests.rlhf.preferring import SIZES, rows
from tests.rlhf.preferring import base as make_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("likelihood") / "tiny")


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    return make_adapter(base.parent / "adapter", 5, sizes=SIZES)


def test_it_is_what_the_definition_says(base: Path, adapter: Path) -> None:
    [row] = rows(1)
    found = likelihoods(base, {"candidate": adapter}, [row], 512)
    tokenizer, model = adapted(base, adapter)
    tokens, first = tokenised(tokenizer, row)
    with torch.no_grad():
        new = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        old = causal(base).eval()(torch.tensor([tokens])).logits[0].log_softmax(-1)
    places = range(first - 1, len(tokens) - 1)
    nll = -sum(float(new[at, tokens[at + 1]]) for at in places) / len(places)
    kl = sum(float((new[at].exp() * (new[at] - old[at])).sum()) for at in places) / len(places)
    assert found["candidate"]["perplexity"] == pytest.approx(exp(nll), rel=1e-3)
    assert found["candidate"]["kl"] == pytest.approx(kl, rel=1e-3, abs=1e-5)
    assert found["candidate"]["tokens"] == len(places)
    # Random weights know nothing: about one in the vocabulary.
    assert log(found["base"]["perplexity"]) == pytest.approx(log(len(tokenizer)), rel=0.2)


def test_an_adapter_beside_another(base: Path, adapter: Path) -> None:
    found = likelihoods(base, {"current": adapter, "candidate": adapter}, rows(3), 512)
    assert found["current"] == found["candidate"]
    assert found["candidate"]["kl"] > 0
    assert found["base"]["kl"] == 0


def test_texts_that_are_too_long_are_left_out(base: Path, adapter: Path) -> None:
    assert likelihoods(base, {"candidate": adapter}, rows(2), 16) == {}
