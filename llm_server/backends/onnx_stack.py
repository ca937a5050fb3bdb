"""Matrices of its own for every row of the cache: many adapters in one batch.

Each row multiplies by the ranks of its own adapters only. They are copied to a row when another blend comes
to it, so that nothing is gathered while the same sequences go on decoding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm_server.engine.blend import Blend

Tensors = Mapping[str, NDArray[np.generic]]
"""By input of the mixed graph; their names end in `A` or `B`."""


class Matrices(Protocol):
    """Where LoRA inputs lie: bindings point into it."""

    @property
    def parts(self) -> Mapping[bytes, slice]:
        """Adapters whose own memory it is."""
        ...

    @property
    def joint(self) -> bool:
        """Whether it was put together for batches of several adapters."""
        ...


@dataclass(frozen=True, slots=True)
class Lora:
    """LoRA inputs of one run."""

    matrices: Matrices
    tensors: Tensors
    """A as [in, ranks] or [rows, in, ranks], B as [ranks, out] or [rows, ranks, out]."""
    scales: NDArray[np.generic]
    """[rows, 1, ranks]."""


class Stack:
    """Room for `ranks` in every row. One thread."""

    joint = True

    def __init__(self, rows: int, ranks: int, like: Tensors) -> None:
        """`like`: an adapter's own matrices."""
        self.ranks = ranks
        self.parts: dict[bytes, slice] = {}
        self._held: list[tuple[bytes, ...]] = [()] * rows
        """Digests of the adapters in each row."""
        # Never anything but finite numbers in it: a scale of zero has to make zero of them.
        self._tensors = {
            name: np.zeros(_shape(name, rows, ranks, one), one.dtype) for name, one in like.items()
        }

    def of(self, first: int, blends: Sequence[Blend], dtype: np.dtype[np.generic]) -> Lora:
        """Neighbouring rows from `first` on."""
        scales = np.zeros((len(blends), 1, self.ranks), dtype)
        for place, blend in enumerate(blends):
            digests = tuple(part.digest for part, _ in blend.parts)
            if digests and digests != self._held[first + place]:
                self._copy(blend, first + place)
                self._held[first + place] = digests
            at = 0
            for part, scale in blend.parts:
                ranks = part.handle.ranks
                scales[place, 0, at : at + ranks] = scale
                at += ranks
        window = {name: tensor[first : first + len(blends)] for name, tensor in self._tensors.items()}
        return Lora(self, window, scales)

    def forget(self, digest: bytes) -> bool:
        """No row holds this adapter any more; False when none holds any."""
        self._held = [() if digest in held else held for held in self._held]
        return any(self._held)

    def _copy(self, blend: Blend, row: int) -> None:
        at = 0
        for part, _ in blend.parts:
            ranks = slice(at, at + part.handle.ranks)
            for name, tensor in part.handle.tensors.items():
                own = self._tensors[name][row]
                (own[:, ranks] if name.endswith("A") else own[ranks])[:] = tensor
            at = ranks.stop


def _shape(name: str, rows: int, ranks: int, one: NDArray[np.generic]) -> tuple[int, int, int]:
    return (rows, one.shape[0], ranks) if name.endswith("A") else (rows, ranks, one.shape[1])
