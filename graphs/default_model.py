"""Which model answers for agents that name none."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from graphs.errors import UnknownModel
from graphs.events import Notice
from graphs.llm import ModelCard, Models

_log = logging.getLogger(__name__)


async def nothing() -> str:
    """Nobody has chosen a model."""
    return ""


@dataclass(frozen=True, slots=True)
class Answering:
    """The model of one run."""

    card: ModelCard
    missing: str = ""
    """The model that was chosen and is not served; `card` stands in for it."""

    def notices(self) -> list[Notice]:
        """What the reader should know of it."""
        if not self.missing:
            return []
        text = f"{self.missing} is chosen for chats and not served now; {self.card.id} answers instead."
        return [Notice(code="model_missing", message=text)]


@dataclass(frozen=True)
class DefaultModel:
    """Attributes:
    required: a model that must answer whatever is chosen; a server without it is an error. None when empty.
    chosen: asks which model was chosen, by the id that the server lists; a server without it answers with
        its first chat model, as where nothing is chosen ("").
    """

    models: Models
    required: str = ""
    chosen: Callable[[], Awaitable[str]] = nothing

    async def answering(self, named: str | None = None) -> Answering:
        """The model of an agent that names this one, or none. Raises ModelUnavailable, UnknownModel."""
        if fixed := named or self.required:
            return Answering(await self.models.card(fixed))
        chosen = await self.chosen()
        try:
            return Answering(await self.models.card(chosen))
        except UnknownModel:
            if not chosen:
                raise
        found = await self.models.card("")
        _log.warning("the chosen model is not served", extra={"chosen": chosen, "answers": found.id})
        return Answering(found, missing=chosen)
