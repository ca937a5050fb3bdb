"""/models-registry: adapters with their versions, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Path, Query, Response, UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

from gateway.deps import AskedProjectDep, CallerDep, RequestId, ServicesDep, needs
from gateway.errors import BadRequest
from gateway.jobs.schemas import JobDetail
from gateway.models.schemas import (
    NAME,
    REF,
    ChoiceIn,
    DeployedOut,
    LineageOut,
    ModelOut,
    VersionDetail,
    VersionOut,
)
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/models-registry", tags=["models"], dependencies=[needs(Scope.ADMIN)])
Name = Annotated[str, Path(pattern=NAME)]
Ref = Annotated[str, Path(pattern=REF)]


@router.get("")
async def models(services: ServicesDep) -> Items[ModelOut]:
    return Items(items=await services.registry.all())


@router.get("/learnt-from")
async def learnt_from(
    services: ServicesDep,
    user: Annotated[str | None, Query(max_length=200)] = None,
    trace: Annotated[str | None, Query(max_length=200)] = None,
) -> Items[VersionOut]:
    """The versions that saw a pair of a user, or an answer of a trace; heirs of such versions too."""
    if (user is None) == (trace is None):
        raise BadRequest("Name a user or a trace.", param="user")
    return Items(items=await services.registry.touched(user, trace))


@router.get("/{name}")
async def model(name: Name, services: ServicesDep) -> ModelOut:
    return await services.registry.get(name)


@router.post("/{name}/versions", status_code=201)
async def take(
    name: Name,
    file: Annotated[UploadFile, File()],
    services: ServicesDep,
    caller: CallerDep,
    request_id: RequestId,
    source: Annotated[str, Form(max_length=500)] = "",
) -> VersionDetail:
    """An adapter that was trained elsewhere: a ZIP archive of its PEFT folder. `source` says from where."""
    async with services.audit.act(caller, request_id, "model.import", name, source=source):
        return await services.registry.take(name, file, source, caller.name)


@router.get("/{name}/versions/{version}")
async def version(name: Name, version: Ref, services: ServicesDep) -> VersionDetail:
    """By digits of its digest or by an alias: `live`, `previous`, `candidate`."""
    return await services.registry.version(name, version)


@router.get("/{name}/versions/{version}/lineage")
async def lineage(name: Name, version: Ref, services: ServicesDep) -> LineageOut:
    return await services.registry.lineage(name, version)


@router.get("/{name}/versions/{version}/card", response_class=PlainTextResponse)
async def card(name: Name, version: Ref, services: ServicesDep) -> PlainTextResponse:
    """Markdown."""
    return PlainTextResponse(await services.registry.card(name, version), media_type="text/markdown")


@router.get("/{name}/versions/{version}/download", response_class=StreamingResponse)
async def download(
    name: Name, version: Ref, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> StreamingResponse:
    """A ZIP archive of everything that belongs to the version."""
    async with services.audit.act(caller, request_id, "model.download", f"{name}@{version}"):
        file, parts = await services.registry.download(name, version)
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return StreamingResponse(parts, media_type="application/zip", headers=headers)


@router.post("/{name}/deploy", response_model=DeployedOut, responses={202: {"model": JobDetail}})
@router.post("/{name}/promote", include_in_schema=False)
async def deploy(
    name: Name,
    body: ChoiceIn,
    project: AskedProjectDep,
    services: ServicesDep,
    caller: CallerDep,
    request_id: RequestId,
    wait: Annotated[bool, Query(description="Answer when it is done (200), or why it is not (409).")] = False,
) -> Response:
    """Let the worker load a version into the running model server, compare it with PEFT, try it, let the
    name mean it, and let chats use it. Answers with the job (202), or with what came of it.
    """
    asked = {"version": body.version, "chats": body.chats}
    async with services.audit.act(caller, request_id, "model.deploy", name, **asked):
        job_id = await services.registry.deploy(caller, project, name, body.version, chats=body.chats)
        if wait:
            done = await services.registry.deployed(name, job_id)
            return JSONResponse(done.model_dump(mode="json"))
    job = await services.jobs.get(caller, job_id)
    return JSONResponse(job.model_dump(mode="json"), 202)


@router.post("/{name}/rollback")
async def rollback(
    name: Name, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> DeployedOut:
    """What was live before is live again."""
    async with services.audit.act(caller, request_id, "model.rollback", name):
        return await services.registry.rollback(name)


@router.delete("/{name}/versions/{version}", status_code=204)
async def delete(
    name: Name, version: Ref, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> Response:
    """Refused while the version is deployed."""
    async with services.audit.act(caller, request_id, "model.delete", f"{name}@{version}"):
        await services.registry.delete(name, version)
    return Response(status_code=204)
