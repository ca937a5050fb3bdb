"""The registry of models: what there is, where it comes from, which one answers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

from starlette.datastructures import UploadFile

from gateway.documents.upload import receive
from gateway.errors import Conflict, GatewayError
from gateway.jobs.service import DEPLOY, JobService
from gateway.models.archive import packed, unpack
from gateway.models.card import card
from gateway.models.schemas import DeployedOut, LineageOut, ModelOut, VersionDetail, VersionOut
from gateway.models.server import AdapterServer
from gateway.models.shelf import Shelf
from gateway.policy import Caller
from gateway.projects.store import Project
from rlhf.jobs import Kind, State
from rlhf.registry import LIVE, PREVIOUS, Registry


class ModelRegistry:
    """Args:
    shelf: DATA/adapters.
    incoming: folder of uploads that are on their way.
    limit: bytes of an upload, and of what it unpacks to.
    """

    def __init__(
        self, shelf: Shelf, server: AdapterServer, jobs: JobService, incoming: Path, limit: int
    ) -> None:
        self._shelf, self._server, self._jobs = shelf, server, jobs
        self._incoming, self._limit = incoming, limit
        # The aliases are one file that is read, changed and written.
        self._changing = asyncio.Lock()

    def prepare(self) -> None:
        """Make the folder of uploads, and remove what the last process left in it. Blocking."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True)

    @property
    def on_disk(self) -> Registry:
        """As it lies in DATA; everything of it blocks."""
        return self._shelf.registry

    async def all(self) -> list[ModelOut]:
        return await asyncio.to_thread(self._shelf.models)

    async def get(self, name: str) -> ModelOut:
        return await asyncio.to_thread(self._shelf.model, name)

    async def version(self, name: str, ref: str) -> VersionDetail:
        version = await asyncio.to_thread(self._shelf.find, name, ref)
        served: bool | None = None
        with contextlib.suppress(GatewayError):
            served = await self._server.serves(name, version.digest)
        return await asyncio.to_thread(self._shelf.detail, version, served)

    async def lineage(self, name: str, ref: str) -> LineageOut:
        version = await asyncio.to_thread(self._shelf.find, name, ref)
        return await asyncio.to_thread(self._shelf.lineage, version)

    async def touched(self, user: str | None, trace: str | None) -> list[VersionOut]:
        """The versions that learnt from a user, or from a trace."""
        if user:
            return await asyncio.to_thread(self._shelf.of_user, user)
        return await asyncio.to_thread(self._shelf.of_trace, trace or "")

    async def card(self, name: str, ref: str) -> str:
        version = await asyncio.to_thread(self._shelf.find, name, ref)
        aliases = await asyncio.to_thread(self._shelf.aliases_of, version)
        report = await asyncio.to_thread(self._shelf.report, version)
        return await asyncio.to_thread(card, version, aliases, report)

    async def download(self, name: str, ref: str) -> tuple[str, Iterator[bytes]]:
        """A file name and the archive. Raises Conflict where the version is damaged."""
        version = await asyncio.to_thread(self._shelf.whole, name, ref)
        top = f"{name}-{version.short}"
        return f"{top}.zip", packed(version.folder, top)

    async def take(self, name: str, file: UploadFile, source: str, by: str) -> VersionDetail:
        """An adapter that was trained elsewhere, from a ZIP archive of its PEFT folder.

        Raises BadRequest, TooLarge.
        """
        stored = await receive(file, self._incoming, self._limit, as_named=False)
        folder = Path(mkdtemp(dir=self._incoming))
        try:
            await asyncio.to_thread(unpack, stored.path, folder, self._limit)
            lineage = {"imported": True, "source": source, "by": by, "archive_sha256": stored.sha256}
            version = await asyncio.to_thread(self._shelf.take, name, folder, lineage)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)
            stored.path.unlink(missing_ok=True)
        return await asyncio.to_thread(self._shelf.detail, version, False)

    async def deploy(self, caller: Caller, project: Project, name: str, ref: str, *, chats: bool) -> str:
        """The id of a job that lets the name mean a version, there and here, once it has seen that the model
        server computes what PEFT does; `chats`: and lets chats use it. Whatever goes wrong before leaves the
        name as it was.

        Raises NotFound, Conflict where the version is damaged or no adapter, UpstreamFailed where no worker
        lives.
        """
        await asyncio.to_thread(self._shelf.deployable, name)
        version = await asyncio.to_thread(self._shelf.whole, name, ref)
        await self._jobs.awake()
        chosen = {"name": name, "digest": version.digest}
        # Once: whoever waits for it is to learn at once what is wrong.
        step = {"kind": "deploy-version", "with": {**chosen, "chats": chats}, "retry": {"times": 0}}
        content = {"name": DEPLOY, "steps": {DEPLOY: step}}
        title = f"deploy {name} {version.short}"
        return await self._jobs.ask(
            caller, project, Kind.PIPELINE, [content, {}], title, DEPLOY, asked=chosen
        )

    async def deployed(self, name: str, job_id: str) -> DeployedOut:
        """What came of the job. Raises Conflict with its reason where it was not done."""
        job = await self._jobs.outcome(job_id)
        if job.state is not State.DONE:
            raise Conflict(job.error or f"The job {job_id} was cancelled.", code="not_deployed")
        done = job.result[DEPLOY]["deployment"]
        live, previous = await asyncio.to_thread(self._shelf.live, name)
        compared = {"parity": done["parity"], "positions": done["positions"]}
        return DeployedOut(name=name, live=live, previous=previous, **compared)

    async def rollback(self, name: str) -> DeployedOut:
        """What was live before is live again, in the model server and in the registry."""
        async with self._changing:
            await asyncio.to_thread(self._shelf.versions, name)
            aliases = await asyncio.to_thread(self._shelf.registry.aliases, name)
            if PREVIOUS not in aliases:
                raise Conflict(
                    f"{name!r} has no previous version to go back to. `loopyard models use --base` lets the "
                    "base answer chats."
                )
            previous = await asyncio.to_thread(self._shelf.whole, name, aliases[PREVIOUS])
            was = await self._server.stable(name)
            if was != previous.digest:
                # Loaded again where a restart has forgotten it; the server's own rollback could not find it.
                await self._server.load(name, previous.folder)
                if was is not None:
                    await self._server.promote(name, previous.digest, was)
            await asyncio.to_thread(self._shelf.registry.rollback, name)
            return await self._deployed(name)

    async def delete(self, name: str, ref: str) -> None:
        """Raises Conflict while an alias means it or the model server has it."""
        async with self._changing:
            version = await asyncio.to_thread(self._shelf.find, name, ref)
            aliases = await asyncio.to_thread(self._shelf.aliases_of, version)
            held = [alias for alias in aliases if alias in (LIVE, PREVIOUS)]
            if held:
                raise Conflict(
                    f"{name} {version.short} is {' and '.join(held)}: deploy another version first."
                )
            if await self._server.serves(name, version.digest):
                raise Conflict(f"The model server serves {name} {version.short}: unload it first.")
            await asyncio.to_thread(self._shelf.delete, name, version.digest)

    async def _deployed(self, name: str) -> DeployedOut:
        live, previous = await asyncio.to_thread(self._shelf.live, name)
        now = await self._server.stable(name)
        if now != live:
            raise Conflict(f"The model server answers with {now}, the registry says {live}: deploy again.")
        return DeployedOut(name=name, live=live, previous=previous)
