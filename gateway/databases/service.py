"""Database connections of a project: tested when added, encrypted when stored, decrypted per call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError

from gateway.context import ADMIN, CALL, CallIdentity
from gateway.databases import store
from gateway.databases.store import DatabaseLink
from gateway.db.database import Database, unbroken
from gateway.errors import BadRequest, Conflict, GatewayError, NotFound
from gateway.hop import Hop, result_text
from gateway.ids import new_id
from gateway.policy import Caller

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


@dataclass(frozen=True, slots=True)
class Address:
    """A connection with its password. Lives as long as the call that needs it."""

    id: str
    name: str
    url: str


class Databases:
    def __init__(self, database: Database, hop: Hop, cipher: MultiFernet) -> None:
        self._database = database
        self._hop = hop
        self._cipher = cipher

    @unbroken
    async def of(self, project_id: str) -> list[DatabaseLink]:
        async with self._database.read() as session:
            return await store.of_project(session, project_id)

    async def addresses(self, project_id: str) -> list[Address]:
        return [Address(row.id, row.name, self._open(row)) for row in await self.of(project_id)]

    def _open(self, row: DatabaseLink) -> str:
        try:
            return self._cipher.decrypt(row.url).decode()
        except InvalidToken as error:
            raise GatewayError(
                f"The address of database {row.name!r} cannot be decrypted: GATEWAY_SECRET_KEY has changed. "
                "Add the old key after a comma, or add the database again."
            ) from error

    async def add(self, caller: Caller, project_id: str, name: str, raw: str) -> DatabaseLink:
        """Raises BadRequest where the address cannot be used, with the driver's reason."""
        url = checked(raw)
        if name in {link.name for link in await self.of(project_id)}:
            raise _taken(name)
        address = Address("new", name, url.render_as_string(hide_password=False))
        tested = await self._tested(caller, project_id, address)
        row = DatabaseLink(
            project_id=project_id,
            name=name,
            dialect=tested["dialect"],
            url=self._cipher.encrypt(address.url.encode()),
            tables=tested["tables"],
        )
        try:
            await self._store(row)
        except IntegrityError as error:
            raise _taken(name) from error
        return row

    @unbroken
    async def _store(self, row: DatabaseLink) -> None:
        async with self._database.write() as session:
            session.add(row)

    async def _tested(self, caller: Caller, project_id: str, address: Address) -> dict[str, Any]:
        """{"name", "dialect", "tables": how many}, from a connection that was made."""
        identity = _identity(caller, project_id, [address], admin=True)
        result = await self._hop.call(identity, "sql_test", {"database": address.name})
        if result.is_error:
            raise BadRequest(f"The database cannot be used: {result_text(result)}", param="url")
        return dict(result.structured_content or {})

    @unbroken
    async def get(self, project_id: str, name: str) -> DatabaseLink:
        """Raises NotFound, naming the databases that exist."""
        async with self._database.read() as session:
            row = await store.by_name(session, project_id, name)
            if row is None:
                names = [link.name for link in await store.of_project(session, project_id)]
                raise NotFound(f"No database {name!r}. Databases: {', '.join(names) or 'none'}.")
            return row

    @unbroken
    async def delete(self, project_id: str, name: str) -> None:
        row = await self.get(project_id, name)
        async with self._database.write() as session:
            await session.delete(await session.merge(row))

    async def schema(self, caller: Caller, project_id: str, name: str) -> dict[str, Any]:
        """As sql_describe gives it, of one database."""
        described = await self._ask(caller, project_id, name, "sql_describe", {})
        schema: dict[str, Any] = described["databases"][0]
        return schema

    async def query(self, caller: Caller, project_id: str, name: str, sql: str) -> dict[str, Any]:
        """As sql_query gives it. Raises BadRequest with the reason why the statement is not run."""
        return await self._ask(caller, project_id, name, "sql_query", {"sql": sql, "database": name})

    async def _ask(
        self, caller: Caller, project_id: str, name: str, tool: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        row = await self.get(project_id, name)
        identity = _identity(caller, project_id, [Address(row.id, row.name, self._open(row))])
        result = await self._hop.call(identity, tool, arguments)
        if result.is_error:
            raise BadRequest(result_text(result), param="sql", code="tool_error")
        return dict(result.structured_content or {})


def checked(raw: str) -> URL:
    """The address with the driver that the tools service has, a SQLite path made absolute."""
    try:
        url = make_url(raw)
    except ArgumentError as error:
        raise BadRequest("The address is not of the form dialect://...", param="url") from error
    dialect = url.get_backend_name()
    if dialect not in DRIVERS:
        raise BadRequest(f"No driver for {dialect!r}. Dialects: sqlite, postgresql.", param="url")
    url = url.set(drivername=DRIVERS[dialect])
    if dialect == "sqlite":
        if not url.database or url.database == ":memory:":
            raise BadRequest("A SQLite address needs a path: sqlite:////absolute/path.", param="url")
        url = url.set(database=str(Path(url.database).expanduser().resolve()))
    return url


def _identity(
    caller: Caller, project_id: str, addresses: list[Address], *, admin: bool = False
) -> CallIdentity:
    scopes = (CALL, ADMIN) if admin else (CALL,)
    known = [(address.name, address.url) for address in addresses]
    return CallIdentity(caller.user_id, project_id, new_id(), new_id(), scopes, known)


def _taken(name: str) -> Conflict:
    return Conflict(f"A database {name!r} exists already in this project.", param="name")
