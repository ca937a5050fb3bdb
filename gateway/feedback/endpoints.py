"""/feedback."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.deps import CallerDep, ServicesDep, needs
from gateway.feedback.comparison_schemas import ChoiceIn, ComparisonIn, ComparisonOut
from gateway.feedback.comparison_store import Comparison
from gateway.feedback.schemas import FeedbackIn, FeedbackOut, Marks
from gateway.feedback.store import Feedback
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/feedback", tags=["feedback"], dependencies=[needs(Scope.CHAT)])


@router.post("")
async def give_feedback(given: FeedbackIn, services: ServicesDep, caller: CallerDep) -> FeedbackOut:
    """On an answer of one's own conversations; a second one changes the first."""
    return _out(await services.feedbacks.give(caller, given.message_id, given.said()))


@router.post("/comparisons", status_code=201)
async def compare(given: ComparisonIn, services: ServicesDep, caller: CallerDep) -> ComparisonOut:
    """A second answer to the same question, beside the first one, blind; takes as long as a model does."""
    return _pair(await services.comparisons.ask(caller, given))


@router.get("/comparisons")
async def comparisons(conversation_id: str, services: ServicesDep, caller: CallerDep) -> Items[ComparisonOut]:
    """The caller's own in a conversation."""
    rows = await services.comparisons.of(caller, conversation_id)
    return Items(items=[_pair(row) for row in rows])


@router.get("/comparisons/models")
async def models(services: ServicesDep) -> Items[str]:
    """Models that may be asked for a second answer."""
    return Items(items=await services.comparisons.models())


@router.put("/comparisons/{comparison_id}")
async def choose(
    comparison_id: str, given: ChoiceIn, services: ServicesDep, caller: CallerDep
) -> ComparisonOut:
    """Which one is better; a second choice replaces the first."""
    return _pair(await services.comparisons.choose(caller, comparison_id, given))


@router.patch("/{message_id}")
async def change(message_id: str, given: Marks, services: ServicesDep, caller: CallerDep) -> FeedbackOut:
    """As a JSON merge patch (RFC 7396): null takes a mark back, what is left out stays as it was."""
    return _out(await services.feedbacks.give(caller, message_id, given.said()))


@router.get("")
async def feedback(conversation_id: str, services: ServicesDep, caller: CallerDep) -> Items[FeedbackOut]:
    """The caller's own in a conversation."""
    rows = await services.feedbacks.of(caller, conversation_id)
    return Items(items=[_out(row) for row in rows])


def _out(row: Feedback) -> FeedbackOut:
    return FeedbackOut(**{name: getattr(row, name) for name in FeedbackOut.model_fields})


def _pair(row: Comparison) -> ComparisonOut:
    said = {side: row.task[side]["messages"][-1]["content"] for side in ("left", "right")}
    fields = set(ComparisonOut.model_fields) - set(said)
    return ComparisonOut(**said, **{name: getattr(row, name) for name in fields})
