"""/annotation/{project}."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Response, UploadFile

from gateway.annotation.schemas import (
    Collected,
    CollectIn,
    Format,
    JudgementIn,
    Kind,
    Next,
    Progress,
    Standing,
    Uploaded,
)
from gateway.annotation.service import MOST_BYTES
from gateway.deps import CallerDep, ProjectDep, RequestId, ServicesDep, needs
from gateway.policy import Scope

router = APIRouter(prefix="/annotation/{project}", tags=["annotation"], dependencies=[needs(Scope.CHAT)])
TYPES = {"csv": "text/csv; charset=utf-8"}


@router.post("/tasks", status_code=201, dependencies=[needs(Scope.MANAGE)])
async def upload(
    file: Annotated[UploadFile, File()],
    found: ProjectDep,
    services: ServicesDep,
    again: Annotated[float, Query(ge=0, le=1)] = 0.0,
) -> Uploaded:
    """Pairs as JSON lines; a bad line is named, and then nothing is taken. `again`: share of them that is
    shown twice, sides changed, for the flip rate."""
    content = await file.read(MOST_BYTES + 1)
    return await services.annotations.upload(found.id, content, file.filename or "the file", again)


@router.post("/collect", status_code=202, dependencies=[needs(Scope.MANAGE)])
async def collect(
    body: CollectIn, found: ProjectDep, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> Collected:
    """Preferences and tasks out of the project's traces. It goes on by itself; GET says how far it is."""
    facts = {"since": body.since, "until": body.until, "to": body.to}
    async with services.audit.act(caller, request_id, "annotation.collect", found.id, **facts):
        return services.collections.start(found, body)


@router.get("/collect", dependencies=[needs(Scope.MANAGE)])
async def collected(found: ProjectDep, services: ServicesDep) -> Collected:
    return services.collections.state(found.id)


@router.delete("/collect", dependencies=[needs(Scope.MANAGE)])
async def stop_collecting(found: ProjectDep, services: ServicesDep) -> Collected:
    """It ends after the answer that it waits for."""
    return services.collections.stop(found.id)


@router.get("/standing", dependencies=[needs(Scope.MANAGE)])
async def standing(found: ProjectDep, services: ServicesDep) -> Standing:
    """How many tasks are judged, and how many rows there are."""
    return await services.annotations.standing(found)


@router.post("/pull", dependencies=[needs(Scope.MANAGE)])
async def pull(
    found: ProjectDep, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> Standing:
    """Fetch what was judged in Label Studio."""
    async with services.audit.act(caller, request_id, "annotation.pull", found.id):
        await services.annotations.pull(found)
    return await services.annotations.standing(found)


@router.get("/next")
async def next_task(
    found: ProjectDep, services: ServicesDep, caller: CallerDep, skipped: bool = False
) -> Next:
    """The next task of this key: each key is an annotator of its own."""
    return await services.annotations.next(caller, found.id, skipped)


@router.put("/tasks/{task_id}/judgement")
async def judge(
    task_id: str, given: JudgementIn, found: ProjectDep, services: ServicesDep, caller: CallerDep
) -> Progress:
    """A second one replaces the first."""
    return await services.annotations.judge(caller, found.id, task_id, given)


@router.post("/tasks/{task_id}/skip")
async def skip(task_id: str, found: ProjectDep, services: ServicesDep, caller: CallerDep) -> Progress:
    return await services.annotations.judge(caller, found.id, task_id, None)


@router.post("/undo")
async def undo(found: ProjectDep, services: ServicesDep, caller: CallerDep) -> Next:
    """The last task again, with what was said on it."""
    return await services.annotations.undo(caller, found.id)


@router.get("/quality", dependencies=[needs(Scope.MANAGE)])
async def quality(found: ProjectDep, services: ServicesDep) -> dict[str, Any]:
    """Agreement, accuracy on tasks with a known answer, place and flips, times."""
    return await services.annotations.quality(found.id)


@router.get("/export", dependencies=[needs(Scope.MANAGE)])
async def export(
    found: ProjectDep, services: ServicesDep, format: Format = "jsonl", kind: Kind = "preference"
) -> Response:
    """Preference rows, wherever they were given: here, in Label Studio, or by users in their chats. Of this
    product, of TRL, of TRLx, or as CSV. `kind=kto`: answers with a thumb up or down instead, as lines of this
    product."""
    if kind == "kto":
        content = await services.annotations.thumbs(found, format)
    else:
        content = await services.annotations.export(found, format)
    name = "thumbs" if kind == "kto" else "preferences"
    suffix = "csv" if format == "csv" else "jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"'}
    return Response(content, media_type=TYPES.get(format, "application/x-ndjson"), headers=headers)
