"""A `llama_batch` over numpy arrays: filled whole, not element by element through ctypes."""

import ctypes
from collections.abc import Sequence

import llama_cpp.llama_cpp as llama
import numpy as np

from llm_server.engine.backend import Chunk


class LlamaBatch:
    """Room for `size` tokens, each of one sequence. The arrays live as long as this does."""

    def __init__(self, size: int) -> None:
        self._tokens, self._positions, self._sequences = (np.zeros(size, np.int32) for _ in range(3))
        self._wanted = np.zeros(size, np.int8)
        self._ones = np.ones(size, np.int32)
        integers = ctypes.POINTER(ctypes.c_int32)
        first = self._sequences.ctypes.data
        places = (integers * size)(
            *(ctypes.cast(first + i * self._sequences.itemsize, integers) for i in range(size))
        )
        self._places = places
        self.outputs: dict[int, int] = {}
        """Places in the batch whose logits are wanted, to their order among the outputs."""
        self.native = llama.llama_batch(
            n_tokens=0,
            token=self._tokens.ctypes.data_as(integers),
            embd=None,
            pos=self._positions.ctypes.data_as(integers),
            n_seq_id=self._ones.ctypes.data_as(integers),
            seq_id=ctypes.cast(places, ctypes.POINTER(integers)),
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, chunks: Sequence[Chunk]) -> list[int]:
        """Take the chunks in; the first output row of each, -1 where none is wanted."""
        rows: list[int] = []
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        wanted: list[int] = []
        for chunk in chunks:
            tokens += chunk.tokens
            positions += range(chunk.start, chunk.start + len(chunk.tokens))
            slots += [chunk.slot] * len(chunk.tokens)
            first = len(tokens) - chunk.wanted
            rows.append(first if chunk.wanted else -1)
            wanted += range(first, len(tokens))
        n = len(tokens)
        self._tokens[:n], self._positions[:n], self._sequences[:n] = tokens, positions, slots
        self._wanted[:n] = 0
        self._wanted[wanted] = 1
        self.outputs = {place: order for order, place in enumerate(wanted)}
        self.native.n_tokens = n
        return rows

    def want_all(self) -> None:
        """Logits of every token that was filled in."""
        self._wanted[: self.native.n_tokens] = 1
