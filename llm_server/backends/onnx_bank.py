"""Adapters as the mixed graph takes them: two matrices for each linear layer, and scales of their ranks.

A bank holds A as [in, ranks] and B as [ranks, out]; each row of a batch has a scale for every rank, zero for
those of other rows' adapters. An adapter is a bank of its own without a copy. A batch of a few has their
ranks side by side, and every row computes all of them; where that is more work than matrices of its own for
each row, they are stacked (see `onnx_stack`). Either is kept while the same adapters go on decoding.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from llm_server.backends.onnx_manifest import Manifest, input_names
from llm_server.backends.onnx_stack import Lora, Stack, Tensors
from llm_server.engine.blend import Blend, Resident
from llm_server.errors import AdapterRefused

BASE_KEY = "base"
"""Metadata of an adapter's file: the hash of the base that it was made for."""
WASTE = 2
"""A bank is put together anew when it holds more than this many times the ranks that are needed."""
SHARED = 2
"""A rank that all rows compute takes as long as this many of a single row: measured with 2 to 8 rows, ranks
of 8 to 32, matrices of 512 x 1024 and 1024 x 2048.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """LoRA inputs of the mixed graph."""

    tensors: Tensors
    """By input name."""
    parts: dict[bytes, slice]
    """Adapter's digest to its ranks."""
    ranks: int

    @property
    def joint(self) -> bool:
        """Whether it is put together of several adapters."""
        return len(self.parts) > 1

    def scales(self, blends: Sequence[Blend], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """[rows, 1, ranks]: each row's adapters with their scales, zero elsewhere."""
        out = np.zeros((len(blends), 1, self.ranks), dtype)
        for row, blend in enumerate(blends):
            for resident, scale in blend.parts:
                out[row, 0, self.parts[resident.digest]] = scale
        return out


class Banks:
    """Finds the matrices of a batch. One thread, but for `read_adapter`, which belongs to nobody."""

    def __init__(self, rows: int = 1) -> None:
        """`rows`: of the whole cache."""
        self._rows = rows
        self._joint: Bank | None = None
        self._stack: Stack | None = None

    def of(self, first: int, blends: Sequence[Blend], dtype: np.dtype[np.generic]) -> Lora:
        """What computes these blends, one adapter at least among them; `first` is the row of the first."""
        wanted = {part.digest: part for blend in blends for part, _ in blend.parts}
        banks = {digest: cast(Bank, wanted[digest].handle) for digest in sorted(wanted)}
        ranks = sum(bank.ranks for bank in banks.values())
        width = max(sum(banks[part.digest].ranks for part, _ in blend.parts) for blend in blends)
        if len(banks) > 1 and SHARED * ranks > len(blends) * width and len(blends) > 1:
            return self._stacked(banks, width).of(first, blends, dtype)
        bank = next(iter(banks.values())) if len(banks) == 1 else self._side_by_side(banks, ranks)
        return Lora(bank, bank.tensors, bank.scales(blends, dtype))

    def forget(self, resident: Resident) -> None:
        """Let go of what holds this adapter."""
        if self._joint is not None and resident.digest in self._joint.parts:
            self._joint = None
        if self._stack is not None and not self._stack.forget(resident.digest):
            self._stack = None

    def _side_by_side(self, banks: dict[bytes, Bank], ranks: int) -> Bank:
        joint = self._joint
        if joint is None or not banks.keys() <= joint.parts.keys() or joint.ranks > WASTE * ranks:
            joint = self._joint = _join(list(banks.values()))
        return joint

    def _stacked(self, banks: dict[bytes, Bank], width: int) -> Stack:
        stack = self._stack
        if stack is None or not width <= stack.ranks <= WASTE * width:
            some = next(iter(banks.values()))
            stack = self._stack = Stack(self._rows, width, some.tensors)
        return stack


def _join(banks: Sequence[Bank]) -> Bank:
    """Side by side, in this order."""
    parts, start = {}, 0
    for bank in banks:
        (digest,) = bank.parts
        parts[digest] = slice(start, start + bank.ranks)
        start += bank.ranks
    tensors = {
        name: np.concatenate([bank.tensors[name] for bank in banks], axis=1 if name.endswith("A") else 0)
        for name in banks[0].tensors
    }
    return Bank(tensors, parts, start)


def read_adapter(path: Path, manifest: Manifest) -> Resident:
    """An adapter's file as a bank of its own. AdapterRefused where it does not fit the model."""
    try:
        with safe_open(path, framework="np") as file:
            base = (file.metadata() or {}).get(BASE_KEY)
            if base != manifest.source:
                raise AdapterRefused(
                    f"{path.name} was made for the base {base}, this one is {manifest.source}.",
                    code="base_mismatch",
                )
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise AdapterRefused(f"{path.name} cannot be read: {error}.", code="truncated") from error
    tensors, ranks = _complete(found, manifest, path.name)
    digest = _digest(tensors)
    size = sum(tensor.nbytes for tensor in tensors.values())
    return Resident(digest, Bank(tensors, {digest: slice(0, ranks)}, ranks), size)


def _digest(tensors: Tensors) -> bytes:
    """Hash of the tensors as the graph takes them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.digest()


def _complete(found: Tensors, manifest: Manifest, name: str) -> tuple[Tensors, int]:
    """A tensor for every input of the graph, zeros where the adapter has none, all of the largest rank."""
    known = {key for target in manifest.targets for key in input_names(target)}
    odd = next((key for key in found if key not in known), None)
    if odd is not None:
        raise AdapterRefused(f"{name} changes {odd}, which this model cannot.", code="unsupported_target")
    for key, tensor in found.items():
        # A value that is not finite would spoil other rows too: zero times infinity is not zero.
        if tensor.ndim != 2 or not np.isfinite(tensor).all():
            raise AdapterRefused(f"{name}: {key} holds values that are not finite.", code="not_finite")
    ranks = max((tensor.shape[1 if key.endswith("A") else 0] for key, tensor in found.items()), default=0)
    if not 1 <= ranks <= manifest.max_rank:
        raise AdapterRefused(f"{name} has rank {ranks}, not 1 to {manifest.max_rank}.", code="rank_too_large")
    tensors: dict[str, NDArray[np.generic]] = {}
    for target, (width, height) in manifest.targets.items():
        for axis, (key, size) in enumerate(zip(input_names(target), (width, height), strict=True)):
            shape = (size, ranks) if axis == 0 else (ranks, size)
            tensors[key] = out = np.zeros(shape, manifest.dtype)
            given = found.get(key)
            if given is None:
                continue
            if given.shape[axis] != size:
                raise AdapterRefused(f"{name}: {key} is {given.shape}, not {shape}.", code="base_mismatch")
            out[: given.shape[0], : given.shape[1]] = given
    return tensors, ranks
