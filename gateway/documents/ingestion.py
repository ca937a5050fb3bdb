"""Ingestion in the background: the tools service does the work, the row tells how far it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mcp_types

from gateway.context import operator
from gateway.db.database import Database, unbroken
from gateway.documents import store
from gateway.documents.store import Document
from gateway.hop import Hop, Progress, result_text
from graphs.errors import GraphsError

WORKERS = 2
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)
"""Pauses between attempts while the tools service is away; the last one repeats."""
LATER_SECONDS = 20.0
"""How soon a document whose embeddings were not available is looked at again: the tools service makes them by
itself as soon as it can, and the same ingestion then says `ready` without any work."""

_log = logging.getLogger(__name__)


class Ingestion:
    """A queue of document ids and a few workers."""

    def __init__(self, database: Database, hop: Hop, uploads: Path) -> None:
        self._database = database
        self._hop = hop
        self._uploads = uploads
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Takes up what the last process left unfinished: the tools service publishes whole documents."""
        async with self._database.read() as session:
            unfinished = await store.in_states(session, store.UNFINISHED)
        for document_id in unfinished:
            self.add(document_id)
        self._tasks = {asyncio.create_task(self._work()) for _ in range(WORKERS)}

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, document_id: str) -> None:
        if document_id not in self._waiting:
            self._waiting.add(document_id)
            self._queue.put_nowait(document_id)

    async def _work(self) -> None:
        while True:
            document_id = await self._queue.get()
            self._waiting.discard(document_id)
            try:
                await self._ingest(document_id)
            except Exception:
                _log.exception("ingestion failed", extra={"document_id": document_id})
                await self._write(document_id, {"state": "failed", "error": "Something went wrong inside."})

    async def _ingest(self, document_id: str) -> None:
        attempt = 0
        while (row := await self._read(document_id)) is not None:
            try:
                result = await self._call(row)
            except GraphsError as error:
                if not error.retryable:
                    await self._write(document_id, {"state": "failed", "error": str(error)})
                    return
                # Shown, because a document that waits for a service is not the reader's fault.
                await self._write(document_id, {"state": "queued", "error": str(error)})
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
                continue
            await self._settle(row, result)
            return

    async def _settle(self, row: Document, result: mcp_types.CallToolResult) -> None:
        values = outcome(result)
        if await self._read(row.id) is None:
            # Deleted while it was taken in: what was published just now must not stay behind.
            await self._hop.call(operator(row.project_id), "rag_delete", {"document_id": row.id})
            return
        if not await self._write(row.id, values, sha256=row.sha256):
            self.add(row.id)  # a newer content of the same name came in meanwhile
        elif values["state"] == "awaiting-embeddings":
            asyncio.get_running_loop().call_later(LATER_SECONDS, self.add, row.id)

    async def _call(self, row: Document) -> mcp_types.CallToolResult:
        await self._write(row.id, {"state": "parsing", "error": None, "done": 0, "total": 0})
        arguments = {
            "document_id": row.id,
            "name": row.name,
            "path": str(self._uploads / row.id),
            "media_type": row.media_type,
        }
        async with self._progress(row.id) as progress:
            return await self._hop.call(operator(row.project_id), "rag_ingest", arguments, progress)

    @asynccontextmanager
    async def _progress(self, document_id: str) -> AsyncIterator[Progress]:
        """Writes progress while the block runs. A report that is still under way when the result comes must
        not overwrite it, so the block ends behind the last one."""
        lock, open_ = asyncio.Lock(), True

        async def report(done: float, total: float | None, message: str | None) -> None:
            state = "parsing" if message == "parsing" else "embedding"
            async with lock:
                if open_:
                    told = {"state": state, "done": int(done), "total": int(total or 0)}
                    await self._write(document_id, told)

        try:
            yield report
        finally:
            async with lock:
                open_ = False

    @unbroken
    async def _read(self, document_id: str) -> Document | None:
        async with self._database.read() as session:
            return await session.get(Document, document_id)

    @unbroken
    async def _write(self, document_id: str, values: Mapping[str, Any], sha256: str | None = None) -> bool:
        """Writes columns of a document; False when its content is not `sha256` any more."""
        async with self._database.write() as session:
            row = await session.get(Document, document_id)
            if row is None or (sha256 and row.sha256 != sha256):
                return row is None
            for name, value in values.items():
                setattr(row, name, value)
            row.updated_at = datetime.now(UTC)
            return True


def outcome(result: mcp_types.CallToolResult) -> dict[str, Any]:
    """The row's columns after a call of rag_ingest."""
    if result.is_error:
        return {"state": "failed", "error": result_text(result)}
    said = result.structured_content or {}
    chunks = said.get("chunks")
    return {
        "state": said.get("state", "ready"),
        "error": None,
        "title": said.get("title"),
        "pages": said.get("pages"),
        "chunks": chunks,
        "done": chunks or 0,
        "total": chunks or 0,
    }
