"""Rows of keys and values: one for each slot, in memory that the graph reads and writes in place.

A run takes neighbouring rows. Slots are therefore not rows: when sequences that decode together lie apart,
the fewest are exchanged with others so that they lie together. They stay together from step to step, so that
rows are copied only when somebody joins or leaves.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_server.backends.onnx_manifest import Manifest


class KvRows:
    """Keys and values of every layer as [slots, heads, context, width]; the system gives pages when they are
    written first, so that unused context costs no memory.
    """

    def __init__(self, manifest: Manifest, slots: int, context: int) -> None:
        self.shape = (slots, manifest.kv_heads, context, manifest.head_dim)
        self.dtype = np.dtype(manifest.dtype)
        names = [f"{layer}.{kind}" for layer in range(manifest.layers) for kind in ("key", "value")]
        self.arrays: dict[str, NDArray[np.generic]] = {
            name: np.zeros(self.shape, self.dtype) for name in names
        }
        """By `layer.key` and `layer.value`."""
        self._row = list(range(slots))
        self._slot = list(range(slots))
        self._held = [0] * slots
        """Tokens in each slot."""

    def row(self, slot: int) -> int:
        """Where a slot lies now."""
        return self._row[slot]

    def gather(self, slots: Sequence[int]) -> int:
        """Let slots lie side by side, in any order; the first row of them."""
        rows = sorted(self._row[slot] for slot in slots)
        count = len(rows)
        if rows[-1] - rows[0] + 1 == count:
            return rows[0]
        first = self._best_window(set(rows), count)
        window = range(first, first + count)
        places = [row for row in window if row not in rows]
        for row, place in zip((row for row in rows if row not in window), places, strict=True):
            self._exchange(row, place)
        return first

    def share(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens."""
        self._copy(self._row[source], self._row[target], length)
        self._held[target] = length

    def hold(self, slot: int, length: int) -> None:
        """A slot holds `length` tokens from now on; what lies behind them is garbage."""
        self._held[slot] = length

    def _best_window(self, rows: set[int], count: int) -> int:
        """Where most of the rows are already, and least has to make room."""

        def worth(first: int) -> tuple[int, int]:
            window = range(first, first + count)
            strangers = [row for row in window if row not in rows]
            return len(strangers), sum(self._held[self._slot[row]] for row in strangers)

        return min(range(len(self._slot) - count + 1), key=worth)

    def _exchange(self, one: int, other: int) -> None:
        """Swap two rows; an empty one takes nothing along."""
        first, second = self._slot[one], self._slot[other]
        if self._held[second]:
            kept = {name: array[other, :, : self._held[second]].copy() for name, array in self.arrays.items()}
            self._copy(one, other, self._held[first])
            for name, array in self.arrays.items():
                array[one, :, : self._held[second]] = kept[name]
        else:
            self._copy(one, other, self._held[first])
        self._slot[one], self._slot[other] = second, first
        self._row[first], self._row[second] = other, one

    def _copy(self, source: int, target: int, length: int) -> None:
        for array in self.arrays.values():
            array[target, :, :length] = array[source, :, :length]
