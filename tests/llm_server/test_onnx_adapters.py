"""Many adapters in one batch of the ONNX Runtime engine, against PEFT."""

import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.backends.onnx_bank import Banks
from llm_server.convert.onnx_adapter import convert_adapter
from llm_server.engine.backend import Chunk
from llm_server.engine.blend import BASE, Blend, Resident, blend
from llm_server.engine.engine import Engine, Limits
from llm_server.engine.sequence import CacheKey, Event
from llm_server.engine.sequence import Sequence as EngineSequence
from llm_server.errors import AdapterRefused, EngineFailure
from tests.llm_server.onnx_models import ATTENTION, EVERYTHING, Reference, make_peft, prepared
from tests.llm_server.running import GREEDY, Run, running, say

EXACT = 1e-4
KINDS = {"small": (2, ATTENTION), "wide": (8, EVERYTHING), "mlp": (16, ("mlp.down_proj",))}


@pytest.fixture(scope="module")
def backend(models: Path) -> Iterator[OnnxBackend]:
    loaded = OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=24, threads=1))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def folders(backend: OnnxBackend, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("peft")
    return {
        name: make_peft(base / name, backend.manifest, rank=rank, modules=modules, seed=rank)
        for name, (rank, modules) in KINDS.items()
    }


@pytest.fixture(scope="module")
def reference(models: Path, folders: dict[str, Path]) -> Reference:
    return Reference(models / "tiny", folders)


@pytest.fixture(scope="module")
def residents(
    backend: OnnxBackend, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Resident]:
    files = tmp_path_factory.mktemp("onnx")
    return {
        name: backend.load_adapter(convert_adapter(folder, backend.manifest, files / f"{name}.safetensors"))
        for name, folder in folders.items()
    }


def test_every_row_has_its_own_adapters(
    backend: OnnxBackend, reference: Reference, residents: dict[str, Resident]
) -> None:
    names: list[tuple[str, ...]] = [(), ("small",), ("wide",), ("mlp",), ("small", "wide"), ()]
    blends = [blend((residents[name], 1.0) for name in group) for group in names]
    slots = [0, 13, 5, 20, 9, 2]
    rng = np.random.default_rng(1)
    sequences = [rng.integers(0, 400, size).tolist() for size in (4, 30, 77, 11, 50, 9)]
    prompts = [Chunk(s, 0, t, True, b) for s, t, b in zip(slots, sequences, blends, strict=True)]
    for step in range(4):
        chunks = prompts if not step else []
        for slot, tokens, own in zip(slots, sequences, blends, strict=True):
            if step:
                tokens.append(step * 11)
                chunks.append(Chunk(slot, len(tokens) - 1, tokens[-1:], True, own))
        for row, tokens, group in zip(backend.decode(chunks), sequences, names, strict=True):
            assert np.abs(backend.logits(row) - reference(tokens, *group)).max() < EXACT
    assert np.abs(reference(sequences[0], "small") - reference(sequences[0])).max() > 0.1


def test_rows_that_change_their_adapters_have_the_new_ones(
    backend: OnnxBackend, reference: Reference, residents: dict[str, Resident]
) -> None:
    """Rows with matrices of their own: others come, two are weighed together, one is the base's again."""
    tokens = list(range(7, 27))
    rounds: list[list[tuple[str, ...]]] = [
        [("small",), ("wide",), ("mlp",)],
        [("mlp",), ("wide",), ("small",)],
        [("small", "mlp"), (), ("wide",)],
        [("wide",), ("mlp", "small"), ("wide", "mlp")],
    ]
    for groups in rounds:
        blends = [blend((residents[name], 1.0) for name in group) for group in groups]
        for slot, own in enumerate(blends):
            backend.decode([Chunk(slot, 0, tokens[:-1], False, own)])
        rows = backend.decode([Chunk(s, 19, tokens[-1:], True, own) for s, own in enumerate(blends)])
        for row, group in zip(rows, groups, strict=True):
            assert np.abs(backend.logits(row) - reference(tokens, *group)).max() < EXACT


def test_many_adapters_have_rows_of_their_own_and_few_share(residents: dict[str, Resident]) -> None:
    """Two in two rows are stacked; where many rows share two, all of them multiply both."""
    banks, kind = Banks(8), np.dtype(np.float32)
    small, wide, mlp = (blend([(residents[name], 1.0)]) for name in ("small", "wide", "mlp"))
    stacked = banks.of(2, [wide, mlp], kind)
    assert stacked.scales.shape == (2, 1, 16)
    assert {tensor.ndim for tensor in stacked.tensors.values()} == {3}
    shared = banks.of(0, [small, small, wide, wide, wide, small, small, small], kind)
    assert shared.scales.shape == (8, 1, 10)
    assert {tensor.ndim for tensor in shared.tensors.values()} == {2}
    assert banks.of(3, [mlp, wide], kind).matrices is stacked.matrices
    for name in ("wide", "mlp"):
        banks.forget(residents[name])
    assert banks.of(2, [wide, mlp], kind).matrices is not stacked.matrices


def test_a_scale_is_a_part_of_an_adapter(
    backend: OnnxBackend, folders: dict[str, Path], residents: dict[str, Resident], tmp_path: Path
) -> None:
    tokens = list(range(30))
    half = make_peft(tmp_path / "half", backend.manifest, rank=8, modules=EVERYTHING, seed=8, lora_alpha=8)
    file = convert_adapter(half, backend.manifest, tmp_path / "half.safetensors")
    chunks = [
        Chunk(0, 0, tokens, True, blend([(residents["wide"], 0.5)])),
        Chunk(1, 0, tokens, True, blend([(backend.load_adapter(file), 1.0)])),
    ]
    rows = backend.decode(chunks)
    assert np.abs(backend.logits(rows[0]) - backend.logits(rows[1])).max() < EXACT


def test_the_base_alone_runs_as_if_there_were_no_adapters(models: Path, tmp_path: Path) -> None:
    backend = OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=6, threads=1))
    tokens = list(range(40))
    (row,) = backend.decode([Chunk(0, 0, tokens, True)])
    before = backend.logits(row).copy()
    folder = make_peft(tmp_path / "one", backend.manifest)
    resident = backend.load_adapter(convert_adapter(folder, backend.manifest, tmp_path / "one.safetensors"))
    backend.decode([Chunk(1, 0, tokens, True, blend([(resident, 1.0)]))])
    (row,) = backend.decode([Chunk(0, 0, tokens, True)])
    assert (backend.logits(row) == before).all()
    backend.close()


def test_adapters_come_and_go(
    backend: OnnxBackend, reference: Reference, folders: dict[str, Path], tmp_path: Path
) -> None:
    """A freed adapter's memory is not read again, and its place in a bank is nobody else's."""
    tokens = list(range(20))

    def check(pairs: list[tuple[str, Resident]]) -> None:
        blends = [blend([(resident, 1.0)]) for _, resident in pairs]
        for slot, own in enumerate(blends):
            backend.decode([Chunk(slot, 0, tokens[:-1], False, own)])
        rows = backend.decode([Chunk(s, 19, tokens[-1:], True, own) for s, own in enumerate(blends)])
        for row, (name, _) in zip(rows, pairs, strict=True):
            assert np.abs(backend.logits(row) - reference(tokens, name)).max() < EXACT

    loaded = {
        name: backend.load_adapter(convert_adapter(folder, backend.manifest, tmp_path / f"{name}.st"))
        for name, folder in folders.items()
    }
    check([("small", loaded["small"]), ("wide", loaded["wide"])])
    backend.free_adapter(loaded.pop("wide"))
    check([("small", loaded["small"]), ("mlp", loaded["mlp"])])
    again = backend.load_adapter(tmp_path / "wide.st")
    check([("mlp", loaded["mlp"]), ("wide", again), ("small", loaded["small"])])
    check([("mlp", loaded["mlp"]), ("small", loaded["small"])])


def start_with(engine: Engine, text: str, own: Blend) -> Run:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    tokens = engine.backend.vocabulary.tokenize(text, special=True)
    key = CacheKey(engine.backend.digest, own.digest)
    sequence = EngineSequence(tokens, GREEDY, key, events.put, 12, blend=own)
    engine.submit([sequence])
    return Run(sequence, events)


def test_many_sequences_of_many_adapters(
    backend: OnnxBackend, reference: Reference, residents: dict[str, Resident]
) -> None:
    groups = [("small",), (), ("wide",), ("mlp", "small"), ("mlp",)]
    blends = [blend((residents[name], 1.0) for name in group) for group in groups]
    with running(backend, Limits(running=8, step_tokens=48)) as engine:
        runs = [start_with(engine, say(f"number {i} " * (1 + i % 4)), blends[i % 5]) for i in range(20)]
        tokens = [run.wait().sequence.tokens for run in runs]
    for i, (run, said) in enumerate(zip(runs, tokens, strict=True)):
        for at in range(run.sequence.prompt_length, len(said)):
            scores = reference(said[:at], *groups[i % 5])
            assert scores[said[at]] > scores.max() - EXACT


def test_an_adapter_that_was_never_loaded_is_an_error(models: Path, residents: dict[str, Resident]) -> None:
    backend = OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=1, threads=1))
    with pytest.raises(EngineFailure, match="not loaded"):
        backend.decode([Chunk(0, 0, [1, 2], True, blend([(residents["small"], 1.0)]))])
    assert backend.decode([Chunk(0, 0, [1, 2], True, BASE)]) == [0]
    backend.close()


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_adapters_fit_a_quantised_base(
    models: Path, folders: dict[str, Path], tmp_path: Path, precision: str
) -> None:
    """Ranks stay in floats: what the adapter adds is as far from PEFT's as the base is."""
    backend = OnnxBackend(prepared(models, precision), OnnxOptions(running=6, threads=1))
    file = convert_adapter(folders["wide"], backend.manifest, tmp_path / "wide.safetensors")
    own = blend([(backend.load_adapter(file), 1.0)])
    tokens = list(range(30))
    rows = backend.decode([Chunk(0, 0, tokens, True, own), Chunk(1, 0, tokens, True)])
    reference = Reference(models / "tiny", {"wide": folders["wide"]})
    for row, expected in zip(rows, (reference(tokens, "wide"), reference(tokens)), strict=True):
        apart = np.linalg.norm(backend.logits(row) - expected) / np.linalg.norm(expected)
        assert apart < (0.15 if precision == "int8" else 0.8)
    backend.close()


def test_files_that_do_not_fit_are_refused(
    backend: OnnxBackend, folders: dict[str, Path], tmp_path: Path
) -> None:
    file = convert_adapter(folders["small"], backend.manifest, tmp_path / "good.safetensors")
    tensors, bad = load_file(file), tmp_path / "bad.safetensors"
    name = next(iter(tensors))
    facts = {"base": backend.manifest.source}
    cases: list[tuple[dict[str, NDArray[np.float32]], dict[str, str], str]] = [
        (tensors, {"base": "another"}, "base_mismatch"),
        (tensors | {"model.layers.9.x.lora_A": tensors[name]}, facts, "unsupported_target"),
        (tensors | {name: tensors[name] * np.float32(np.nan)}, facts, "not_finite"),
        (tensors | {name: np.ones((7, 2), np.float32)}, facts, "base_mismatch"),
        ({name: np.ones((256, 600), np.float32)}, facts, "rank_too_large"),
    ]
    for content, metadata, code in cases:
        save_file(content, bad, metadata)
        with pytest.raises(AdapterRefused) as refused:
            backend.load_adapter(bad)
        assert refused.value.code == code
    bad.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(AdapterRefused, match="cannot be read"):
        backend.load_adapter(bad)
