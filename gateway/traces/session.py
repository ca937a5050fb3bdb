"""What an endpoint needs of one request: whose it is, its body, the file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request

from gateway.traces.body import parse_json, read_body
from gateway.traces.database import TraceDatabase
from gateway.traces.errors import Unauthorised
from gateway.traces.keys import KeyPair, KeyRing

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


EXPORTS = 4
"""Each may hold the largest body, packed and unpacked."""


@dataclass(frozen=True)
class Store:
    """The opened store. `numbers` gives a project's number in the file by its id."""

    database: TraceDatabase
    keys: KeyRing
    numbers: dict[str, int]
    body_limit: int
    exports: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EXPORTS))
    """Exports in the making."""


@dataclass(frozen=True)
class Session:
    """One request of a caller whose key pair is known."""

    store: Store
    request: Request
    key: KeyPair

    @property
    def project(self) -> int:
        return self.store.numbers[self.key.project_id]

    @property
    def params(self) -> QueryParams:
        return self.request.query_params

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    async def body(self) -> bytes:
        return await read_body(self.request, self.store.body_limit)

    async def json(self) -> Any:
        return parse_json(await self.body())

    async def model(self, kind: type[M]) -> M:
        return kind.model_validate(await self.json())

    async def read(self, work: Callable[..., T], *arguments: Any) -> T:
        """`work(connection, project, *arguments)` on a reading connection."""

        def call(connection: sqlite3.Connection) -> T:
            return work(connection, self.project, *arguments)

        return await self.store.database.read(call)

    async def write(self, work: Callable[..., T], *arguments: Any) -> T:
        """`work(connection, project, *arguments)` on the writing connection; it returns committed."""

        def call(connection: sqlite3.Connection) -> T:
            return work(connection, self.project, *arguments)

        return await self.store.database.write(call)


def begin(request: Request) -> Session:
    """Raises Unauthorised, before a byte of the body is read."""
    store: Store = request.app.state.store
    key = store.keys.opened_by(request.headers.get("authorization", ""))
    if key is None:
        raise Unauthorised("Send the public and the secret key of DATA/langfuse-keys.json as HTTP Basic.")
    return Session(store, request, key)
