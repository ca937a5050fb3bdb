"""Looks at the quality of what is live by itself, and rolls back what is worse where that is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.accounts.service import Accounts
from gateway.audit.service import Audit
from gateway.errors import GatewayError, NotFound
from gateway.models.service import ModelRegistry
from gateway.quality.schemas import QualityOut
from gateway.quality.service import Quality
from gateway.settings import Settings

REQUEST = "quality"
"""In the place of a request's id, in the audit log."""
_log = logging.getLogger(__name__)


class Watch:
    """One look after another; `look` is one."""

    def __init__(
        self, quality: Quality, registry: ModelRegistry, accounts: Accounts, audit: Audit, settings: Settings
    ) -> None:
        self._quality, self._registry = quality, registry
        self._accounts, self._audit, self._settings = accounts, audit, settings

    async def look(self) -> None:
        """At everything that is live. What cannot be read now is read the next time."""
        try:
            seen = await self._quality.all()
        except NotFound:
            return
        except GatewayError as error:
            _log.warning("quality is unknown", extra={"error": str(error)})
            return
        for one in seen:
            if one.state == "worse":
                _log.warning("an adapter answers worse", extra={"adapter": one.name, "reason": one.reason})
                if self._settings.quality_rollback:
                    await self._roll_back(one)

    async def _roll_back(self, seen: QualityOut) -> None:
        """In the name of the first admin, who has switched it on; once a version, and again at the next look
        where it could not be done.
        """
        if not await self._quality.take_back(seen.name, seen.version):
            _log.warning("nothing to roll back to", extra={"adapter": seen.name})
            return
        facts = {"version": seen.version, "by": REQUEST, "reason": seen.reason}
        try:
            caller = await self._accounts.authenticate(self._settings.admin_key.get_secret_value())
            async with self._audit.act(caller, REQUEST, "model.rollback", seen.name, **facts):
                await self._registry.rollback(seen.name)
        except Exception as error:
            await self._quality.leave(seen.name, seen.version)
            _log.warning("it was not rolled back", extra={"adapter": seen.name, "error": str(error)})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks every GATEWAY_QUALITY_MINUTES; not at all where that is 0."""
        if not (minutes := self._settings.quality_minutes):
            yield
            return
        task = asyncio.create_task(self._go_on(minutes * 60.0))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _go_on(self, seconds: float) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                # The next look may find what this one did not.
                _log.exception("the look at the quality broke off")
            await asyncio.sleep(seconds)
