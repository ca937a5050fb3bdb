"""/projects/{project}/conversations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from gateway.conversations.schemas import ConversationOut, ConversationWithMessages, MessageOut
from gateway.conversations.store import Conversation, Message
from gateway.deps import CallerDep, ProjectDep, ServicesDep, needs
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(
    prefix="/projects/{project}/conversations", tags=["conversations"], dependencies=[needs(Scope.CHAT)]
)


@router.get("")
async def conversations(
    found: ProjectDep, services: ServicesDep, caller: CallerDep
) -> Items[ConversationOut]:
    """The caller's own, the last used first."""
    rows = await services.conversations.of(caller, found.id)
    return Items(items=[ConversationOut(**_fields(row)) for row in rows])


@router.get("/{conversation_id}")
async def conversation(
    conversation_id: str, found: ProjectDep, services: ServicesDep, caller: CallerDep
) -> ConversationWithMessages:
    row, messages = await services.conversations.get(caller, found.id, conversation_id)
    return ConversationWithMessages(**_fields(row), messages=[_message(m) for m in messages])


@router.delete("/{conversation_id}", status_code=204)
async def delete_conversation(
    conversation_id: str, found: ProjectDep, services: ServicesDep, caller: CallerDep
) -> Response:
    await services.conversations.delete(caller, found.id, conversation_id)
    return Response(status_code=204)


def _fields(row: Conversation) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ConversationOut.model_fields}


def _message(row: Message) -> MessageOut:
    return MessageOut(**{name: getattr(row, name) for name in MessageOut.model_fields})
