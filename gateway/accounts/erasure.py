"""Forgetting a user: chats, feedback, traces and scores go; the adapters that learnt from them are named."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import delete

from gateway.accounts.schemas import AdapterOut, Answered, Erased, Lineage, RemovedTraces
from gateway.accounts.store import User
from gateway.conversations.store import Conversation
from gateway.db.database import Database, unbroken
from gateway.errors import Forbidden, NotFound, UpstreamFailed
from gateway.feedback.store import Feedback
from gateway.policy import Caller
from gateway.settings import Settings
from gateway.traces.sink import sink_of
from rlhf.registry import Registry

SECONDS = 600.0
"""For the trace store: it deletes a little at a time."""
DELIVERY_SECONDS = 30.0
"""For spans that are on their way: they would come back after the erasure."""


class Erasure:
    """`user` is any id that traces carry: of a user of this gateway, or one that another client gave."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def lineage(self, caller: Caller, user: str) -> Lineage:
        """Raises Forbidden, NotFound, UpstreamFailed."""
        await self._check(caller, user)
        answer = await self._ask("GET", "lineage", user)
        taught = await asyncio.to_thread(self._taught, user)
        return Lineage(user=user, answered_by=_answered(answer, "data"), taught=taught)

    async def erase(self, caller: Caller, user: str) -> Erased:
        """May be asked again: what is gone is gone. Raises Forbidden, NotFound, UpstreamFailed."""
        await self._check(caller, user)
        taught = await asyncio.to_thread(self._taught, user)
        await self._delivered()
        answer = await self._ask("DELETE", "users", user)
        conversations, feedback = await self._forget(user)
        return Erased(
            user=user,
            conversations=conversations,
            feedback=feedback,
            traces=RemovedTraces(**answer["removed"]) if answer else None,
            answered_by=_answered(answer, "adapters"),
            taught=taught,
        )

    @unbroken
    async def _check(self, caller: Caller, user: str) -> None:
        if caller.project_id is not None:
            raise Forbidden("A key that is bound to a project cannot do this.")
        async with self._database.read() as session:
            row = await session.get(User, user)
        if row is not None and row.account_id != caller.account_id:
            raise NotFound(f"No user {user!r}.")

    @unbroken
    async def _forget(self, user: str) -> tuple[int, int]:
        """How many conversations and how much feedback went."""
        async with self._database.write() as session:
            feedback = await session.execute(delete(Feedback).where(Feedback.user_id == user))
            chats = await session.execute(delete(Conversation).where(Conversation.user_id == user))
        return int(getattr(chats, "rowcount", 0)), int(getattr(feedback, "rowcount", 0))

    def _taught(self, user: str) -> list[AdapterOut]:
        registry = Registry(self._settings.data.absolute())
        found = []
        for version in registry.of_user(user):
            aliases = registry.aliases(version.name).items()
            meant = sorted(alias for alias, digest in aliases if digest == version.digest)
            found.append(AdapterOut(name=version.name, version=version.short, aliases=meant))
        return found

    async def _delivered(self) -> None:
        """Waits for the batches of spans that are in the spool now."""
        waiting = self._spooled()
        end = time.monotonic() + DELIVERY_SECONDS
        while waiting := [file for file in waiting if file.exists()]:
            if time.monotonic() > end:
                raise UpstreamFailed(
                    f"{len(waiting)} batches of spans still wait for the trace store; nothing was erased."
                )
            await asyncio.sleep(0.1)

    def _spooled(self) -> list[Path]:
        folder = self._settings.data.absolute() / "run" / "spool"
        return [file for file in folder.glob("*") if file.suffix != ".partial"]

    async def _ask(self, method: str, path: str, user: str) -> dict[str, Any] | None:
        """The embedded trace store's answer; None where traces lie elsewhere or nowhere."""
        sink = None if self._settings.langfuse_host else await asyncio.to_thread(sink_of, self._settings)
        if sink is None:
            return None
        address = f"{sink.host}/api/public/{path}"
        try:
            async with httpx2.AsyncClient(timeout=SECONDS, headers=sink.headers, trust_env=False) as client:
                answer = await client.request(method, address, params={"userId": user})
        except httpx2.HTTPError as error:
            raise UpstreamFailed(f"The trace store does not answer ({type(error).__name__}).") from error
        if answer.status_code != 200:
            raise UpstreamFailed(f"The trace store answers {answer.status_code}.")
        found: dict[str, Any] = answer.json()
        return found


def _answered(answer: dict[str, Any] | None, name: str) -> list[Answered] | None:
    return [Answered.model_validate(entry) for entry in answer[name]] if answer else None
