"""Which models the caller's key may use, and which it gets to see."""

import os
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from llm_server.adapters.selection import Wanted
from llm_server.api.auth import ADMIN, caller_of
from llm_server.catalog import (
    Catalog,
    ChatModel,
    ClassifierModel,
    EmbeddingModelEntry,
    Entry,
    RerankModel,
    UpstreamModel,
)
from llm_server.config.reload import Reloader
from llm_server.constraints.fitting import Embed
from llm_server.errors import BadRequest, ModelForbidden, ModelNotFound


def find(request: Request, name: str) -> Entry:
    """Any model, not yet permitted; it stays loaded until the request is answered. ModelNotFound names only
    what the key may use.
    """
    catalog: Catalog = request.app.state.catalog
    try:
        entry = catalog.get(name)
        while not hold(request, entry):
            entry = catalog.get(name)
        return entry
    except ModelNotFound:
        raise unknown(request, name) from None


def unknown(request: Request, name: str) -> ModelNotFound:
    """A name that means nothing; only what the key may use is listed."""
    catalog: Catalog = request.app.state.catalog
    return ModelNotFound(name, list(filter(caller_of(request).may_use, catalog.names())))


def embed_of(request: Request) -> Embed | None:
    """The server's own embedding model, kept loaded until the request is answered; None where it has none.

    What it reads stays in the server: the key needs no permission for it.
    """
    catalog: Catalog = request.app.state.catalog
    held = (e for e in catalog.all() if isinstance(e, EmbeddingModelEntry) and hold(request, e))
    entry = next(held, None)
    return entry.embedder.embed_now if entry else None


def hold(request: Request, entry: Entry) -> bool:
    """Keep a model loaded until the request is answered; False where it has just left the catalog."""
    held = entry.uses.begin()
    if held:
        request.scope["held"].append(entry.uses.end)
    return held


def adapted(request: Request, entry: Entry, wanted: Sequence[Wanted]) -> ChatModel:
    """A model with the adapters that fields of the request name, permitted; nothing has been loaded for it.

    BadRequest, NotFound, ModelForbidden: the last one for a name that is not on the key's list, whether
    there is such an adapter or not.
    """
    model = as_chat(request, entry)
    for one in wanted:
        if one.place is None:
            permit_adapter(request, model, one.name)
    chosen = model.choose(wanted)
    permit(request, chosen)
    return chosen


def permit_adapter(request: Request, model: ChatModel, name: str) -> None:
    """ModelForbidden where the key may not use an adapter of this name."""
    if not caller_of(request).may_use(f"{model.id}:{name}"):
        raise ModelForbidden(f"{model.id}:{name}")


def as_chat(request: Request, entry: Entry) -> ChatModel:
    """BadRequest for a model that does not write here."""
    if isinstance(entry, UpstreamModel):
        raise _elsewhere(request, entry)
    if not isinstance(entry, ChatModel):
        does = {RerankModel: "ranks documents", ClassifierModel: "classifies texts"}
        what = does.get(type(entry), "makes embeddings")
        raise BadRequest(f"The model `{entry.id}` {what} only.", param="model")
    return entry


def as_embedding(request: Request, entry: Entry) -> EmbeddingModelEntry:
    """The same, found already. BadRequest for a model that does not embed here."""
    permit(request, entry)
    if isinstance(entry, UpstreamModel):
        raise _elsewhere(request, entry)
    if not isinstance(entry, EmbeddingModelEntry):
        raise BadRequest(f"The model `{entry.id}` makes no embeddings.", param="model")
    return entry


def _elsewhere(request: Request, entry: UpstreamModel) -> BadRequest:
    return BadRequest(
        f"{request.url.path} is for models of this server; `{entry.id}` is computed by another one, which is "
        "asked for chats, responses, completions, text in the middle, embeddings and ranks.",
        param="model",
        code="unsupported_route",
    )


def permit(request: Request, entry: Entry) -> Entry:
    """The model, if the key may use it: a base by its id, with adapters each of them as `base:adapter`.

    ModelForbidden otherwise.
    """
    caller = caller_of(request)
    for name in _names(entry):
        if not caller.may_use(name):
            raise ModelForbidden(name)
    return entry


def visible_cards(request: Request) -> list[dict[str, Any]]:
    """Entries of /v1/models that the key may use, adapters after the models."""
    catalog: Catalog = request.app.state.catalog
    entries = catalog.all()
    cards = [entry.card() | made_of(request, entry) for entry in entries]
    for entry in entries:
        if isinstance(entry, ChatModel):
            cards += [card | made_of(request, entry) for card in entry.adapter_cards()]
    return [card for card in cards if caller_of(request).may_use(str(card["id"]))]


def made_of(request: Request, entry: Entry) -> dict[str, Any]:
    """For keys with scope admin: the checkpoint that a model comes from, the file that is read, what computes
    it with how many threads, and its context in tokens. Nothing for others.
    """
    reloader: Reloader = request.app.state.reloader
    settings = reloader.settings_of(entry.id)
    if ADMIN not in caller_of(request).scopes or settings is None or not isinstance(entry, ChatModel):
        return {}
    return {
        "checkpoint": None if settings.backend == "echo" else settings.model,
        "file": None if entry.file is None else str(entry.file),
        "engine": settings.backend,
        "threads": settings.threads or os.cpu_count() or 1,
        "context": entry.engine.backend.context,
    }


def shown(request: Request, card: dict[str, Any]) -> dict[str, Any]:
    """What is told about an adapter, a version or an event. Paths of this machine, which reasons of a refusal
    name too, are for keys with scope admin.
    """
    if ADMIN in caller_of(request).scopes:
        return card
    told = {key: value for key, value in card.items() if key != "source"}
    if "versions" in told:
        told["versions"] = [shown(request, version) for version in told["versions"]]
    if told.get("error"):
        told["error"] = {"code": told["error"].get("code")}
    return told


def _names(entry: Entry) -> list[str]:
    selection = entry.selection if isinstance(entry, ChatModel) else None
    if selection is None or not selection.parts:
        return [entry.id]
    return [f"{entry.id}:{version.name}" for version, _ in selection.parts]
