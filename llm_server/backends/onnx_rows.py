"""Rows of keys and values: one for each slot, in memory that the graph reads and writes in place.

A run takes neighbouring rows. Slots are therefore not rows: when sequences that decode together lie apart,
the fewest are exchanged with others so that they lie together. They stay together from step to step, so that
rows are copied only when somebody joins or leaves.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_server.backends.onnx_memory import Memory


class KvRows:
    """Which slot lies in which row of a memory, and how much it holds."""

    def __init__(self, memory: Memory) -> None:
        """The memory has one row more than there are slots, to exchange others through."""
        self.memory = memory
        slots = self._spare = memory.shape[0] - 1
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
        self.memory.copy(self._row[source], self._row[target], length)
        self._held[target] = length

    def read(self, slot: int) -> NDArray[np.generic]:
        """A copy in the host's memory: [tensors, heads, tokens, width]."""
        return self.memory.read(self._row[slot], self._held[slot])

    def write(self, slot: int, blob: NDArray[np.generic]) -> None:
        """What was read before."""
        self.memory.write(self._row[slot], blob)
        self._held[slot] = blob.shape[2]

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
        copy = self.memory.copy
        if self._held[second]:
            copy(other, self._spare, self._held[second])
        copy(one, other, self._held[first])
        if self._held[second]:
            copy(self._spare, one, self._held[second])
        self._slot[one], self._slot[other] = second, first
        self._row[first], self._row[second] = other, one
