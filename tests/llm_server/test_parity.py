"""Engines find the token likeliest that transformers, and PEFT, find likeliest: at every position of 32
prompts.
"""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from llm_server.convert.prepare import STARTER_FOLDER
from rlhf.starter.__main__ import WRITTEN
from rlhf.starter.cases import handwritten
from tests.llm_server.adapters.making import STARTER as SIZES
from tests.llm_server.adapters.making import TINY, make_adapter
from tests.llm_server.architectures import Checkpoint
from tests.llm_server.onnx_models import Reference
from tests.llm_server.positions import agreement, chats, computed, decoded, opened
from tests.llm_server.tiny import Sizes

PROMPTS = 32
ALIKE = 0.99
LLAMA = Sizes(width=64)
FLOORS = {"q8_0": 0.97, "q4_k_m": 0.85, "int8": 0.97, "int4": 0.85}
"""Least share of positions on the starter, of chats with tools."""


@pytest.mark.parametrize("kind", ["fp32", "fp16", "f16"])
def test_every_position_is_that_of_transformers(models: Path, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    prompts = [rng.integers(0, 260, size).tolist() for size in rng.integers(2, 90, PROMPTS)]
    folder, sizes = models / "tiny", TINY
    if kind == "fp16":
        # A processor computes it for models without norms of queries and keys only.
        folder, sizes = Checkpoint(tmp_path / "llama", "llama").folder, LLAMA
    adapter = make_adapter(tmp_path / "own", 1, rank=8, size=0.2, sizes=sizes)
    with FileLock(models / "lock"):
        reference = Reference(folder, {"own": adapter})
        with opened(folder, kind, models, adapter, threads=1) as (backend, own):
            alone, adapted = decoded(backend, prompts), decoded(backend, prompts, own)
    base, theirs = computed(reference.every, prompts), computed(reference.every, prompts, "own")
    assert agreement(alone, base) >= ALIKE
    assert agreement(adapted, theirs) >= ALIKE
    # Or the adapter would have proven nothing.
    assert agreement(base, theirs) < 0.9


@pytest.mark.parametrize("kind", FLOORS)
def test_fewer_bits_keep_the_floor_on_the_starter(models: Path, tmp_path: Path, kind: str) -> None:
    prompts, _ = chats(islice(handwritten(WRITTEN), 0, None, 12))
    adapter = make_adapter(tmp_path / "own", 1, rank=8, size=0.02, sizes=SIZES)
    reference = Reference(STARTER_FOLDER, {"own": adapter})
    with FileLock(models / "lock"), opened(STARTER_FOLDER, kind, models, adapter, 1) as (backend, own):
        alone, adapted = decoded(backend, prompts), decoded(backend, prompts, own)
    shares = (
        agreement(alone, computed(reference.every, prompts)),
        agreement(adapted, computed(reference.every, prompts, "own")),
    )
    assert min(shares) >= FLOORS[kind], shares
