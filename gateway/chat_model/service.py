"""Which served model answers agents that name none: chosen here, kept beside the adapters."""

from __future__ import annotations

import asyncio

from gateway.chat_model.schemas import ChatModelOut, ServedOut, Source
from gateway.errors import Conflict, NotFound
from graphs.default_model import DefaultModel
from graphs.errors import ModelUnavailable, UnknownModel
from graphs.llm import Models
from rlhf.errors import RegistryError
from rlhf.registry import Registry

SETTING = "GATEWAY_DEFAULT_MODEL"


class ChatModel:
    """Args:
    registry: keeps the choice, in a file that every gateway and worker of this data folder sees.
    setting: the operator's own choice, which wins; none when empty.
    """

    def __init__(self, models: Models, registry: Registry, setting: str = "") -> None:
        self._models, self._registry = models, registry
        self.default = DefaultModel(models, setting, self._chosen)

    @property
    def marked(self) -> dict[str, str]:
        """Headers that tell the model server who traces a request already."""
        return self._models.marked

    async def served(self) -> list[ServedOut]:
        """Raises ModelUnavailable."""
        cards, now = await self._models.served(), await self.state()
        return [
            ServedOut(
                id=card.id, base=card.base or None, context=card.context, answers_chats=card.id == now.model
            )
            for card in cards
        ]

    async def state(self) -> ChatModelOut:
        """What answers, found as chats find it. A server that does not answer is a problem that is told."""
        wanted, source = await self._wanted()
        try:
            answering = await self.default.answering()
        except (ModelUnavailable, UnknownModel) as error:
            text = f"{SETTING}: {error}" if self.default.required else str(error)
            return ChatModelOut(model=None, wanted=wanted, source=source, problem=text)
        problem = _missing(wanted, answering.card.id) if answering.missing else None
        return ChatModelOut(model=answering.card.id, wanted=wanted, source=source, problem=problem)

    async def use(self, model: str | None) -> ChatModelOut:
        """Let chats be answered by a model from now on; None: by the server's first chat model.

        Raises Conflict where the operator has decided, NotFound naming the models that are served,
        ModelUnavailable.
        """
        if setting := self.default.required:
            raise Conflict(f"{SETTING}={setting} says which model the chats use: unset it first.")
        found = await self._listed(model) if model else ""
        await asyncio.to_thread(self._registry.choose, found)
        return await self.state()

    async def _wanted(self) -> tuple[str, Source]:
        if setting := self.default.required:
            return setting, Source.SETTING
        chosen = await self._chosen()
        return chosen, Source.CHOICE if chosen else Source.SERVER

    async def _chosen(self) -> str:
        try:
            return await asyncio.to_thread(self._registry.chosen)
        except RegistryError as error:
            raise Conflict(str(error)) from error

    async def _listed(self, model: str) -> str:
        """The id of a served model; an adapter's name alone means it where one base has it."""
        ids = [card.id for card in await self._models.served()]
        found = [one for one in ids if one == model] or [one for one in ids if one.partition(":")[2] == model]
        if len(found) != 1:
            what = "more than one served model" if found else "no served model"
            raise NotFound(f"{model!r} is {what}. Models: {', '.join(ids) or 'none'}.", param="model")
        return found[0]


def _missing(wanted: str, answers: str) -> str:
    adapter = wanted.partition(":")[2]
    load = f"`loopyard models deploy {adapter} live` loads it again" if adapter else "load it again"
    return (
        f"{wanted} is chosen for chats and not served now; {answers} answers instead: {load}, "
        "`loopyard models use` chooses another one."
    )
