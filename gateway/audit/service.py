"""Who did what: written before a privileged act begins, with how it ended."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.audit import store
from gateway.audit.store import AuditEntry
from gateway.db.database import Database, unbroken
from gateway.policy import Caller

_log = logging.getLogger(__name__)


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def act(
        self, caller: Caller, request_id: str, action: str, target: str, **detail: Any
    ) -> AsyncIterator[None]:
        """Around a privileged act. The entry is on the disk before the act begins: nothing is done that
        cannot be recorded. A second entry says that it failed, and why.
        """
        await self._write(caller, request_id, action, target, detail)
        try:
            yield
        except Exception as error:
            why = {**detail, "error": str(error) or type(error).__name__}
            await self._write(caller, request_id, f"{action}.failed", target, why)
            raise

    async def note(self, caller: Caller, request_id: str, action: str, target: str, **detail: Any) -> None:
        """How a privileged act ended, where that has to be proved."""
        await self._write(caller, request_id, action, target, detail)

    @unbroken
    async def _write(
        self, caller: Caller, request_id: str, action: str, target: str, detail: dict[str, Any]
    ) -> None:
        async with self._database.write() as session:
            session.add(
                AuditEntry(
                    account_id=caller.account_id,
                    user_id=caller.user_id,
                    key_id=caller.key_id,
                    request_id=request_id,
                    action=action,
                    target=target,
                    detail=detail,
                )
            )
        _log.info("audit", extra={"action": action, "target": target, "user_id": caller.user_id})

    @unbroken
    async def latest(self, caller: Caller, before: str | None, limit: int) -> list[AuditEntry]:
        """The account's entries, the newest first."""
        async with self._database.read() as session:
            return await store.latest(session, caller.account_id, before, limit)
