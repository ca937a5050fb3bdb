"""Texts to vectors: the seam, and the offline default."""

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray


class EmbeddingModel(Protocol):
    """One thread at a time calls it."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut here."""
        ...

    @property
    def size(self) -> int:
        """Number of token ids."""
        ...

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text, those that begin and end it included, cut at `max_tokens`."""
        ...

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors of length 1, one row a token list."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class EchoEmbedding:
    """Hashed bag of bytes: equal texts have equal vectors, and similar ones similar vectors. For tests."""

    dimensions = 384
    max_tokens = 256
    size = 1 << 32

    def tokens(self, text: str) -> list[int]:
        """One token a word: its hash."""
        digests = (hashlib.blake2b(word.encode(), digest_size=4).digest() for word in text.lower().split())
        return [int.from_bytes(d, "big") for d in digests][: self.max_tokens]

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Counts of words by hash, normalised."""
        out = np.zeros((len(batch), self.dimensions), np.float32)
        for row, tokens in enumerate(batch):
            for token in tokens or [0]:
                out[row, token % self.dimensions] += 1 if token & (1 << 20) else -1
            out[row, 0] += 1e-3
        normed: NDArray[np.float32] = out / np.linalg.norm(out, axis=1, keepdims=True)
        return normed

    def close(self) -> None:
        """Nothing is held."""


Role = Literal["query", "passage"]
"""What a text is to its model: some were trained with words before each (E5: `query: `, `passage: `)."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Words before a text, by what it is; `other` where nobody says."""

    query: str = ""
    passage: str = ""
    other: str = ""

    def of(self, role: Role | None) -> str:
        """One of the three."""
        return {"query": self.query, "passage": self.passage, None: self.other}[role]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (texts, dimensions) and the tokens that were read for them."""

    vectors: NDArray[np.float32]
    tokens: int


class Embedder:
    """Serves an embedding model from a thread of its own, so that the event loop and the engine go on."""

    def __init__(self, model: EmbeddingModel, prefixes: Prefixes = Prefixes()) -> None:
        self.model, self.prefixes = model, prefixes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    async def embed(self, inputs: Sequence[str | Sequence[int]], role: Role | None = None) -> Embedded:
        """Vectors in the order of `inputs`, texts or token ids; what the latter are is in them already."""
        loop = asyncio.get_running_loop()
        prefix = self.prefixes.of(role)
        texts = [prefix + given if isinstance(given, str) else given for given in inputs]
        return await loop.run_in_executor(self._thread, self._embed, texts)

    def embed_now(self, texts: list[str]) -> NDArray[np.float32]:
        """The vectors alone, for a caller that waits in a thread of its own."""
        prefixed = [self.prefixes.other + text for text in texts]
        return self._thread.submit(self._embed, [*prefixed]).result().vectors

    def _embed(self, inputs: list[str | Sequence[int]]) -> Embedded:
        limit = self.model.max_tokens
        batch = [self.model.tokens(i) if isinstance(i, str) else list(i)[:limit] for i in inputs]
        return Embedded(self.model.embed(batch), sum(map(len, batch)))

    def close(self) -> None:
        """After the running batch."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.model.close()


def shorten(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The first `dimensions` numbers of each vector, of length 1 again (Matryoshka, Kusupati et al.,
    2022).
    """
    cut = vectors[:, :dimensions]
    norms = np.linalg.norm(cut, axis=1, keepdims=True)
    return (cut / np.where(norms > 0, norms, np.inf)).astype(np.float32)
