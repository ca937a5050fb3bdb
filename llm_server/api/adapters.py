"""/v1/adapters: the life of LoRA adapters, for keys with scope admin; the list for every key."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import AliasChoices, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from llm_server.adapters.folders import Folders
from llm_server.adapters.manager import DRAIN_SECONDS, AdapterManager
from llm_server.adapters.versions import PREVIOUS, STABLE, Adapter, State
from llm_server.api.access import hold, permit_adapter, shown, unknown
from llm_server.api.auth import ADMIN, INFERENCE, caller_of, require
from llm_server.api.schemas import Body
from llm_server.catalog import Catalog, ChatModel
from llm_server.errors import BadRequest, ModelNotFound, NotFound

router = APIRouter()
admin = [Depends(require(ADMIN))]
reader = [Depends(require(INFERENCE))]


class Place(Body):
    """Where the adapter is."""

    path: str
    """A PEFT folder, a .gguf file or a bank (.safetensors) on the server's disk."""


class LoadOptions(Body):
    """What a new version is called and how it is used."""

    name: str = Field(pattern=r"^[\w][\w.-]{0,63}$")
    """Letters, digits, dots, dashes."""
    base: str | None = None
    """Model that it is for; needed where the server has several."""
    sha256: str | None = None
    """Expected hash of the weight file, or of the whole adapter."""
    scale: float | None = Field(default=None, ge=-4, le=4)
    pin: bool | None = None
    """Never evict it."""
    activate: bool = False
    """Make it `stable` as soon as it is ready; the first version of a name always is."""
    alias: Literal["stable", "canary"] | None = None
    """Let this alias mean it as soon as it is ready."""


class LoadRequest(LoadOptions):
    """A new adapter, or a new version of one, on the server's disk."""

    source: Place | str


class PromoteRequest(Body):
    """Let an alias mean another version."""

    version: str
    """`sha256:` with some digits, or an alias such as canary."""
    alias: str = STABLE
    if_match: str | None = None
    """The version that the alias is expected to mean now; 409 where it is another."""


class RollbackRequest(Body):
    """Where `stable` goes back to."""

    to: str | None = None
    """`sha256:` with some digits, or an alias; the version before where nothing is said."""


class ChangeRequest(Body):
    """What can be changed of a name."""

    scale: float | None = Field(
        default=None, ge=-4, le=4, validation_alias=AliasChoices("scale", "default_scale")
    )
    pinned: bool | None = Field(default=None, validation_alias=AliasChoices("pinned", "pin"))


@router.get("/v1/adapters", dependencies=reader)
async def adapters(request: Request, state: State | None = None) -> dict[str, Any]:
    """Every adapter that the key may use, with its versions, states and aliases; with `state`, those that
    have versions in it, and these versions alone.
    """
    models = [(model, model.adapters) for model in chat_models(request) if model.adapters is not None]
    cards = [_card(model, adapter) for model, manager in models for adapter in manager.store.adapters()]
    if state is not None:
        for card in cards:
            card["versions"] = [version for version in card["versions"] if version["state"] == state]
        cards = [card for card in cards if card["versions"]]
    may_use = caller_of(request).may_use
    return {"object": "list", "data": [shown(request, card) for card in cards if may_use(card["id"])]}


@router.post("/v1/adapters", dependencies=admin)
async def load(request: Request, body: LoadRequest, wait: bool = False) -> Response:
    """Load: 202 at once, or with `?wait=true` 201 when it is ready (422 with the reason where refused, 403
    where the path is outside the folders that adapters may come from).
    """
    model, manager = adaptable(request, body.base)
    permit_adapter(request, model, body.name)
    path = await admitted(request, body.source if isinstance(body.source, str) else body.source.path)
    return await begun(model, manager, body, path, wait)


async def begun(
    model: ChatModel, manager: AdapterManager, body: LoadOptions, path: Path, wait: bool
) -> Response:
    """The answer to a load that has begun, or with `wait` has ended."""
    activate, alias = body.activate or body.alias is not None, body.alias or STABLE
    version, future = await asyncio.to_thread(manager.load, body.name, path, body.sha256, activate, alias)
    if body.scale is not None or body.pin is not None:
        await asyncio.to_thread(manager.store.change, body.name, body.scale, body.pin)
    if wait:
        await asyncio.wrap_future(future)
    answer = {"object": "adapter.version", "name": body.name, "base": model.id, **version.card()}
    return JSONResponse(answer, 201 if wait else 202)


@router.get("/v1/adapters/events", dependencies=reader)
async def events(request: Request, base: str | None = None) -> Response:
    """Server-sent events: loading, ready, failed, promoted, rolled_back, evicted, draining, unloaded; of the
    adapters that the key may use.
    """
    model, manager = meant(request, base)
    may_use = caller_of(request).may_use
    given = request.headers.get("last-event-id", "0")
    after = int(given) if given.isdigit() else 0

    async def lines() -> AsyncIterator[str]:
        async for event in manager.events.listen(after):
            if not may_use(f"{model.id}:{event['adapter']}"):
                continue
            yield f"id: {event['id']}\nevent: {event['event']}\ndata: {json.dumps(shown(request, event))}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.get("/v1/adapters/{name}", dependencies=reader)
async def adapter(request: Request, name: str) -> dict[str, Any]:
    """One adapter; `name@version` gives that version alone."""
    name, _, ref = name.partition("@")
    model, manager, name = having(request, name)
    if ref:
        version = manager.store.find(name, ref).card()
        return {"object": "adapter.version", "name": name, **shown(request, version)}
    return shown(request, _card(model, manager.store.adapter(name)))


@router.patch("/v1/adapters/{name}", dependencies=admin)
async def change(request: Request, name: str, body: ChangeRequest) -> dict[str, Any]:
    """Set the default scale, pin or unpin."""
    model, manager, name = having(request, name)
    changed = await asyncio.to_thread(manager.store.change, name, body.scale, body.pinned)
    return _card(model, changed)


@router.post("/v1/adapters/{name}:promote", dependencies=admin)
async def promote(request: Request, name: str, body: PromoteRequest) -> dict[str, Any]:
    """Let `stable` (or another alias) mean a version: new requests get it, running ones go on."""
    model, manager, name = having(request, name)
    version = manager.store.find(name, body.version)
    await asyncio.to_thread(manager.ensure, [version])
    await asyncio.to_thread(manager.store.promote, name, version.id, body.alias, body.if_match)
    return _card(model, manager.store.adapter(name))


@router.post("/v1/adapters/{name}:rollback", dependencies=admin)
async def rollback(request: Request, name: str, body: RollbackRequest | None = None) -> dict[str, Any]:
    """`stable` goes back to `previous`, or to the version `to`, and `previous` means what it meant."""
    model, manager, name = having(request, name)
    to = body.to if body and body.to else PREVIOUS
    await asyncio.to_thread(manager.store.rollback, name, to)
    return _card(model, manager.store.adapter(name))


@router.delete("/v1/adapters/{name}", dependencies=admin)
async def unload(
    request: Request, name: str, drain_timeout_s: float = DRAIN_SECONDS, force: bool = False
) -> Response:
    """Unload a name, or `name@version`: 202, it drains. `force` ends what still runs after the deadline."""
    name, _, ref = name.partition("@")
    _, manager, name = having(request, name)
    leaving = await asyncio.to_thread(manager.unload, name, ref, drain_timeout_s, force)
    return JSONResponse({"object": "list", "data": [version.card() for version in leaving]}, 202)


def _card(model: ChatModel, adapter: Adapter) -> dict[str, Any]:
    """With the fingerprint of what it is put on: other weights of the same name have another."""
    card = adapter.card(model.id)
    return {**card, "default_scale": card["scale"], "base_fingerprint": model.fingerprint}


async def admitted(request: Request, path: str) -> Path:
    """A path on the server's disk that adapters may come from. Forbidden."""
    folders: Folders = request.app.state.adapter_folders
    return await asyncio.to_thread(folders.admit, path)


def chat_models(request: Request) -> list[ChatModel]:
    """Models that write."""
    catalog: Catalog = request.app.state.catalog
    return [entry for entry in catalog.all() if isinstance(entry, ChatModel)]


def adaptable(request: Request, base: str | None) -> tuple[ChatModel, AdapterManager]:
    """The model that a request means, with its adapters; it stays loaded until the request is answered.
    BadRequest where that is not clear.
    """
    model, manager = meant(request, base)
    return (model, manager) if hold(request, model) else adaptable(request, base)


def meant(request: Request, base: str | None) -> tuple[ChatModel, AdapterManager]:
    """The same, not held: for those who listen as long as they like."""
    models = [_base(request, base)] if base else [m for m in chat_models(request) if m.adapters]
    if len(models) != 1 or models[0].adapters is None:
        takers = (model.id for model in chat_models(request) if model.adapters)
        known = ", ".join(filter(caller_of(request).may_use, takers)) or "none"
        raise BadRequest(f"Name the base model in `base`; models that take adapters: {known}.", param="base")
    return models[0], models[0].adapters


def _base(request: Request, name: str) -> ChatModel:
    catalog: Catalog = request.app.state.catalog
    try:
        return catalog.chat(name)
    except ModelNotFound:
        raise unknown(request, name) from None


def having(request: Request, name: str) -> tuple[ChatModel, AdapterManager, str]:
    """The model that has an adapter of this name (`base:name` where several have), and the bare name.

    NotFound; ModelForbidden where the adapter is not on the key's list.
    """
    base, _, bare = name.rpartition(":")
    for model in chat_models(request):
        named = [adapter.name for adapter in model.adapters.store.adapters()] if model.adapters else []
        if model.adapters and base in ("", model.id) and bare in named:
            permit_adapter(request, model, bare)
            return (model, model.adapters, bare) if hold(request, model) else having(request, name)
    raise NotFound(f"There is no adapter `{name}`.", code="adapter_not_found")
