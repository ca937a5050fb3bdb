"""/pipelines: checked, and put on a schedule; for admins, because steps may name any file of the server."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from gateway.deps import CallerDep, RequestId, ServicesDep, needs
from gateway.pipelines.schemas import NAME, PlanOut, ScheduleOut, SpecIn
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/pipelines", tags=["pipelines"], dependencies=[needs(Scope.ADMIN)])


@router.post("/check")
async def check(body: SpecIn, services: ServicesDep) -> PlanOut:
    """The steps in the order in which they run, or everything that is wrong."""
    return await services.pipelines.check(body)


@router.get("/schedules")
async def schedules(services: ServicesDep) -> Items[ScheduleOut]:
    """Pipelines that the worker runs by itself."""
    return Items(items=await services.pipelines.schedules())


@router.post("/schedules", status_code=201)
async def keep(body: SpecIn, services: ServicesDep, caller: CallerDep, request_id: RequestId) -> ScheduleOut:
    """Let the worker run a pipeline as its block `schedule` says; one of the same name is replaced."""
    name = str(body.spec.get("name", ""))[:100]
    async with services.audit.act(caller, request_id, "schedule.keep", name):
        return await services.pipelines.keep(body)


@router.delete("/schedules/{name}", status_code=204)
async def forget(
    name: Annotated[str, Path(pattern=NAME)], services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> Response:
    """It is run no longer by itself; jobs that were asked for stay."""
    async with services.audit.act(caller, request_id, "schedule.forget", name):
        await services.pipelines.forget(name)
    return Response(status_code=204)
