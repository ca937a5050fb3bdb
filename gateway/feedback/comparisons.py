"""A second answer to a question of a chat, and which of the two is better: blind, bounded, kept."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from annotation.errors import ModelError, TracesError
from annotation.pairs import PREFERENCE
from annotation.scores import fared
from annotation.second import SecondAnswers
from annotation.tasks import Answer, Side, Task, task_of
from annotation.traces import Generation, generation_of
from gateway.annotation.places import places_of
from gateway.conversations.store import Message
from gateway.db.database import Database, unbroken
from gateway.errors import Conflict, NotFound, TooManyRequests, UpstreamFailed
from gateway.feedback import comparison_store as store
from gateway.feedback.comparison_schemas import ChoiceIn, ComparisonIn
from gateway.feedback.comparison_store import Comparison
from gateway.feedback.service import own_answer
from gateway.policy import Caller
from gateway.scores.service import SPAN_DIGITS, Score, ScoreOutbox, about
from gateway.settings import Settings
from gateway.trace_view.source import TraceSource, any_of, equal
from graphs.llm import Models

MOST = 5
"""Comparisons of one answer."""
AT_ONCE = 4
"""Second answers in the making."""
LONGEST = 1024
"""Tokens of a second answer."""
TEMPERATURE = 1.0
"""Of a second answer by the same model."""
ARRIVAL_SECONDS = 15.0
"""A trace arrives some seconds after its answer."""


class Comparisons:
    def __init__(
        self, database: Database, outbox: ScoreOutbox, source: TraceSource, models: Models, settings: Settings
    ) -> None:
        self._database, self._outbox = database, outbox
        self._source, self._models = source, models
        self._url, self._key = settings.llm_url, settings.llm_api_key.get_secret_value()
        self._places = places_of(settings)
        # Of their own: a slow model must not hold the threads that everything else waits for.
        self._threads = ThreadPoolExecutor(AT_ONCE, "second-answer")
        self._making: set[tuple[str, str]] = set()

    def close(self) -> None:
        """Waits for no answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, caller: Caller, wanted: ComparisonIn) -> Comparison:
        """A pair to choose from; one that waits for its choice comes again.

        Raises NotFound, Conflict, TooManyRequests, UpstreamFailed, and the errors of the model server.
        """
        with self._one_at_a_time(caller, wanted.message_id):
            message, earlier = await self._begin(caller, wanted.message_id)
            if earlier and earlier[-1].choice is None:
                return earlier[-1]
            if len(earlier) >= MOST:
                raise Conflict(f"This answer was compared {MOST} times; that is the most.")
            first = await self._generation(message)
            model, temperature = await self._second_model(first, wanted, len(earlier))
            second = await self._sample(first, model, temperature, len(earlier))
            task = task_of(
                "", first.prompt, first.tools, Answer(messages=first.answer, trace=first.trace), second,
                session=first.session, user=first.user, at=first.at,
            )  # fmt: skip
            if any(Task.model_validate(one.task).pair == task.pair for one in earlier):
                raise UpstreamFailed(SAME)
            return await self._keep(caller, message.id, task, temperature)

    async def choose(self, caller: Caller, comparison_id: str, given: ChoiceIn) -> Comparison:
        """A second choice replaces the first. Raises NotFound."""
        kept = await self._choose(caller, comparison_id, given)
        await self._outbox.spool()
        return kept

    @unbroken
    async def of(self, caller: Caller, conversation_id: str) -> list[Comparison]:
        """The caller's own in a conversation."""
        async with self._database.read() as session:
            return await store.of_conversation(session, caller.user_id, caller.project_id, conversation_id)

    @contextmanager
    def _one_at_a_time(self, caller: Caller, message_id: str) -> Iterator[None]:
        making = (caller.user_id, message_id)
        if making in self._making:
            raise Conflict("A second answer to this is being made already. Wait for it.")
        if len(self._making) >= AT_ONCE:
            raise TooManyRequests(f"{AT_ONCE} second answers are being made. Try again in a moment.")
        self._making.add(making)
        try:
            yield
        finally:
            self._making.discard(making)

    @unbroken
    async def _begin(self, caller: Caller, message_id: str) -> tuple[Message, list[Comparison]]:
        async with self._database.read() as session:
            message = await own_answer(session, caller, message_id)
            return message, await store.of_answer(session, caller.user_id, message.id)

    async def _generation(self, message: Message) -> Generation:
        """What the model saw and said, from the trace."""
        span = message.generation_id or ""
        if message.state != "complete" or len(span) != SPAN_DIGITS:
            raise Conflict("Only an answer that came to its end, and that was traced, can be compared.")
        conditions = [any_of("traceId", [message.trace_id]), equal("id", span)]
        end = asyncio.get_running_loop().time() + ARRIVAL_SECONDS
        while True:
            rows, _ = await self._source.observations(conditions, "core,basic,io,metadata,model,time", 1)
            if rows:
                break
            if asyncio.get_running_loop().time() > end:
                raise NotFound("The trace of this answer is not there (yet). Try again in a moment.")
            await asyncio.sleep(0.25)
        found = generation_of(rows[0])
        if found is None:
            raise Conflict("This answer holds more than text: it cannot be compared.")
        return found

    async def models(self) -> list[str]:
        """Who may be asked for a second answer. Raises the errors of the model server."""
        return await self._models.chatting()

    async def _second_model(self, first: Generation, wanted: ComparisonIn, earlier: int) -> tuple[str, float]:
        """Name and temperature. Every model that chats may be asked: an admin has had it served."""
        served = await self.models()
        if wanted.model is not None and wanted.model not in served:
            raise NotFound(f"No model {wanted.model!r}. Models: {', '.join(served)}.", param="model")
        own = first.trace.model.partition("@")[0]
        others = [name for name in served if name.partition("@")[0] != own]
        if wanted.model or (others and wanted.temperature is None):
            name = wanted.model or secrets.choice(others)
            same = name.partition("@")[0] == own
            default = TEMPERATURE if same or earlier else 0.0
        else:
            name, default = first.trace.model, TEMPERATURE
        return name, default if wanted.temperature is None else wanted.temperature

    async def _sample(self, first: Generation, model: str, temperature: float, earlier: int) -> Answer:
        def ask() -> Answer | None:
            with (
                closing(self._places.traces()) as traces,
                closing(SecondAnswers(self._url, self._key, model, temperature, traces, LONGEST)) as asked,
            ):
                return asked.second(first, earlier)

        try:
            second = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except (ModelError, TracesError) as error:
            raise UpstreamFailed(f"No second answer: {error}") from error
        if second is None:
            raise UpstreamFailed(SAME)
        return second

    @unbroken
    async def _keep(self, caller: Caller, message_id: str, task: Task, temperature: float) -> Comparison:
        async with self._database.write() as session:
            await own_answer(session, caller, message_id)  # it may have been deleted meanwhile
            kept = Comparison(
                message_id=message_id,
                user_id=caller.user_id,
                task=task.plain(),
                temperature=temperature,
                updated_at=datetime.now(UTC),
            )
            session.add(kept)
            await session.flush()
        return kept

    @unbroken
    async def _choose(self, caller: Caller, comparison_id: str, given: ChoiceIn) -> Comparison:
        async with self._database.write() as session:
            found = await store.find(session, caller.user_id, caller.project_id, comparison_id)
            if found is None:
                raise NotFound(f"No comparison {comparison_id!r}.")
            kept, message = found
            was, kept.choice, kept.updated_at = kept.choice, given.choice, datetime.now(UTC)
            await session.flush()
            scores = [score(kept, message)] if kept.choice else []
            self._outbox.note(session, scores, [_score_id(kept)] if was and not scores else [])
        return kept


def score(kept: Comparison, message: Message) -> Score:
    """How the answer of the chat fared. The metadata has the other one, from which a row is made."""
    task = Task.model_validate(kept.task)
    first, second = sides(task, message.generation_id)
    other = {"answer": second.said(), "trace": second.trace and second.trace.model_dump(mode="json")}
    side: Side = "left" if first is task.left else "right"
    return {
        **about(message.trace_id, message.generation_id),
        "id": _score_id(kept),
        "name": PREFERENCE,
        "dataType": "CATEGORICAL",
        "value": fared(kept.choice or "", side),
        "metadata": {"message_id": message.id, "temperature": kept.temperature, "other": other},
    }


def sides(task: Task, generation_id: str | None) -> tuple[Answer, Answer]:
    """The answer of the chat, and the second one."""
    left_is_first = task.left.trace is not None and task.left.trace.generation_id == generation_id
    return (task.left, task.right) if left_is_first else (task.right, task.left)


def _score_id(kept: Comparison) -> str:
    return f"{kept.id}-{PREFERENCE}"


SAME = "The model gave no other answer. Try a higher temperature, or another model."
