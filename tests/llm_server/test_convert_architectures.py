"""Families of models, converted and read by llama.cpp, have the tokens and logits of transformers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.convert.gguf import quantise
from llm_server.convert.prepare import folder_to_gguf
from llm_server.engine.backend import Chunk
from tests.llm_server.architectures import ARCHITECTURES, TEXTS, Checkpoint

HALF = 0.03
"""Largest difference of any logit in 16 bits, in standard deviations of the logits."""
BOUNDS = {"q8_0": 0.1, "q4_k_m": 0.7}
"""The same of the root mean square in fewer bits; unrelated logits are 1.4 apart."""


def open_model(path: Path) -> LlamaBackend:
    return LlamaBackend(path, LlamaOptions(running=1, threads=1, context=256, float32_cache=True))


def by_position(backend: LlamaBackend, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Logits after each token, one token at a time: [tokens, vocabulary]."""
    out = []
    for at, token in enumerate(tokens):
        (row,) = backend.decode([Chunk(0, at, [token], True)])
        out.append(backend.logits(row).copy())
    backend.trim(0, 0)
    return np.stack(out)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_and_logits_are_those_of_transformers(tmp_path: Path, architecture: str) -> None:
    checkpoint = Checkpoint(tmp_path / architecture, architecture)
    full = tmp_path / "f16.gguf"
    folder_to_gguf(checkpoint.folder, full, "f16")
    backend = open_model(full)
    prompts = [checkpoint.tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert [backend.vocabulary.tokenize(text) for text in TEXTS] == prompts
    expected = np.concatenate([checkpoint.logits(tokens) for tokens in prompts])
    found = np.concatenate([by_position(backend, tokens) for tokens in prompts])
    spread = expected.std()
    assert np.abs(found - expected).max() < HALF * spread
    first = found.argmax(1)
    assert (first == expected.argmax(1)).mean() >= 0.99
    assert (expected.max(1) - expected[range(len(first)), first]).max() < HALF * spread
    at_once = backend.decode([Chunk(0, 0, prompts[0], True)])[0]
    assert np.abs(backend.logits(at_once) - expected[len(prompts[0]) - 1]).max() < HALF * spread
    backend.close()
    for kind, bound in BOUNDS.items():
        quantise(full, tmp_path / kind, kind)
        backend = open_model(tmp_path / kind)
        difference = by_position(backend, prompts[2]) - checkpoint.logits(prompts[2])
        assert np.sqrt((difference**2).mean()) < bound * spread, kind
        backend.close()
