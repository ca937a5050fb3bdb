"""GET /me and the caller's API keys."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.accounts.schemas import KeyIn, KeyOut, Me, NewKey
from gateway.accounts.store import ApiKey
from gateway.deps import CallerDep, ServicesDep, needs
from gateway.errors import Forbidden
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(tags=["accounts"])


@router.get("/me")
async def me(caller: CallerDep) -> Me:
    return Me(id=caller.user_id, name=caller.name, role=caller.role)


@router.get("/keys", dependencies=[needs(Scope.ADMIN)])
async def keys(services: ServicesDep, caller: CallerDep) -> Items[KeyOut]:
    return Items(items=[_out(row) for row in await services.accounts.keys(caller)])


@router.post("/keys", status_code=201, dependencies=[needs(Scope.ADMIN)])
async def create_key(body: KeyIn, services: ServicesDep, caller: CallerDep) -> NewKey:
    """The key is in this answer and nowhere else."""
    if caller.project_id is not None:
        raise Forbidden("A key that is bound to a project cannot make others.")
    project = await services.projects.get(caller, body.project) if body.project else None
    row, key = await services.accounts.create_key(
        caller, body.name, body.scopes, project.id if project else None, body.expires_at
    )
    return NewKey(**_out(row).model_dump(), key=key)


@router.delete("/keys/{key_id}", status_code=204, dependencies=[needs(Scope.ADMIN)])
async def revoke_key(key_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    await services.accounts.revoke_key(caller, key_id)
    return Response(status_code=204)


def _out(row: ApiKey) -> KeyOut:
    return KeyOut(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=row.scopes,
        project_id=row.project_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
