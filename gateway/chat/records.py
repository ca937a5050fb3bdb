"""The record of answers that end: stored at once, or as soon as the database takes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.conversations.service import Conversations, Outcome, Turn
from gateway.errors import failure, is_full

AGAIN_SECONDS = 1.0
"""How long an outcome that could not be stored waits for the next try."""
_log = logging.getLogger(__name__)


class Records:
    """Answers in the making, and outcomes that are still to be stored: a full disk refuses them.

    They are kept until it takes them; when the process ends first, the next start marks their answers
    interrupted.
    """

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._running: set[str] = set()
        self._owed: dict[str, tuple[Turn, Outcome]] = {}
        self._storing: set[asyncio.Task[None]] = set()
        self._trying: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def running(self) -> int:
        """Answers in the making."""
        return len(self._running)

    @asynccontextmanager
    async def begin(self, turn: Turn) -> AsyncIterator[None]:
        """What keeps the run of a stored question from beginning ends its answer."""
        self._running.add(turn.answer_id)
        try:
            yield
        except Exception as error:
            await self.end(turn, Outcome("failed", "", [], [], error=failure(error)))
            raise

    async def end(self, turn: Turn, outcome: Outcome) -> None:
        """Stores how an answer ended. Raises what kept it from being stored; it is then tried again."""
        # A task of its own, so that the cancellation that ends a run does not end its record too.
        task = asyncio.create_task(self._store(turn, outcome))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)
        await asyncio.shield(task)

    async def _store(self, turn: Turn, outcome: Outcome) -> None:
        try:
            await self._conversations.finish(turn, outcome)
            self._owed.pop(turn.answer_id, None)
        except Exception:
            self._owed[turn.answer_id] = turn, outcome
            if self._trying is None or self._trying.done():
                self._trying = asyncio.create_task(self._try_again())
            raise
        finally:
            self._running.discard(turn.answer_id)

    async def _try_again(self) -> None:
        while self._owed:
            await asyncio.sleep(AGAIN_SECONDS)
            with suppress(Exception):
                await self.catch_up()

    async def catch_up(self) -> None:
        """Stores what is owed. Raises when the disk is still full."""
        async with self._turn:
            for answer_id, (turn, outcome) in list(self._owed.items()):
                try:
                    await self._conversations.finish(turn, outcome)
                    self._owed.pop(answer_id, None)
                except Exception as error:
                    if is_full(error):
                        raise

    async def settle(self) -> None:
        """Waits for the records of runs that were stopped; tries what is owed once more."""
        while self._storing:
            await asyncio.gather(*self._storing, return_exceptions=True)
        if self._trying:
            self._trying.cancel()
            await asyncio.wait([self._trying])
        with suppress(Exception):
            await self.catch_up()
        if self._owed:
            _log.warning("answers could not be stored", extra={"count": len(self._owed)})
