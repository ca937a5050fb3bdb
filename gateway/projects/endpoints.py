"""/projects: a project is named by id or name."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.deps import CallerDep, ProjectDep, ServicesDep, needs
from gateway.errors import Forbidden
from gateway.policy import Scope
from gateway.projects.schemas import ProjectIn, ProjectOut
from gateway.wire import Items

router = APIRouter(prefix="/projects", tags=["projects"])


@router.get("")
async def projects(services: ServicesDep, caller: CallerDep) -> Items[ProjectOut]:
    return Items(items=await services.projects.all(caller))


@router.post("", status_code=201, dependencies=[needs(Scope.MANAGE)])
async def create_project(body: ProjectIn, services: ServicesDep, caller: CallerDep) -> ProjectOut:
    if caller.project_id is not None:
        raise Forbidden("This key is bound to a project.")
    made: ProjectOut = await services.projects.create(caller, body)
    return made


@router.get("/{project}")
async def project(found: ProjectDep, services: ServicesDep) -> ProjectOut:
    seen: ProjectOut = await services.projects.view(found)
    return seen


@router.delete("/{project}", status_code=204, dependencies=[needs(Scope.MANAGE)])
async def delete_project(found: ProjectDep, services: ServicesDep) -> Response:
    """Deletes the project with its documents, databases, conversations and annotation."""
    for document in await services.documents.of(found.id):
        await services.documents.delete(found.id, document.id)
    await services.datasets.clear(found)
    await services.annotations.drop(found)
    await services.projects.delete(found)
    return Response(status_code=204)
