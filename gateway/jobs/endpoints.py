"""/jobs: start, list, watch, cancel, resume, erase."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Response
from starlette.responses import FileResponse, JSONResponse

from gateway.deps import AskedProjectDep, CallerDep, RequestId, ServicesDep, needs
from gateway.jobs.comparison import comparison, report_of
from gateway.jobs.schemas import ApprovalIn, ComparisonOut, JobDetail, JobIn, JobOut, LineOut
from gateway.jobs.start import Starter, start
from gateway.policy import Scope
from gateway.sse import EventStream
from gateway.wire import Items
from rlhf.jobs import ENDED, State

router = APIRouter(prefix="/jobs", tags=["jobs"], dependencies=[needs(Scope.MANAGE)])
PICTURES_ALONE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""Content-Security-Policy of a report: it repeats what models wrote, and may run nothing."""


@router.get("")
async def jobs(
    services: ServicesDep,
    caller: CallerDep,
    project: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Items[JobOut]:
    """The newest first; of one project, or of all that the key reaches."""
    found = await services.projects.get(caller, project) if project else None
    return Items(items=await services.jobs.all(caller, found.id if found else None, limit))


@router.post("", status_code=202)
async def start_job(
    body: Annotated[JobIn, Body()],
    project: AskedProjectDep,
    services: ServicesDep,
    caller: CallerDep,
    request_id: RequestId,
) -> JobDetail:
    async with services.audit.act(caller, request_id, "job.start", body.kind, project=project.id):
        asked = Starter(services.jobs, services.datasets, services.registry.on_disk)
        job_id = await start(asked, caller, project, body)
    return await services.jobs.get(caller, job_id)


@router.get("/{job_id}")
async def job(job_id: str, services: ServicesDep, caller: CallerDep) -> JobDetail:
    return await services.jobs.get(caller, job_id)


@router.post("/{job_id}/cancel")
@router.post("/{job_id}/stop", include_in_schema=False)
async def cancel(job_id: str, services: ServicesDep, caller: CallerDep, request_id: RequestId) -> JobDetail:
    async with services.audit.act(caller, request_id, "job.cancel", job_id):
        return await services.jobs.cancel(caller, job_id)


@router.post("/{job_id}/resume")
async def resume(job_id: str, services: ServicesDep, caller: CallerDep, request_id: RequestId) -> JobDetail:
    """Once more what failed or was cancelled; what is done is not done again."""
    async with services.audit.act(caller, request_id, "job.resume", job_id):
        return await services.jobs.resume(caller, job_id)


@router.post("/{job_id}/approve", dependencies=[needs(Scope.ADMIN)])
async def approve(
    job_id: str, body: ApprovalIn, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> JobDetail:
    """Answer a step of a pipeline that waits for a person: what follows may be a deployment."""
    detail = {"step": body.step, "approved": body.approved}
    async with services.audit.act(caller, request_id, "job.approve", job_id, **detail):
        return await services.jobs.approve(caller, job_id, body.step, body.approved, body.note)


@router.delete("/{job_id}", status_code=202, response_model=JobDetail, responses={204: {}})
async def delete(job_id: str, services: ServicesDep, caller: CallerDep, request_id: RequestId) -> Response:
    """Cancels a job that runs or waits (202); erases one that has ended (204)."""
    found = await services.jobs.get(caller, job_id)
    if State(found.state) not in ENDED:
        cancelled = await cancel(job_id, services, caller, request_id)
        return JSONResponse(cancelled.model_dump(mode="json"), 202)
    async with services.audit.act(caller, request_id, "job.erase", job_id):
        await services.jobs.erase(caller, job_id)
    return Response(status_code=204)


@router.get("/{job_id}/log")
async def log(
    job_id: str, services: ServicesDep, caller: CallerDep, after: Annotated[int, Query(ge=0)] = 0
) -> Items[LineOut]:
    """What it said after line `after`."""
    return Items(items=await services.jobs.log(caller, job_id, after))


@router.get("/{job_id}/comparison")
async def compared(job_id: str, services: ServicesDep, caller: CallerDep) -> ComparisonOut:
    """What an evaluation has found: base, what is live and the candidate side by side."""
    return comparison(await services.jobs.get(caller, job_id))


@router.get("/{job_id}/report", response_class=FileResponse)
async def report(job_id: str, services: ServicesDep, caller: CallerDep) -> FileResponse:
    """The same as a page, with pictures and answers."""
    page = await report_of(await services.jobs.get(caller, job_id), services.settings.objects)
    return FileResponse(page, media_type="text/html", headers={"Content-Security-Policy": PICTURES_ALONE})


@router.get("/{job_id}/events")
async def events(
    job_id: str,
    services: ServicesDep,
    caller: CallerDep,
    after: Annotated[int, Query(ge=0)] = 0,
    last: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> EventStream:
    """Server-sent events: `line`s with their number, `job` for state and progress, `end`. A reader that
    comes back with Last-Event-ID goes on behind that line.
    """
    begin = int(last) if last and last.isdigit() and len(last) < 16 else after
    return EventStream(await services.jobs.events(caller, job_id, begin))
