"""The MCP server `rag`: a project's documents."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import Field

from tools.context import ADMIN, CALL, Callers, requires
from tools.edge import DESTROYS, READ_ONLY, WRITES, Edge, Text, add_tool
from tools.errors import UnknownDocument
from tools.rag import catch_up, ingest
from tools.rag.embedder import Embedder
from tools.rag.library import Library
from tools.rag.schemas import Chunks, Deleted, DocumentList, Ingested, PageText, SearchResult
from tools.rag.search import search
from tools.settings import Settings

logger = logging.getLogger(__name__)

AROUND_CHARS = 1000
DocumentId = Annotated[str, Field(min_length=1, max_length=200, description="Id of the document.")]


class RagServer:
    """Holds what lives as long as the server does."""

    def __init__(self, settings: Settings, callers: Callers) -> None:
        self._settings = settings
        self._callers = callers
        self._library: Library | None = None

    @property
    def library(self) -> Library:
        """The open library; only there while the server runs."""
        assert self._library is not None, "the server is not running"
        return self._library

    @asynccontextmanager
    async def lifespan(self, _: FastMCP[Any]) -> AsyncIterator[None]:
        """Own the data folder and finish documents that wait for vectors, until the server stops."""
        embedder = Embedder(self._settings)
        self._library = await asyncio.to_thread(Library, self._settings, embedder)
        background = asyncio.create_task(catch_up.forever(self._library))
        try:
            yield
        finally:
            background.cancel()
            with suppress(asyncio.CancelledError):
                await background
            await embedder.aclose()
            self._library.close()
            self._library = None

    async def search(
        self,
        query: Annotated[
            str,
            Field(
                min_length=1,
                max_length=2000,
                description="What to look for, in the user's own words.",
                json_schema_extra={"x-span": True},
            ),
        ],
        top_k: Annotated[int, Field(ge=1, le=20, description="Number of passages.")] = 5,
    ) -> ToolResult:
        """Search the project's documents for passages that answer a question."""
        findings = await search(self.library, self._callers.current().project, query, top_k)
        result = SearchResult.of(findings)
        return ToolResult(content=result.text(), structured_content=result)

    async def documents(self) -> ToolResult:
        """List the project's documents."""
        shelf = await self.library.shelf(self._callers.current().project)
        listed = DocumentList.of(await asyncio.to_thread(shelf.store.documents))
        return ToolResult(content=listed.text(), structured_content=listed)

    async def ingest(
        self,
        ctx: Context,
        document_id: DocumentId,
        name: Annotated[str, Field(min_length=1, max_length=500, description="File name with its ending.")],
        path: Annotated[Text, Field(max_length=4096, description="File in the folder of uploads.")] = "",
        content_base64: Annotated[Text, Field(description="The content, instead of a path.")] = "",
        media_type: Annotated[Text, Field(max_length=200, description="Where the name does not tell.")] = "",
    ) -> ToolResult:
        """Take a document into the project, or its new version; the same content again changes nothing."""

        async def progress(done: int, total: int, phase: str) -> None:
            await ctx.report_progress(done, total or None, phase)

        source = ingest.Source(document_id, name, media_type, path, content_base64)
        outcome = await ingest.ingest(self.library, self._callers.current().project, source, progress)
        result = Ingested.of(outcome)
        return ToolResult(content=result.text(), structured_content=result)

    async def delete(self, document_id: DocumentId) -> ToolResult:
        """Remove a document from the project."""
        await ingest.delete(self.library, self._callers.current().project, document_id)
        return ToolResult(
            content=f"deleted {document_id}", structured_content=Deleted(document_id=document_id)
        )

    async def page(
        self,
        document_id: DocumentId,
        start: Annotated[int, Field(ge=0, description="Offset of the first character.")],
        end: Annotated[int, Field(ge=0, description="Offset behind the last character.")],
        around: Annotated[
            int, Field(ge=0, le=20_000, description="Characters of context on each side.")
        ] = AROUND_CHARS,
    ) -> ToolResult:
        """Show a part of a document's text with what stands around it."""
        shelf = await self.library.shelf(self._callers.current().project)
        text = await asyncio.to_thread(PageText.read, shelf.store, document_id, start, end, around)
        if text is None:
            raise UnknownDocument(f"There is no document {document_id} in this project.")
        return ToolResult(content=text.before + text.text + text.after, structured_content=text)

    async def chunks(
        self,
        document_id: DocumentId,
        after: Annotated[int, Field(ge=-1, description="Place of the last passage that is known.")] = -1,
        limit: Annotated[int, Field(ge=1, le=500, description="Number of passages.")] = 200,
    ) -> ToolResult:
        """Show a document's passages in its order."""
        shelf = await self.library.shelf(self._callers.current().project)
        found = await asyncio.to_thread(Chunks.read, shelf.store, document_id, after, limit)
        if found is None:
            raise UnknownDocument(f"There is no document {document_id} in this project.")
        return ToolResult(content=found.text(), structured_content=found)


def create_server(settings: Settings, callers: Callers) -> FastMCP:
    """The `rag` server; every call asks `callers` on whose behalf it runs."""
    rag = RagServer(settings, callers)
    server: FastMCP = FastMCP("rag", middleware=[Edge()], mask_error_details=True, lifespan=rag.lifespan)
    call, admin = requires(callers, CALL), requires(callers, ADMIN)
    add_tool(server, rag.search, auth=call, annotations=READ_ONLY, output=SearchResult)
    add_tool(server, rag.documents, auth=call, annotations=READ_ONLY, output=DocumentList)
    add_tool(server, rag.ingest, auth=admin, annotations=WRITES, output=Ingested)
    add_tool(server, rag.delete, auth=admin, annotations=DESTROYS, output=Deleted)
    add_tool(server, rag.page, auth=admin, annotations=READ_ONLY, output=PageText)
    add_tool(server, rag.chunks, auth=admin, annotations=READ_ONLY, output=Chunks)
    return server
