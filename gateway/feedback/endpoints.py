"""/feedback."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.deps import CallerDep, ServicesDep, needs
from gateway.feedback.schemas import FeedbackIn, FeedbackOut
from gateway.feedback.store import Feedback
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/feedback", tags=["feedback"], dependencies=[needs(Scope.CHAT)])


@router.post("")
async def give_feedback(given: FeedbackIn, services: ServicesDep, caller: CallerDep) -> FeedbackOut:
    """On an answer of one's own conversations; a second one changes the first."""
    return _out(await services.feedbacks.give(caller, given))


@router.get("")
async def feedback(conversation_id: str, services: ServicesDep, caller: CallerDep) -> Items[FeedbackOut]:
    """The caller's own in a conversation."""
    rows = await services.feedbacks.of(caller, conversation_id)
    return Items(items=[_out(row) for row in rows])


def _out(row: Feedback) -> FeedbackOut:
    return FeedbackOut(**{name: getattr(row, name) for name in FeedbackOut.model_fields})
