"""/projects/{project}/databases."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from gateway.databases.schemas import DatabaseIn, DatabaseOut, QueryIn
from gateway.databases.store import DatabaseLink
from gateway.deps import CallerDep, ProjectDep, ServicesDep, needs
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/projects/{project}/databases", tags=["databases"])


@router.get("")
async def databases(found: ProjectDep, services: ServicesDep) -> Items[DatabaseOut]:
    return Items(items=[_out(row) for row in await services.databases.of(found.id)])


@router.post("", status_code=201, dependencies=[needs(Scope.MANAGE)])
async def add_database(
    body: DatabaseIn, found: ProjectDep, services: ServicesDep, caller: CallerDep
) -> DatabaseOut:
    """Connects before it stores: an address that does not work is a 400 with the driver's reason."""
    return _out(await services.databases.add(caller, found.id, body.name, body.url.get_secret_value()))


@router.get("/{name}")
async def database(name: str, found: ProjectDep, services: ServicesDep) -> DatabaseOut:
    return _out(await services.databases.get(found.id, name))


@router.delete("/{name}", status_code=204, dependencies=[needs(Scope.MANAGE)])
async def delete_database(name: str, found: ProjectDep, services: ServicesDep) -> Response:
    await services.databases.delete(found.id, name)
    return Response(status_code=204)


@router.get("/{name}/schema")
async def schema(name: str, found: ProjectDep, services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    return await services.databases.schema(caller, found.id, name)


@router.post("/{name}/query", dependencies=[needs(Scope.TOOLS)])
async def query(
    name: str, body: QueryIn, found: ProjectDep, services: ServicesDep, caller: CallerDep
) -> dict[str, Any]:
    """Runs one read-only SELECT, as the tool sql_query does."""
    return await services.databases.query(caller, found.id, name, body.sql)


def _out(row: DatabaseLink) -> DatabaseOut:
    return DatabaseOut(
        id=row.id, name=row.name, dialect=row.dialect, tables=row.tables, created_at=row.created_at
    )
