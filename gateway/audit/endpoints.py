"""/audit: what was done with privileges, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.audit.schemas import AuditOut
from gateway.deps import CallerDep, ServicesDep, needs
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/audit", tags=["audit"], dependencies=[needs(Scope.ADMIN)])


@router.get("")
async def audit(
    services: ServicesDep,
    caller: CallerDep,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Items[AuditOut]:
    """The newest first; `before` is the id of the last entry of the page before."""
    rows = await services.audit.latest(caller, before, limit)
    return Items(items=[AuditOut.model_validate(row, from_attributes=True) for row in rows])
