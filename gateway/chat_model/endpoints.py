"""/models: what the model server has for chats, and which of it they use."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.chat_model.schemas import ChatModelIn, ChatModelOut, ServedOut
from gateway.deps import CallerDep, RequestId, ServicesDep, needs
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/models", tags=["models"])


@router.get("")
async def served(services: ServicesDep, _: CallerDep) -> Items[ServedOut]:
    """Models that could answer chats: bases, and adapters on them."""
    return Items(items=await services.chat_model.served())


@router.get("/chats")
async def chats(services: ServicesDep, _: CallerDep) -> ChatModelOut:
    """The model of agents that name none."""
    return await services.chat_model.state()


@router.put("/chats", dependencies=[needs(Scope.ADMIN)])
async def use(
    body: ChatModelIn, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> ChatModelOut:
    """Let another model answer from the next chat on. 409 while GATEWAY_DEFAULT_MODEL decides."""
    async with services.audit.act(caller, request_id, "model.use", body.model or "base"):
        return await services.chat_model.use(body.model)
