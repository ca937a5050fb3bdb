"""The model server, spoken to as OpenAI HTTP through langchain-openai."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import httpx2
import openai
from langchain_core.exceptions import ContextOverflowError
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from graphs.errors import GraphsError, ModelRefused, ModelUnavailable, PromptTooLong, UnknownModel

CARD_SECONDS = 1.0
"""How long a model card is believed before the server is asked again. What is loaded and unloaded there shows
in the next chats; asking costs milliseconds."""
DEFAULT_CONTEXT = 4096
"""Tokens assumed where a server does not publish `max_model_len`."""
CHARACTERS_PER_TOKEN = 3.0
"""Assumed until the model's own tokenizer was measured."""
MARKER = "x-loopyard-traced"
"""Header that tells the model server who traces a request already."""
SAMPLE = (
    "Employees accrue 4 hours of sick leave in every pay period; unused hours carry over to the next year.\n"
    "Database shop (sqlite):\nAlbum(AlbumId, Title, ArtistId > Artist.ArtistId)\nArtist(ArtistId, Name)\n"
    "SELECT Artist.Name, COUNT(*) AS albums FROM Album JOIN Artist ON Artist.ArtistId = Album.ArtistId "
    "GROUP BY Artist.Name ORDER BY albums DESC LIMIT 5\n"
)
"""Prose, schema and SQL in about the shares of a real prompt, to measure characters a token."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What /v1/models says about a model. `context` is in tokens, prompt and answer together."""

    id: str
    context: int = DEFAULT_CONTEXT
    extensions: frozenset[str] = frozenset()
    chats: bool = True
    """Whether it answers chats; servers that publish no capabilities are believed to."""
    base: str = ""
    """The model that an adapter is put on; empty for a model of its own."""
    characters_per_token: float = CHARACTERS_PER_TOKEN

    @property
    def tokenizer(self) -> str:
        """The model whose tokenizer it has: an adapter changes weights alone."""
        return self.base or self.id


@dataclass
class Models:
    """One model server: its cards, and chat models that share one connection pool."""

    url: str
    """Base of the OpenAI API, with /v1."""
    api_key: str
    http: httpx2.AsyncClient
    traced: str = ""
    """Public key of the project that our runs are traced to: the server does not trace them there again."""
    _cards: dict[str, ModelCard] = field(default_factory=dict)
    _ratios: dict[str, float] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _chats: dict[tuple[str, float, int, bool], ChatOpenAI] = field(default_factory=dict)

    async def card(self, model: str) -> ModelCard:
        """The card of a model by its id or an alias; "" is the server's first chat model.

        Raises ModelUnavailable, or UnknownModel naming the models that the server has.
        """
        if model not in self._cards or time.monotonic() - self._read_at > CARD_SECONDS:
            await self._read_cards()
        found = self._cards.get(model) if model else self._first_chat()
        card = found or await self._alias(model)
        if card.tokenizer not in self._ratios:
            self._ratios[card.tokenizer] = await self._measure(card.id)
        return replace(card, characters_per_token=self._ratios[card.tokenizer])

    async def served(self) -> list[ModelCard]:
        """The models that answer chats, as the server lists them now, its first one first.

        Raises ModelUnavailable.
        """
        await self._read_cards()
        return [card for card in self._cards.values() if card.chats]

    async def chatting(self) -> list[str]:
        """Names of the models that answer chats. Raises ModelUnavailable."""
        return [card.id for card in await self.served()]

    def _first_chat(self) -> ModelCard | None:
        return next((card for card in self._cards.values() if card.chats), None)

    async def _alias(self, model: str) -> ModelCard:
        """A server may answer to names that it does not list."""
        answer = await self._get(f"models/{quote(model, safe='')}") if model else None
        if answer is None or answer.status_code != 200 or "id" not in answer.json():
            known = ", ".join(sorted(self._cards)) or "none"
            raise UnknownModel(f"No model {model!r}. Models: {known}.")
        self._cards[model] = _card(answer.json())
        return self._cards[model]

    async def _measure(self, model: str) -> float:
        """Characters a token of the model's tokenizer, from the usage of a one-token answer.

        Budgets hang on it, and it ranges from 1.9 (a small vocabulary) to 5 among models.
        """
        body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": SAMPLE}]}
        headers = {"Authorization": f"Bearer {self.api_key}", **self.marked}
        async with translated():
            response = await self.http.post(f"{self.url}/chat/completions", json=body, headers=headers)
        used = response.json().get("usage", {}).get("prompt_tokens") if response.is_success else None
        return len(SAMPLE) / used if used else CHARACTERS_PER_TOKEN

    @property
    def marked(self) -> dict[str, str]:
        """Headers of every request: who traces it already."""
        return {MARKER: self.traced} if self.traced else {}

    async def _read_cards(self) -> None:
        response = await self._get("models")
        if response.status_code != 200:
            raise ModelUnavailable(f"The model server answered {response.status_code} on /v1/models.")
        self._cards = {entry["id"]: _card(entry) for entry in response.json()["data"]}
        self._read_at = time.monotonic()

    async def _get(self, path: str) -> httpx2.Response:
        async with translated():
            headers = {"Authorization": f"Bearer {self.api_key}"}
            return await self.http.get(f"{self.url}/{path}", headers=headers, timeout=10.0)

    def chat(self, model: str, *, temperature: float, max_tokens: int, stream: bool) -> ChatOpenAI:
        """A chat model. Kept, because building one costs milliseconds (it makes HTTP clients)."""
        key = (model, temperature, max_tokens, stream)
        if key not in self._chats:
            self._chats[key] = ChatOpenAI(
                model=model,
                temperature=temperature,
                max_completion_tokens=max_tokens,
                base_url=self.url,
                api_key=SecretStr(self.api_key),
                http_async_client=self.http,
                default_headers=self.marked,
                # One error must reach the reader at once; the edge says whether a retry makes sense.
                max_retries=0,
                stream_usage=True,
                disable_streaming=not stream,
            )
        return self._chats[key]


def _card(entry: dict[str, Any]) -> ModelCard:
    return ModelCard(
        id=entry["id"],
        context=int(entry.get("max_model_len") or DEFAULT_CONTEXT),
        extensions=frozenset(entry.get("extensions") or ()),
        chats="chat" in (entry.get("capabilities") or ["chat"]),
        base=entry.get("parent") or "",
    )


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turns what openai and httpx raise into this room's errors."""
    try:
        yield
    except (ContextOverflowError, openai.APIError, httpx2.HTTPError) as error:
        raise translate(error) from error


def translate(error: Exception) -> GraphsError:
    """The room's error for an error of the openai client or of httpx2."""
    text, code = str(error), getattr(error, "code", None)
    if isinstance(error, ContextOverflowError) or code == "context_length_exceeded":
        return PromptTooLong(f"The question does not fit the model's context: {text}")
    if isinstance(error, openai.NotFoundError):
        return UnknownModel(f"The model server: {text}")
    if isinstance(error, openai.APIStatusError) and error.status_code not in (429, 502, 503, 504):
        return ModelRefused(f"The model server refused the request: {text}")
    return ModelUnavailable(f"The model server is not available ({type(error).__name__}: {text}). Try again.")
