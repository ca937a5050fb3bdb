"""The same life in the words of vLLM (/v1/load_lora_adapter) and of llama-server (/lora-adapters)."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import PlainTextResponse, Response

from llm_server.api.access import permit_adapter
from llm_server.api.adapters import adaptable, admitted, having
from llm_server.api.auth import ADMIN, INFERENCE, caller_of, require
from llm_server.api.schemas import Body, NumberedAdapter
from llm_server.errors import BadRequest

router = APIRouter()


class VllmLoad(Body):
    """vLLM's body."""

    lora_name: str = Field(pattern=r"^[\w][\w.-]{0,63}$")
    lora_path: str
    load_inplace: bool = False
    """Replace what has this name."""
    base_model_name: str | None = None


class VllmUnload(Body):
    """vLLM's body."""

    lora_name: str


@router.post("/v1/load_lora_adapter", dependencies=[Depends(require(ADMIN))])
async def load(request: Request, body: VllmLoad) -> Response:
    """Load and wait. A name that is there already is an error unless `load_inplace` is set."""
    model, manager = adaptable(request, body.base_model_name)
    permit_adapter(request, model, body.lora_name)
    if body.lora_name in manager.store.names() and not body.load_inplace:
        raise BadRequest(f"The lora adapter '{body.lora_name}' has already been loaded.", param="lora_name")
    path = await admitted(request, body.lora_path)
    _, future = await asyncio.to_thread(manager.load, body.lora_name, path, None, body.load_inplace)
    await asyncio.wrap_future(future)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


@router.post("/v1/unload_lora_adapter", dependencies=[Depends(require(ADMIN))])
async def unload(request: Request, body: VllmUnload) -> Response:
    """Unload; running requests finish first."""
    _, manager, name = having(request, body.lora_name)
    await asyncio.to_thread(manager.unload, name)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


@router.get("/lora-adapters", dependencies=[Depends(require(INFERENCE))])
async def numbered(request: Request) -> list[dict[str, Any]]:
    """llama-server's list: `id` is what a request's `lora` names. Only those that the key may use; paths are
    for keys with scope admin, others see names.
    """
    model, manager = adaptable(request, None)
    store, may_use = manager.store, caller_of(request).may_use
    trusted = ADMIN in caller_of(request).scopes
    return [
        {
            "id": i,
            "path": store.find(name).source if trusted else name,
            "scale": store.adapter(name).scale,
        }
        for i, name in enumerate(store.names())
        if may_use(f"{model.id}:{name}")
    ]


@router.post("/lora-adapters", dependencies=[Depends(require(ADMIN))])
async def scales(request: Request, body: list[NumberedAdapter]) -> list[dict[str, Any]]:
    """Set default scales by number."""
    model, manager = adaptable(request, None)
    names = manager.store.names()
    for one in body:
        if one.id >= len(names):
            raise BadRequest(f"There is no adapter number {one.id}; there are {len(names)}.", param="id")
        permit_adapter(request, model, names[one.id])
        await asyncio.to_thread(manager.store.change, names[one.id], one.scale, None)
    return await numbered(request)
