"""GET /me, the caller's API keys, and what is known of a user."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.accounts.erasure import Erasure
from gateway.accounts.schemas import Erased, KeyIn, KeyOut, Lineage, Me, NewKey
from gateway.accounts.store import ApiKey
from gateway.deps import CallerDep, RequestId, ServicesDep, needs
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


@router.get("/users/{user_id:path}/lineage", dependencies=[needs(Scope.ADMIN)], response_model_by_alias=False)
async def user_lineage(user_id: str, services: ServicesDep, caller: CallerDep) -> Lineage:
    """The adapters that answered a user, and those that learnt from them."""
    return await Erasure(services).lineage(caller, user_id)


@router.delete("/users/{user_id:path}/data", dependencies=[needs(Scope.ADMIN)], response_model_by_alias=False)
async def erase_user(user_id: str, services: ServicesDep, caller: CallerDep, request_id: RequestId) -> Erased:
    """Erases what a user said: conversations, feedback, traces and scores, and what was made of them:
    annotation tasks, also in Label Studio, and datasets, which are withdrawn. Adapters' lineage keeps a
    pseudonym. The account stays.

    `unreached` says what could not be reached and what to do; then ask again.
    """
    return await Erasure(services).erase(caller, user_id, request_id)


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
