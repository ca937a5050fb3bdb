"""/projects/{project}/documents."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Query, Response, UploadFile

from gateway.deps import ProjectDep, ServicesDep, needs
from gateway.documents.schemas import DocumentOut, PassageOut, document_out
from gateway.policy import Scope
from gateway.wire import Items

router = APIRouter(prefix="/projects/{project}/documents", tags=["documents"])


@router.get("")
async def documents(found: ProjectDep, services: ServicesDep) -> Items[DocumentOut]:
    return Items(items=[document_out(row) for row in await services.documents.of(found.id)])


@router.post("", status_code=202, dependencies=[needs(Scope.MANAGE)])
async def upload(
    file: Annotated[UploadFile, File()], found: ProjectDep, services: ServicesDep, response: Response
) -> DocumentOut:
    """202: ingestion goes on in the background. 200: this content is known already."""
    row, fresh = await services.documents.upload(found.id, file)
    response.status_code = 202 if fresh else 200
    return document_out(row)


@router.get("/{document_id}")
async def document(document_id: str, found: ProjectDep, services: ServicesDep) -> DocumentOut:
    return document_out(await services.documents.get(found.id, document_id))


@router.delete("/{document_id}", status_code=204, dependencies=[needs(Scope.MANAGE)])
async def delete_document(document_id: str, found: ProjectDep, services: ServicesDep) -> Response:
    await services.documents.delete(found.id, document_id)
    return Response(status_code=204)


@router.get("/{document_id}/passage")
async def passage(
    document_id: str,
    found: ProjectDep,
    services: ServicesDep,
    start: Annotated[int, Query(ge=0)],
    end: Annotated[int, Query(ge=0)],
) -> PassageOut:
    """The text of a citation with what stands around it."""
    return await services.documents.passage(found.id, document_id, start, end)
