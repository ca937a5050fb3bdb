"""Documents of a project: uploads, their state, and the text that a citation points at."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

from sqlalchemy.exc import IntegrityError
from starlette.datastructures import UploadFile

from gateway.context import operator
from gateway.db.database import Database, unbroken
from gateway.documents import store
from gateway.documents.ingestion import Ingestion
from gateway.documents.schemas import PassageOut
from gateway.documents.store import Document
from gateway.documents.upload import Stored, checked_name, receive
from gateway.errors import NotFound, UpstreamFailed
from gateway.hop import Hop, result_text
from gateway.ids import new_id

UNKNOWN = "There is no document"
"""How rag_delete begins to speak of an id that it does not have."""
AROUND = 600
"""Characters shown before and after a passage."""


class Documents:
    def __init__(self, database: Database, hop: Hop, ingestion: Ingestion, uploads: Path, limit: int) -> None:
        self._database = database
        self._hop = hop
        self._ingestion = ingestion
        self._uploads = uploads
        self._limit = limit

    async def prepare(self) -> None:
        """Makes the folder, and removes what uploads of the last process left half-way."""
        self._uploads.mkdir(parents=True, exist_ok=True)
        for part in self._uploads.glob(".*.part"):
            part.unlink(missing_ok=True)

    async def upload(self, project_id: str, file: UploadFile) -> tuple[Document, bool]:
        """The document and whether it is new. The same content again is the same document; other content
        under a known name becomes that document's content."""
        name, media_type = checked_name(file.filename)
        stored = await receive(file, self._uploads, self._limit)
        try:
            row, fresh = await self._record(project_id, name, media_type, stored)
        except IntegrityError:
            # Two uploads of one name at the same time: the other one made the row.
            row, fresh = await self._record(project_id, name, media_type, stored)
        finally:
            await asyncio.to_thread(stored.path.unlink, missing_ok=True)
        if fresh:
            self._ingestion.add(row.id)
        return row, fresh

    @unbroken
    async def _record(
        self, project_id: str, name: str, media_type: str, stored: Stored
    ) -> tuple[Document, bool]:
        async with self._database.write() as session:
            same = await store.by_content(session, project_id, stored.sha256)
            if same is not None and same.state != "failed":
                return same, False
            row = same or await store.by_name(session, project_id, name)
            if row is None:
                session.add(row := Document(id=new_id(), project_id=project_id, name=name))
            row.media_type, row.bytes, row.sha256 = media_type, stored.bytes, stored.sha256
            row.state, row.error, row.done, row.total = "queued", None, 0, 0
            await session.flush()
            # Inside the transaction: a row without its file is never committed.
            await asyncio.to_thread(stored.path.replace, self._uploads / row.id)
        return row, True

    @unbroken
    async def of(self, project_id: str) -> list[Document]:
        async with self._database.read() as session:
            return await store.of_project(session, project_id)

    @unbroken
    async def titles(self, project_id: str) -> list[str]:
        """What the documents that can be searched call themselves, or their names without the ending."""
        async with self._database.read() as session:
            rows = await store.searchable(session, project_id)
        return [row.title or PurePosixPath(row.name).stem for row in rows]

    @unbroken
    async def get(self, project_id: str, document_id: str) -> Document:
        """Raises NotFound."""
        async with self._database.read() as session:
            row = await session.get(Document, document_id)
        if row is None or row.project_id != project_id:
            raise NotFound(f"No document {document_id!r} in this project.")
        return row

    async def delete(self, project_id: str, document_id: str) -> None:
        """From the index first: a row that is gone while its passages are still found would be worse."""
        row = await self.get(project_id, document_id)
        result = await self._hop.call(operator(project_id), "rag_delete", {"document_id": row.id})
        # A file that could never be read was never in the index: there is nothing to take out of it.
        if result.is_error and UNKNOWN not in result_text(result):
            raise UpstreamFailed(result_text(result))
        await self._forget(row)
        await asyncio.to_thread((self._uploads / row.id).unlink, missing_ok=True)

    @unbroken
    async def _forget(self, row: Document) -> None:
        async with self._database.write() as session:
            await session.delete(await session.merge(row))

    async def passage(self, project_id: str, document_id: str, start: int, end: int) -> PassageOut:
        """The text [start, end) of a document with what stands around it."""
        row = await self.get(project_id, document_id)
        wanted = {"document_id": row.id, "start": start, "end": end, "around": AROUND}
        result = await self._hop.call(operator(project_id), "rag_page", wanted)
        if result.is_error:
            raise NotFound(result_text(result))
        return PassageOut.model_validate({**(result.structured_content or {}), "name": row.name})
