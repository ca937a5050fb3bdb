"""Vectors for passages, from any OpenAI-compatible embeddings service."""

import asyncio
import hashlib
import logging
import math
from collections.abc import Sequence
from typing import Any

import httpx

from tools.errors import EmbeddingsUnavailable
from tools.settings import Settings

logger = logging.getLogger(__name__)

PROBE = "The quick brown fox files an expense report for the trip to Lisbon."
SAME_FROM = 0.99
"""Cosine of two vectors of the probe, above which they come from the same weights."""


class Embedder:
    """Client of `/v1/embeddings`. Safe for concurrent use; `aclose` it."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        self._model = settings.embedding_model
        self._says_type = settings.embedding_input_type
        self._batch = settings.embedding_batch
        self.batches = asyncio.Lock()
        self._timeout = httpx.Timeout(settings.embedding_timeout, connect=2.0)
        self._question_timeout = httpx.Timeout(settings.question_timeout, connect=2.0)
        self._client = httpx.AsyncClient(
            base_url=settings.llm_url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            transport=transport,
        )

    @property
    def batch(self) -> int:
        """Texts per request."""
        return self._batch

    async def embed_question(self, text: str) -> list[float]:
        """A unit vector soon, or `EmbeddingsUnavailable`: somebody waits for the answer."""
        return (await self._embed([text], "query", self._question_timeout))[0]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit vectors [len(texts), dimensions] for passages; raises `EmbeddingsUnavailable`.

        One batch at a time, so that a question waits for one batch of them at most.
        """
        async with self.batches:
            return await self._embed(texts, "passage", self._timeout)

    async def _embed(self, texts: Sequence[str], kind: str, limits: httpx.Timeout) -> list[list[float]]:
        request = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        if self._says_type:
            request["input_type"] = kind
        body = await self._post(request, limits)
        try:
            entries = sorted(body["data"], key=lambda entry: entry["index"])
            vectors = [_unit(entry["embedding"]) for entry in entries]
        except (KeyError, TypeError, ValueError) as error:
            raise EmbeddingsUnavailable("The embeddings service answered in an unknown form.") from error
        if len(vectors) != len(texts):
            raise EmbeddingsUnavailable(f"{len(texts)} texts were sent, {len(vectors)} vectors came back.")
        return vectors

    async def probe(self) -> list[float]:
        """The vector of a fixed sentence: it tells one set of weights from another."""
        return await self.embed_question(PROBE)

    def identity(self, dimensions: int) -> str:
        """Names the embedder in collections and documents: model, size of its vectors, prefixes or none."""
        typed = ":input_type" if self._says_type else ""
        return hashlib.sha256(f"{self._model}:{dimensions}{typed}".encode()).hexdigest()[:16]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, body: dict[str, Any], limits: httpx.Timeout) -> Any:
        try:
            response = await self._client.post("/embeddings", json=body, timeout=limits)
            response.raise_for_status()
            return response.json()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise EmbeddingsUnavailable(f"The embeddings service answered with status {status}.") from error
        except (httpx.HTTPError, ValueError) as error:
            raise EmbeddingsUnavailable(
                f"The embeddings service does not answer ({type(error).__name__})."
            ) from error


def _unit(values: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in values))
    if not values or not math.isfinite(length):
        raise ValueError("not a vector")
    return [value / length for value in values] if length else [float(value) for value in values]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Cosine of two unit vectors."""
    return sum(a * b for a, b in zip(one, other, strict=True))
