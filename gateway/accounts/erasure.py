"""Forgetting a user: what they said goes, wherever it was copied to; adapters that learnt from it are named.

What cannot be reached is told with its remedy, and the erasure is run again: each run does what is left.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from annotation.forget import Forgotten, forget
from gateway.accounts.schemas import (
    AdapterOut,
    AnnotationErased,
    Answered,
    DatasetsErased,
    Erased,
    Lineage,
    RemovedTraces,
    Unreached,
    WithdrawnOut,
)
from gateway.accounts.store import User
from gateway.accounts.traces import UserTraces
from gateway.annotation.places import places_of
from gateway.datasets import child
from gateway.datasets.files import SHORT
from gateway.db.database import unbroken
from gateway.errors import BadRequest, Forbidden, GatewayError, NotFound, UpstreamFailed
from gateway.feedback.store import Feedback
from gateway.policy import Caller
from rlhf.errors import RlhfError
from rlhf.registry import Registry

if TYPE_CHECKING:
    from gateway.wiring import Services

AGAIN = "Run the erasure again."
WHEN_ENDED = "Run the erasure again when it has ended."


class Erasure:
    """`user` is any id that traces carry: of a user of this gateway, or one that another client gave."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._traces = UserTraces(services.settings)

    async def lineage(self, caller: Caller, user: str) -> Lineage:
        """Raises Forbidden, NotFound, UpstreamFailed."""
        await self._check(caller, user)
        answer = await self._traces.lineage(user)
        taught = await asyncio.to_thread(self._taught, user)
        return Lineage(user=user, answered_by=_answered(answer, "data"), taught=taught)

    async def erase(self, caller: Caller, user: str, request_id: str) -> Erased:
        """May be asked again: what is gone is gone. The audit log has a pseudonym of the user.

        Raises BadRequest, Forbidden, NotFound, UpstreamFailed; nothing was erased then.
        """
        if not user.strip() or "\0" in user:
            raise BadRequest("Name a user.", param="user_id")
        await self._check(caller, user)
        registry, audit = self._registry(), self._services.audit
        alias = await asyncio.to_thread(registry.pseudonyms.of, user)
        async with audit.act(caller, request_id, "user.erase", alias):
            erased = await self._erase(user)
        said = erased.model_dump(mode="json", exclude={"user"})
        await audit.note(caller, request_id, "user.erase.done", alias, **said)
        return erased

    async def _erase(self, user: str) -> Erased:
        taught = await asyncio.to_thread(self._taught, user)
        if waiting := await self._services.outbox.spool():
            raise UpstreamFailed(
                f"{waiting} scores still wait for room on the disk; nothing was erased.", code="scores_wait"
            )
        await self._traces.delivered()
        traces = await self._traces.ids(user)
        answer = await self._traces.erase(user)
        unreached = await self._elsewhere(user)
        feedback = await self._feedback(user)
        conversations = await self._services.conversations.forget(user)
        annotation = await self._annotation(user, traces, unreached)
        datasets, adapters = await self._rows(user, traces, unreached)
        await self._services.database.empty_log()
        if datasets.withdrawn or datasets.copies or annotation.tasks or annotation.rows:
            unreached += [_running(job.title or job.kind) for job in await self._services.jobs.running()]
        return Erased(
            user=user,
            conversations=conversations,
            feedback=feedback,
            traces=RemovedTraces(**answer["removed"]) if answer else None,
            answered_by=_answered(answer, "adapters"),
            taught=taught,
            annotation=annotation,
            datasets=datasets,
            adapters=adapters,
            unreached=unreached,
        )

    @unbroken
    async def _check(self, caller: Caller, user: str) -> None:
        if caller.project_id is not None:
            raise Forbidden("A key that is bound to a project cannot do this.")
        async with self._services.database.read() as session:
            row = await session.get(User, user)
        if row is not None and row.account_id != caller.account_id:
            raise NotFound(f"No user {user!r}.")

    @unbroken
    async def _feedback(self, user: str) -> int:
        """How much feedback went."""
        async with self._services.database.write() as session:
            gone = await session.execute(delete(Feedback).where(Feedback.user_id == user))
        return int(getattr(gone, "rowcount", 0))

    async def _elsewhere(self, user: str) -> list[Unreached]:
        """What is said where traces are in a Langfuse server: it is not ours to empty."""
        remedy = f"Delete the user's traces there, then: {AGAIN}"
        what = f"traces in {self._settings.langfuse_host}"
        try:
            if not await self._traces.elsewhere(user):
                return []
            why = "the server has traces of this user"
        except GatewayError as error:
            why = str(error)
        return [Unreached(place="traces", what=what, why=why, remedy=remedy)]

    async def _annotation(
        self, user: str, traces: frozenset[str], unreached: list[Unreached]
    ) -> AnnotationErased:
        tasks, judgements = await self._services.annotations.forget(user, traces)
        done: Forgotten = await asyncio.to_thread(forget, places_of(self._settings), user, traces)
        unreached += [
            Unreached(place="annotation", what=one.what, why=one.why, remedy=one.remedy)
            for one in done.missed
        ]
        if self._services.collections.running():
            what, why = "pairs that are being collected", "the run may have read words of theirs"
            unreached.append(Unreached(place="annotation", what=what, why=why, remedy=WHEN_ENDED))
        return AnnotationErased(
            tasks=tasks + done.tasks,
            judgements=judgements + done.judgements,
            rows=done.rows,
            label_studio=done.studio,
        )

    async def _rows(
        self, user: str, traces: frozenset[str], unreached: list[Unreached]
    ) -> tuple[DatasetsErased, list[str]]:
        """Datasets and lineage, by a child: it reads files that anybody may have uploaded."""
        shared = await self._gathered(unreached)
        try:
            done = await child.forget(user, traces, self._settings.data.absolute())
        except GatewayError as error:
            remedy = f"Delete the dataset that cannot be read, if it may be theirs. {AGAIN}"
            unreached.append(Unreached(place="datasets", what="all datasets", why=str(error), remedy=remedy))
            done = {key: [] for key in ("withdrawn", "adapters", "unattributed", "unreached")}
            done |= {"copies": 0, "reports": 0}
        for one in done["unreached"]:
            place = "adapters" if one["what"].startswith("adapters") else "datasets"
            unreached.append(Unreached.model_validate({"place": place, **one}))
        if shared is not None:
            await self._reconciled(shared, unreached)
        for row in await self._services.datasets.mark_withdrawn():
            why = "it is being built now"
            what = f"dataset {row.name}"
            unreached.append(Unreached(place="datasets", what=what, why=why, remedy=WHEN_ENDED))
        adapters = [f"{one['name']}@{one['version']}" for one in done["adapters"]]
        return _datasets(done, await self._services.datasets.names()), adapters

    async def _gathered(self, unreached: list[Unreached]) -> list[set[str]] | None:
        """Bring here what other machines have made; None where the object store cannot be reached."""
        try:
            return await asyncio.to_thread(self._services.depots.gather)
        except RlhfError as error:
            unreached.append(_in_the_store(error))
            return None

    async def _reconciled(self, shared: list[set[str]], unreached: list[Unreached]) -> None:
        """What has changed or gone here is so for all machines."""
        try:
            await asyncio.to_thread(self._services.depots.reconcile, shared)
        except RlhfError as error:
            unreached.append(_in_the_store(error))

    def _registry(self) -> Registry:
        return self._services.registry.on_disk

    def _taught(self, user: str) -> list[AdapterOut]:
        registry = self._registry()
        found = []
        for version in registry.of_user(user):
            aliases = registry.aliases(version.name).items()
            meant = sorted(alias for alias, digest in aliases if digest == version.digest)
            found.append(AdapterOut(name=version.name, version=version.short, aliases=meant))
        return found


def _datasets(done: dict[str, Any], names: dict[str, list[str]]) -> DatasetsErased:
    withdrawn = [WithdrawnOut(**one, names=names.get(one["digest"][:SHORT], [])) for one in done["withdrawn"]]
    nobodys = [one["digest"][:SHORT] for one in done["unattributed"]]
    called = [name for digits in nobodys for name in names.get(digits, [digits])]
    counts = {name: done[name] for name in ("copies", "reports")}
    return DatasetsErased(withdrawn=withdrawn, unattributed=called, **counts)


def _in_the_store(error: RlhfError) -> Unreached:
    return Unreached(place="datasets", what="the object store", why=str(error), remedy=AGAIN)


def _running(title: str) -> Unreached:
    why = "it runs, and may have read rows of theirs"
    return Unreached(place="jobs", what=f"job {title}", why=why, remedy=WHEN_ENDED)


def _answered(answer: dict[str, Any] | None, name: str) -> list[Answered] | None:
    return [Answered.model_validate(entry) for entry in answer[name]] if answer else None
