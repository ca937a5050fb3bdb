"""A gateway on loopback with a scripted model server and a small tools service that checks its context."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.context import Context
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import Middleware, MiddlewareContext
from fastmcp.tools import ToolResult
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from sqlalchemy import delete
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.accounts.service import FIRST_KEY
from gateway.accounts.store import ApiKey
from gateway.app import create_app
from gateway.conversations.store import Conversation
from gateway.databases.store import DatabaseLink
from gateway.documents.store import Document
from gateway.projects.store import Project
from gateway.settings import Settings
from gateway.wiring import Services
from tests.graphs.model_server import ModelServer, Script, model_server, serving
from tests.graphs.tool_server import ToolServer

CONTEXT_KEY = "ab" * 32
ADMIN_KEY = "ly_0123456789ab_" + "c" * 32
SECRET_KEY = "B" * 43 + "="


class Opener(TokenVerifier):
    """Opens the signed context, as the tools service does."""

    async def verify_token(self, token: str) -> AccessToken | None:
        key = OctKey.import_key(bytes.fromhex(CONTEXT_KEY))
        try:
            claims = json.loads(jwe.decrypt_compact(token, key).plaintext or b"")
        except JoseError:
            return None
        return AccessToken(token=token, client_id=claims["sub"], scopes=claims["scopes"], claims=claims)


@dataclass
class Tools:
    """The tools service of a test. `claims` keeps the context of every call; `failing` names documents that
    cannot be ingested; until `open` is set, ingestion waits."""

    database: Path
    claims: list[dict[str, Any]] = field(default_factory=list)
    ingested: dict[str, dict[str, Any]] = field(default_factory=dict)
    failing: str = "broken"
    open: asyncio.Event = field(default_factory=asyncio.Event)
    small: ToolServer = field(init=False)
    url: str = ""

    def __post_init__(self) -> None:
        self.small = ToolServer(self.database)
        self.reset()

    def reset(self) -> None:
        self.failing = "broken"
        self.claims.clear()
        self.ingested.clear()
        self.small.calls.clear()
        self.open.set()

    def app(self) -> Any:
        server = self.small.mcp(auth=Opener())
        for tool in (self.rag_ingest, self.rag_delete, self.rag_page, self.sql_test, self.slow):
            server.tool(tool, output_schema=None)
        self._keep_claims(server)
        server.custom_route("/health", methods=["GET"])(_health)
        return server.http_app(path="/mcp", stateless_http=True)

    def _keep_claims(self, server: FastMCP[Any]) -> None:
        class Keep(Middleware):
            async def on_call_tool(keep, context: MiddlewareContext[Any], call_next: Any) -> Any:
                token = get_access_token()
                assert token is not None
                self.claims.append({**token.claims, "tool": context.message.name})
                return await call_next(context)

        server.add_middleware(Keep())

    async def rag_ingest(
        self, document_id: str, name: str, path: str, media_type: str, ctx: Context
    ) -> ToolResult:
        """Take a document in."""
        if self.failing in name:
            raise ToolError(f"{name} cannot be read: it is protected by a password.")
        await ctx.report_progress(0, 2, "parsing")
        await self.open.wait()
        await ctx.report_progress(1, 2, "embedding")
        text = await asyncio.to_thread(Path(path).read_text)
        self.ingested[document_id] = {"name": name, "text": text, "media_type": media_type}
        result = {"document_id": document_id, "pages": 1, "chunks": 2, "state": "ready"}
        return ToolResult(content="ready", structured_content=result)

    async def rag_delete(self, document_id: str) -> str:
        """Remove a document."""
        if document_id not in self.ingested:
            raise ToolError(f"There is no document {document_id} in this project.")
        del self.ingested[document_id]
        return "deleted"

    async def rag_page(self, document_id: str, start: int, end: int, around: int = 1000) -> ToolResult:
        """Text of a document."""
        text = self.ingested[document_id]["text"]
        page = {"name": "x", "page": 1, "section": "S", "text": text[start:end], "start": start, "end": end}
        page |= {"before": text[max(0, start - around) : start], "after": text[end : end + around]}
        page |= {"total": len(text)}
        return ToolResult(content=page["text"], structured_content=page)

    async def sql_test(self, database: str) -> ToolResult:
        """Connect to a database."""
        token = get_access_token()
        assert token is not None
        (link,) = [d for d in token.claims["databases"] if d["name"] == database]
        if "missing" in link["url"]:
            raise ToolError("unable to open database file")
        return ToolResult(
            content="ok", structured_content={"name": database, "dialect": "sqlite", "tables": 2}
        )

    async def slow(self, seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "waited"


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


Told = list[tuple[str, dict[str, Any]]]


@dataclass
class Gateway:
    """What a test talks to. `client` carries the admin's key."""

    url: str
    client: httpx2.AsyncClient
    model: ModelServer
    tools: Tools
    settings: Settings
    app: FastAPI

    async def empty(self, script: Script) -> None:
        """As after the first start: the project demo with nothing in it, one key, neighbours as new."""
        services: Services = self.app.state.services
        async with services.database.write() as session:
            for table in (Conversation, Document, DatabaseLink):
                await session.execute(delete(table))
            await session.execute(delete(Project).where(Project.name != "demo"))
            await session.execute(delete(ApiKey).where(ApiKey.name != FIRST_KEY))
        for file in self.settings.uploads.iterdir():
            file.unlink()
        self.model.script = script
        self.model.requests.clear()
        self.model.gone.clear()
        self.tools.reset()

    def key(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    async def new_key(self, **body: Any) -> str:
        """A further API key."""
        made = await self.client.post("/api/v1/keys", json={"name": "k", **body})
        assert made.status_code == 201, made.text
        return str(made.json()["key"])

    async def chat(
        self, message: str, project: str = "demo", **body: Any
    ) -> list[tuple[str, dict[str, Any]]]:
        """The events of an answer."""
        sent = {"agent": "general", "message": message, **body}
        async with self.client.stream("POST", f"/api/v1/projects/{project}/chat", json=sent) as answer:
            assert answer.status_code == 200, await answer.aread()
            return [event async for event in events(answer)]


async def events(answer: httpx2.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """(name, data) of each server-sent event."""
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def settings(folder: Path, **changes: Any) -> Settings:
    base = {
        "data": folder,
        "context_key": CONTEXT_KEY,
        "admin_key": ADMIN_KEY,
        "secret_key": SECRET_KEY,
        "shutdown_seconds": 1,
    }
    return Settings(**{**base, **changes})


@asynccontextmanager
async def running(
    chosen: Settings, model: ModelServer, tools: Tools, port: int = 0
) -> AsyncIterator[Gateway]:
    """A gateway on the neighbours that are there already."""
    full = chosen.model_copy(update={"llm_url": model.url, "tools_url": tools.url})
    app = create_app(full)
    async with serving(app, port) as url:
        headers = {"Authorization": f"Bearer {full.admin_key.get_secret_value()}"}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            yield Gateway(url, client, model, tools, full, app)


@asynccontextmanager
async def neighbours(folder: Path, script: Script) -> AsyncIterator[tuple[ModelServer, Tools]]:
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(model_server(script))
        tools = Tools(folder / "music.db")
        tools.url = await stack.enter_async_context(serving(tools.app()))
        yield model, tools


async def until(condition: Any, seconds: float = 10.0) -> Any:
    """Asks again until the answer is true; the answer."""
    async with asyncio.timeout(seconds):
        while not (answer := await condition()):  # noqa: ASYNC110 - what is waited for is behind HTTP
            await asyncio.sleep(0.02)
        return answer
