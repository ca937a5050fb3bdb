"""Datasets of a project: what was uploaded, what was built from it, and where each comes from."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from starlette.datastructures import UploadFile

from gateway.datasets import child, store
from gateway.datasets.files import SHORT, Files
from gateway.datasets.names import checked_name, name_of_file
from gateway.datasets.objects import receive_object
from gateway.datasets.plan import kind_of, refuse_steps
from gateway.datasets.schemas import BuildIn, CheckOut, DocumentsIn, PreviewIn, PreviewOut
from gateway.datasets.store import Dataset
from gateway.db.database import Database, unbroken
from gateway.documents.upload import Stored, kept, receive
from gateway.errors import BadRequest, Conflict, NotFound
from gateway.jobs.service import JobService
from gateway.policy import Caller
from gateway.projects.store import Project
from rlhf.data.folder import told, withdrawal
from rlhf.errors import ObjectError
from rlhf.jobs import Job, Kind, State
from rlhf.objects.settings import Settings as ObjectSettings

LONG = 4 << 20
"""Bytes above which a file is checked by a job."""
LIMIT = f"--memory={child.MEGABYTES}"
WITHDRAWN = "withdrawn"


class Datasets:
    def __init__(
        self, database: Database, jobs: JobService, files: Files, limit: int, s3: ObjectSettings
    ) -> None:
        self._database = database
        self._jobs = jobs
        self.files = files
        self._limit = limit
        self._s3 = s3
        self._arriving: Counter[str] = Counter()
        """Uploads by content that have no row yet."""

    async def prepare(self) -> None:
        await asyncio.to_thread(self.files.prepare)

    async def upload(
        self, caller: Caller, project: Project, file: UploadFile, name: str | None
    ) -> tuple[Dataset, bool]:
        """The dataset and whether it is new: the same content again is the same dataset.

        Raises BadRequest for a file that cannot be read, naming the byte or the line, TooLarge, Conflict.
        """
        given = checked_name(name or name_of_file(file.filename))
        stored = await receive(file, self.files.root, self._limit, as_named=False)
        return await self._take_in(caller, project, given, stored)

    async def fetch(
        self, caller: Caller, project: Project, address: str, name: str | None
    ) -> tuple[Dataset, bool]:
        """The same of an object, `s3://BUCKET/KEY`, that the operator lets be read.

        Raises as `upload`, SourceRefused, ObjectError.
        """
        given = checked_name(name or name_of_file(address))
        stored = await receive_object(address, self.files.root, self._s3, self._limit)
        return await self._take_in(caller, project, given, stored)

    async def _take_in(
        self, caller: Caller, project: Project, given: str, stored: Stored
    ) -> tuple[Dataset, bool]:
        try:
            # It may have been withdrawn on another machine.
            await asyncio.to_thread(self.files.bring, Dataset(kind="file", digest=stored.sha256))
            if gone := await asyncio.to_thread(withdrawal, self.files.root / stored.sha256):
                raise Conflict(f"This file {told(gone)}.", param="file")
            facts = await child.dataset("inspect", str(stored.path), LIMIT)
            self._arriving[stored.sha256] += 1
            try:
                # Before the row: one without its file is never committed, whatever becomes of us in between.
                await asyncio.to_thread(self.files.take, stored.path, stored.sha256, facts["format"])
                await asyncio.to_thread(self.files.keep, stored.sha256)
                return await self._record(caller, project, given, stored, facts)
            except BaseException:
                await self._discard(stored.sha256)
                raise
            finally:
                self._arriving[stored.sha256] -= 1
        finally:
            await asyncio.to_thread(stored.path.unlink, missing_ok=True)

    async def _discard(self, digest: str) -> None:
        """Delete an uploaded file that no row holds, unless another upload has just brought it too."""
        row = Dataset(kind="file", digest=digest)
        if not await self._held(row) and self._arriving[digest] == 1:
            # What is left in the store is nobody's, and the next upload of it takes it over.
            with contextlib.suppress(ObjectError):
                await asyncio.to_thread(self.files.drop, row)
            await asyncio.to_thread(self.files.remove, row)

    @unbroken
    async def _record(
        self, caller: Caller, project: Project, name: str, stored: Stored, facts: dict[str, Any]
    ) -> tuple[Dataset, bool]:
        async with self._database.write() as session:
            there = await store.find(session, project.id, name)
            if there is not None and there.digest == stored.sha256:
                return there, False
            if there is not None:
                raise Conflict(f"A dataset {name!r} exists already; choose another name.", param="name")
            row = Dataset(
                project_id=project.id, user_id=caller.user_id, name=name, kind="file", state="ready"
            )
            row.format, row.digest, row.bytes = facts["format"], stored.sha256, stored.bytes
            row.facts, row.parents = {**facts, "file": name}, []
            session.add(row)
        return row, True

    @unbroken
    async def _all(self, project: Project) -> list[Dataset]:
        async with self._database.read() as session:
            return await store.of_project(session, project.id)

    async def all(self, project: Project) -> list[Dataset]:
        return [await self._settled(row) for row in await self._all(project)]

    async def get(self, project: Project, reference: str) -> Dataset:
        """By id or name. Raises NotFound, in the same words for what is another project's."""
        row = await self._find(project, reference)
        if row is None:
            names = ", ".join(one.name for one in await self._all(project)) or "none"
            raise NotFound(f"No dataset {reference!r} in this project. Datasets: {names}.")
        return await self._settled(row)

    @unbroken
    async def _find(self, project: Project, reference: str) -> Dataset | None:
        async with self._database.read() as session:
            return await store.find(session, project.id, reference)

    async def lineage(self, project: Project, row: Dataset) -> tuple[list[Dataset], list[Dataset]]:
        """What it was built from, and what was built from it."""
        rows = await self._all(project)
        return [one for one in rows if one.id in row.parents], [one for one in rows if row.id in one.parents]

    async def check(self, caller: Caller, project: Project, reference: str) -> CheckOut:
        """What is wrong with a file, at once or, where it is long, by a job."""
        row = await self._file(project, reference)
        source = str(self.files.source(row))
        if row.bytes > LONG:
            steps = {"check": _step("dataset-check", {"file": source, "name": row.name})}
            return CheckOut(job_id=await self._ask(caller, project, f"check {row.name}", steps))
        said = await child.dataset("validate", source, f"--name={row.name}", LIMIT)
        return CheckOut.model_validate(said)

    async def build(self, caller: Caller, project: Project, wanted: BuildIn) -> Dataset:
        """The row of a dataset that a job builds. Raises NotFound, Conflict, BadRequest."""
        sources = [await self._file(project, reference) for reference in wanted.sources]
        kind = kind_of(wanted, sources)
        refuse_steps(wanted.declared(), kind, sources)
        await self._refuse_name(project, wanted.name)
        given = wanted.model_dump(include={"held_out", "seed", "redact_pii", "split_by"})
        files = {source.name: str(self.files.source(source)) for source in sources}
        given |= {"files": files, "kind": kind, "steps": wanted.declared()}
        steps = {"build": _step("dataset-build", given)}
        return await self._building(caller, project, wanted.name, kind, steps, sources)

    async def preview(self, project: Project, reference: str, wanted: PreviewIn) -> PreviewOut:
        """The first rows of a file as steps make them. Raises NotFound, BadRequest."""
        row = await self._file(project, reference)
        refuse_steps(wanted.declared(), wanted.kind, [row])
        options = [f"--kind={wanted.kind}"] if wanted.kind else []
        options += [f"--name={row.name}", f"--rows={wanted.examples}", "--steps=-", LIMIT]
        source, given = str(self.files.source(row)), json.dumps(wanted.declared())
        said = await child.run("dataset", "preview", source, *options, given=given)
        return PreviewOut.model_validate_json(said.splitlines()[-1])

    async def ask_documents(
        self, caller: Caller, project: Project, wanted: DocumentsIn, passages: bytes
    ) -> Dataset:
        """The row of a dataset of questions about `passages`, JSON lines that become a dataset of their own.

        Raises Conflict, BadRequest, TooLarge.
        """
        declared = wanted.steps
        if declared is None:
            declared = [{"negatives": {}}] if wanted.kind == "triplet" else []
        refuse_steps(declared, wanted.kind, [])
        await self._refuse_name(project, wanted.name)
        stored = await asyncio.to_thread(kept, passages, self.files.root, self._limit)
        source, _ = await self._take_in(caller, project, f"{wanted.name} passages", stored)
        asked = wanted.model_dump(include={"kind", "model", "each", "passages", "seed"})
        asked |= {"file": str(self.files.source(source)), "by": wanted.questions}
        given = wanted.model_dump(include={"held_out", "seed", "redact_pii", "kind"})
        build = _step("dataset-build", {**given, "steps": declared}) | {"from": {"rows": "questions"}}
        steps = {"questions": _step("dataset-questions", asked), "build": build}
        return await self._building(caller, project, wanted.name, wanted.kind, steps, [source])

    async def _refuse_name(self, project: Project, name: str) -> None:
        if await self._find(project, name):
            raise Conflict(f"A dataset {name!r} exists already; choose another name.", param="name")

    async def _building(
        self,
        caller: Caller,
        project: Project,
        name: str,
        kind: str,
        steps: dict[str, Any],
        sources: list[Dataset],
    ) -> Dataset:
        job_id = await self._ask(caller, project, f"build {name}", steps)
        row = Dataset(project_id=project.id, user_id=caller.user_id, name=name, kind=kind)
        row.format, row.state, row.digest, row.bytes, row.job_id = "jsonl", "building", "", 0, job_id
        row.facts, row.parents = {"shape": kind}, [source.id for source in sources]
        return await self._added(row)

    @unbroken
    async def _added(self, row: Dataset) -> Dataset:
        try:
            async with self._database.write() as session:
                session.add(row)
        except IntegrityError as error:
            raise Conflict(f"A dataset {row.name!r} exists already.", param="name") from error
        return row

    async def _ask(self, caller: Caller, project: Project, title: str, steps: dict[str, Any]) -> str:
        content = {"name": "dataset", "steps": steps}
        return await self._jobs.ask(caller, project, Kind.PIPELINE, [content, {}], title, "dataset")

    async def _file(self, project: Project, reference: str) -> Dataset:
        row = await self.get(project, reference)
        if row.kind != "file":
            raise BadRequest(f"{row.name!r} was built; name a dataset that was uploaded.")
        _refuse_withdrawn(row)
        await asyncio.to_thread(self.files.bring, row)
        return row

    async def _settled(self, row: Dataset) -> Dataset:
        """The row with what became of its job: nobody has to wait for it."""
        if row.kind == "file" or row.state in ("ready", WITHDRAWN) or not row.job_id:
            return row
        try:
            job = await self._jobs.state(row.job_id)
        except NotFound:
            return await self._write(row, {"state": "failed", "error": "Its job was erased."})
        if job.state not in (State.DONE, State.FAILED, State.CANCELLED) and row.state == "building":
            return row
        outcome = _outcome(job)
        if outcome["state"] == "ready":
            try:
                await asyncio.to_thread(self.files.bring, Dataset(kind=row.kind, digest=outcome["digest"]))
            except ObjectError:
                return row  # built on another machine, and looked for again the next time
        written = await self._write(row, outcome)
        # Built before a user of its rows was forgotten, and not looked at since.
        gone = await self._gone(written) if written.state == "ready" else None
        return await self._write(written, _withdrawn(written, gone)) if gone else written

    async def _gone(self, row: Dataset) -> dict[str, Any] | None:
        return await asyncio.to_thread(withdrawal, self.files.folder(row))

    async def mark_withdrawn(self) -> list[Dataset]:
        """Say of every dataset whose rows were withdrawn that they were, whosever it is; gives those that are
        being built, which nobody has looked at yet.
        """
        building = []
        for row in await self._everybodys():
            if row.state == "building":
                building.append(row)
            elif row.state == "ready" and (gone := await self._gone(row)):
                await asyncio.to_thread(self.files.remove_exports, row)
                await self._write(row, _withdrawn(row, gone))
        return [row for row in building if (await self._settled(row)).state == "building"]

    async def names(self) -> dict[str, list[str]]:
        """What everybody calls a content, by its first twelve digits."""
        found: dict[str, list[str]] = {}
        for row in await self._everybodys():
            found.setdefault(row.digest[:SHORT], []).append(row.name)
        return found

    @unbroken
    async def _everybodys(self) -> list[Dataset]:
        async with self._database.read() as session:
            return await store.everybodys(session)

    @unbroken
    async def _write(self, row: Dataset, values: dict[str, Any]) -> Dataset:
        async with self._database.write() as session:
            merged: Dataset = await session.merge(row)
            for name, value in values.items():
                setattr(merged, name, value)
            if values["state"] in ("ready", WITHDRAWN):
                merged.bytes = await asyncio.to_thread(self.files.bytes_of, merged)
        return merged

    async def ready(self, project: Project, reference: str) -> Dataset:
        """A dataset that can be read now. Raises NotFound, Conflict."""
        row = await self.get(project, reference)
        _refuse_withdrawn(row)
        if row.state != "ready":
            raise Conflict(f"{row.name!r} is {row.state}{f': {row.error}' if row.error else ''}.")
        await asyncio.to_thread(self.files.bring, row)
        return row

    async def download(
        self, project: Project, reference: str, part: str, target: str
    ) -> tuple[Dataset, Path]:
        """The dataset and a file of it. Raises NotFound, BadRequest, Conflict."""
        row = await self.ready(project, reference)
        if (row.kind == "file") != (part == "data"):
            parts = "data" if row.kind == "file" else "train, held_out, manifest, card"
            raise BadRequest(f"{row.name!r} has no part {part!r}; parts: {parts}", param="part")
        if target == "original":
            return row, self.files.part(row, part)
        if part not in ("train", "held_out"):
            raise BadRequest("Only train and held_out have other formats.", param="format")
        out = self.files.export_folder(row, target)
        file = out / f"{part}.{'csv' if target == 'csv' else 'jsonl'}"
        if not await asyncio.to_thread(file.is_file):
            await child.run(
                "dataset", "export", str(self.files.folder(row)), "--to", target, "--out", str(out)
            )
        return row, file

    async def delete(self, project: Project, reference: str) -> None:
        """Raises NotFound, Conflict while it is being built."""
        row = await self.get(project, reference)
        if row.state == "building":
            raise Conflict(f"{row.name!r} is being built; cancel job {row.job_id} first.")
        await self._drop(row)

    async def clear(self, project: Project) -> None:
        """Delete all of a project, those that are being built too."""
        for row in await self.all(project):
            if row.state == "building" and row.job_id:
                await self._jobs.stop(row.job_id)
            await self._drop(row)

    async def _drop(self, row: Dataset) -> None:
        # What was withdrawn leaves its reason: the same content is not taken in again.
        goes = bool(row.digest) and row.state != WITHDRAWN
        if goes and await self._held(row) == 1 and not self._arriving[row.digest]:
            # Before the row: where the store does not answer it can be asked for again.
            await asyncio.to_thread(self.files.drop, row)
        left = await self._forget(row)
        # Another upload may have brought the same file just now, and has no row yet.
        if goes and not left and not self._arriving[row.digest]:
            await asyncio.to_thread(self.files.remove, row)

    @unbroken
    async def _held(self, row: Dataset) -> int:
        async with self._database.read() as session:
            return await store.with_digest(session, row.digest)

    @unbroken
    async def _forget(self, row: Dataset) -> int:
        async with self._database.write() as session:
            await session.delete(await session.merge(row))
            await session.flush()
            return await store.with_digest(session, row.digest)


def _step(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "with": given, "retry": {"times": 0}, "memory_mb": 8000}


def _outcome(job: Job) -> dict[str, Any]:
    if job.state is State.DONE:
        built = job.result["build"]["dataset"]
        return {"state": "ready", "error": None, "digest": built["digest"], "facts": built["facts"]}
    ended = job.state in (State.FAILED, State.CANCELLED)
    why = (job.error or "The job was cancelled.") if ended else None
    return {"state": "failed" if ended else "building", "error": why}


def _refuse_withdrawn(row: Dataset) -> None:
    if row.state == WITHDRAWN:
        raise Conflict(f"{row.name!r} {row.error}.")


def _withdrawn(row: Dataset, gone: dict[str, Any]) -> dict[str, Any]:
    """Of what is known of a dataset, counts and its shape."""
    facts = {name: row.facts[name] for name in ("rows", "shape") if name in row.facts}
    return {"state": WITHDRAWN, "error": told(gone), "facts": {**facts, "withdrawn": gone}}
