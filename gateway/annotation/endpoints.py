"""/annotation/{project}."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Response, UploadFile

from gateway.annotation.schemas import Format, JudgementIn, Next, Progress, Uploaded
from gateway.annotation.service import MOST_BYTES
from gateway.deps import CallerDep, ProjectDep, ServicesDep, needs
from gateway.policy import Scope

router = APIRouter(prefix="/annotation/{project}", tags=["annotation"], dependencies=[needs(Scope.CHAT)])
TYPES = {"csv": "text/csv; charset=utf-8"}


@router.post("/tasks", status_code=201, dependencies=[needs(Scope.MANAGE)])
async def upload(file: Annotated[UploadFile, File()], found: ProjectDep, services: ServicesDep) -> Uploaded:
    """Pairs as JSON lines; a bad line is named, and then nothing is taken."""
    content = await file.read(MOST_BYTES + 1)
    return await services.annotations.upload(found.id, content, file.filename or "the file")


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
async def export(found: ProjectDep, services: ServicesDep, format: Format = "jsonl") -> Response:
    """Preference rows: of this product, of TRL, of TRLx, or as CSV."""
    content = await services.annotations.export(found.id, format)
    suffix = "csv" if format == "csv" else "jsonl"
    headers = {"Content-Disposition": f'attachment; filename="preferences.{suffix}"'}
    return Response(content, media_type=TYPES.get(format, "application/x-ndjson"), headers=headers)
