"""/datasets of a project: that of `X-Project`, of the key, or the default one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from starlette.responses import FileResponse

from gateway.datasets.passages import passages_of
from gateway.datasets.schemas import (
    BuildIn,
    CheckOut,
    DatasetDetail,
    DatasetOut,
    DocumentsIn,
    Part,
    PreviewIn,
    PreviewOut,
    StepOut,
    Target,
    dataset_detail,
    dataset_out,
)
from gateway.deps import AskedProjectDep, CallerDep, RequestId, ServicesDep, needs
from gateway.errors import BadRequest
from gateway.policy import Scope
from gateway.wire import Items
from rlhf.data.steps import described

# Rows hold what users said: reading them takes the same right as changing them.
router = APIRouter(prefix="/datasets", tags=["datasets"], dependencies=[needs(Scope.MANAGE)])


@router.get("")
async def datasets(project: AskedProjectDep, services: ServicesDep) -> Items[DatasetOut]:
    return Items(items=[dataset_out(row) for row in await services.datasets.all(project)])


@router.post("", status_code=201)
async def upload(
    project: AskedProjectDep,
    services: ServicesDep,
    caller: CallerDep,
    request_id: RequestId,
    response: Response,
    file: Annotated[UploadFile | None, File()] = None,
    source: Annotated[str | None, Form(max_length=1100)] = None,
    name: Annotated[str | None, Form(max_length=100)] = None,
) -> DatasetOut:
    """JSON lines, CSV or Parquet, whatever the name says: a file, or as `source` the s3://BUCKET/KEY of an
    object that the operator lets be read. 200: this content has this name already.
    """
    if (file is None) == (source is None):
        raise BadRequest("Send a file, or name an object in `source`.", param="file")
    if file is not None:
        row, fresh = await services.datasets.upload(caller, project, file, name)
    else:
        asked = str(source)
        async with services.audit.act(caller, request_id, "dataset.fetch", asked, project=project.id):
            row, fresh = await services.datasets.fetch(caller, project, asked, name)
    response.status_code = 201 if fresh else 200
    return dataset_out(row)


@router.post("/build", status_code=202)
async def build(
    body: BuildIn, project: AskedProjectDep, services: ServicesDep, caller: CallerDep
) -> DatasetOut:
    """Checked, without duplicates, split so that nothing leaks; `job_id` names the job that does it."""
    return dataset_out(await services.datasets.build(caller, project, body))


@router.post("/from-documents", status_code=202)
async def from_documents(
    body: DocumentsIn, project: AskedProjectDep, services: ServicesDep, caller: CallerDep
) -> DatasetOut:
    """Questions about the passages of the project's documents, each with its source; what is held out are
    whole documents. `job_id` names the job that asks and builds; the passages become a dataset of their own.
    """
    passages = await passages_of(services.hop, services.documents, project, body.documents)
    return dataset_out(await services.datasets.ask_documents(caller, project, body, passages))


@router.get("/steps")
async def steps() -> Items[StepOut]:
    """What may be declared of a dataset, with every setting."""
    return Items(items=[StepOut.model_validate(step) for step in described()])


@router.get("/{dataset}")
async def dataset(dataset: str, project: AskedProjectDep, services: ServicesDep) -> DatasetDetail:
    row = await services.datasets.get(project, dataset)
    return dataset_detail(row, *await services.datasets.lineage(project, row))


@router.post("/{dataset}/validate")
async def validate(
    dataset: str, project: AskedProjectDep, services: ServicesDep, caller: CallerDep, response: Response
) -> CheckOut:
    """Missing values, duplicates, near-duplicates, personal data. 202 with a job's id for a long file."""
    found = await services.datasets.check(caller, project, dataset)
    response.status_code = 202 if found.job_id else 200
    return found


@router.post("/{dataset}/preview")
async def preview(
    dataset: str, body: PreviewIn, project: AskedProjectDep, services: ServicesDep
) -> PreviewOut:
    """The first rows of a file as a mapping and steps make them, with their tokens; nothing is kept."""
    return await services.datasets.preview(project, dataset, body)


@router.get("/{dataset}/download")
async def download(
    dataset: str,
    project: AskedProjectDep,
    services: ServicesDep,
    part: Annotated[Part, Query()] = "data",
    target: Annotated[Target, Query(alias="format")] = "original",
) -> FileResponse:
    """A file of the dataset; answers ranges (RFC 9110, section 14)."""
    row, path = await services.datasets.download(project, dataset, part, target)
    name = f"{row.name}.{row.format}" if part == "data" else f"{row.name}-{path.name}"
    return FileResponse(path, filename=name, media_type="application/octet-stream")


@router.delete("/{dataset}", status_code=204)
async def delete(
    dataset: str, project: AskedProjectDep, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> Response:
    async with services.audit.act(caller, request_id, "dataset.delete", dataset, project=project.id):
        await services.datasets.delete(project, dataset)
    return Response(status_code=204)
