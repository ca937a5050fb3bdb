"""Langfuse's public API, as its SDKs 3 to 5 use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.traces import datasets, ingestion, legacy, lineage, otlp, prompts, reading, removal, runs, scores
from gateway.traces.errors import BadTrace, NoSuch, TraceError
from gateway.traces.export import lines
from gateway.traces.retention import shrink
from gateway.traces.session import Session, begin
from gateway.traces.values import micros
from gateway.traces.writing import Batch, prepared, write

API = "/api/public"
VERSION = "5.0.0"
"""The server version that clients are told: SDK 5 asks for 4.59 or later."""
SMALL = 1 << 20
"""Bytes of an export that may wait for its write while others are read: many small ones share a commit."""

Endpoint = Callable[[Session], Awaitable[Response]]


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    """A route whose caller must bring a key pair."""

    async def call(request: Request) -> Response:
        return await endpoint(begin(request))

    return Route(f"{API}/{path}", call, methods=[method])


async def health(_: Request) -> Response:
    return JSONResponse({"status": "OK", "version": VERSION})


async def projects(session: Session) -> Response:
    key = session.key
    organization = {"id": "loopyard", "name": "Loopyard"}
    entry = {"id": key.project_id, "name": key.project_name, "organization": organization, "metadata": {}}
    return JSONResponse({"data": [entry]})


async def export(session: Session) -> Response:
    """OTLP over HTTP; the answer has the encoding of the request."""
    media_type = session.request.headers.get("content-type", "application/x-protobuf")
    async with session.store.exports:
        body = await session.body()
        batch = await asyncio.to_thread(_batch, body, media_type, session.key.public)
        if is_large := len(body) > SMALL:
            await session.write(write, batch)
    if not is_large:
        await session.write(write, batch)
    if "json" in media_type:
        return JSONResponse({})
    return Response(ExportTraceServiceResponse().SerializeToString(), media_type="application/x-protobuf")


def _batch(body: bytes, media_type: str, public_key: str) -> Batch:
    return prepared(otlp.read(body, media_type, public_key))


async def observations(session: Session) -> Response:
    return JSONResponse(await session.read(reading.page, session.key, session.params))


async def create_scores(session: Session) -> Response:
    """One score (an object), or a list of them; of a list the good ones are written."""
    body = await session.json()
    if not isinstance(body, list):
        score = scores.Score.model_validate(body)
        return JSONResponse({"id": await session.write(scores.insert, score)})
    errors = await session.write(scores.insert_all, body)
    if not errors:
        return JSONResponse({"message": "Accepted"}, 202)
    told = [{"message": text} for text in errors]
    return JSONResponse({"accepted": len(body) - len(errors), "rejected": len(errors), "errors": told}, 207)


async def read_scores(session: Session) -> Response:
    return JSONResponse(await session.read(scores.page, session.key, session.params))


async def delete_score(session: Session) -> Response:
    await session.write(scores.delete, session.path("id"))
    return JSONResponse({"message": "Deleted"}, 202)


async def list_datasets(session: Session) -> Response:
    return JSONResponse(await session.read(datasets.page, session.key, session.params))


async def create_dataset(session: Session) -> Response:
    new = await session.model(datasets.NewDataset)
    return JSONResponse(await session.write(datasets.create, session.key, new))


async def get_dataset(session: Session) -> Response:
    return JSONResponse(await session.read(datasets.get, session.key, session.path("name")))


async def list_items(session: Session) -> Response:
    return JSONResponse(await session.read(datasets.page_items, session.params))


async def put_item(session: Session) -> Response:
    new = await session.model(datasets.NewItem)
    return JSONResponse(await session.write(datasets.put_item, new))


async def get_item(session: Session) -> Response:
    return JSONResponse(await session.read(datasets.get_item, session.path("id")))


async def delete_item(session: Session) -> Response:
    await session.write(datasets.delete_item, session.path("id"))
    return JSONResponse({"message": "Deleted"})


async def list_prompts(session: Session) -> Response:
    return JSONResponse(await session.read(prompts.page, session.params))


async def create_prompt(session: Session) -> Response:
    new = await session.model(prompts.NewPrompt)
    return JSONResponse(await session.write(prompts.create, new), 201)


async def get_prompt(session: Session) -> Response:
    return JSONResponse(await session.read(prompts.get, session.path("name"), session.params))


async def delete_prompt(session: Session) -> Response:
    await session.write(prompts.delete, session.path("name"), session.params)
    return Response(status_code=204)


async def relabel_prompt(session: Session) -> Response:
    labels = (await session.model(prompts.NewLabels)).new_labels
    version = int(session.path("version"))
    return JSONResponse(await session.write(prompts.relabel, session.path("name"), version, labels))


async def create_media(session: Session) -> Response:
    """Attachments are not kept: without an address to send it to, a client believes that it is here."""
    body = await session.json()
    digest = body.get("sha256Hash") if isinstance(body, dict) else None
    if not isinstance(digest, str):
        raise BadTrace("sha256Hash is missing.")
    media_id = digest.replace("+", "-").replace("/", "_")[:22]
    return JSONResponse({"mediaId": media_id, "uploadUrl": None})


async def patch_media(session: Session) -> Response:
    return Response(status_code=204)


async def get_media(session: Session) -> Response:
    raise NoSuch("Attachments are not kept by this store.")


async def ingest(session: Session) -> Response:
    return JSONResponse(await session.write(ingestion.take, await session.json()), 207)


async def list_traces(session: Session) -> Response:
    return JSONResponse(await session.read(legacy.page, session.key, session.params))


async def get_trace(session: Session) -> Response:
    return JSONResponse(await session.read(legacy.get, session.key, session.path("id")))


async def list_observations(session: Session) -> Response:
    return JSONResponse(await session.read(legacy.page_observations, session.key, session.params))


async def get_observation(session: Session) -> Response:
    return JSONResponse(await session.read(legacy.get_observation, session.path("id")))


async def delete_trace(session: Session) -> Response:
    return await _delete(session, [session.path("id")])


async def delete_traces(session: Session) -> Response:
    body = await session.json()
    traces = body.get("traceIds") if isinstance(body, dict) else None
    if not isinstance(traces, list) or not all(isinstance(trace, str) for trace in traces):
        raise BadTrace("traceIds must be a list of texts.")
    return await _delete(session, traces)


async def _delete(session: Session, traces: list[str]) -> Response:
    for start in range(0, len(traces), removal.TOGETHER):
        await session.write(removal.remove, traces[start : start + removal.TOGETHER], False)
    return JSONResponse({"message": "Deleted"})


async def export_traces(session: Session) -> Response:
    """JSON lines, streamed."""
    since, before = session.params.get("fromTimestamp"), session.params.get("toTimestamp")
    for time in filter(None, (since, before)):
        micros(time)  # refused before the answer has begun
    return StreamingResponse(lines(session, since, before), media_type="application/x-ndjson")


async def read_lineage(session: Session) -> Response:
    return JSONResponse(await session.read(lineage.asked, session.params))


async def erase_user(session: Session) -> Response:
    """Removes a user's traces and the scores that they gave; says which adapters had answered them."""
    user = session.params.get("userId")
    if not user:
        raise BadTrace("userId is missing.")
    adapters = await session.read(lineage.adapters_of, user)
    removed = removal.Removed(scores=await session.write(removal.remove_scores_by, user))
    while (more := await session.write(removal.remove_user, user)) != removal.Removed():
        removed += more
    await shrink(session.store.database)
    return JSONResponse({"removed": asdict(removed), "adapters": adapters})


async def list_sessions(session: Session) -> Response:
    return JSONResponse(await session.read(legacy.page_sessions, session.key, session.params))


async def get_session(session: Session) -> Response:
    return JSONResponse(await session.read(legacy.get_session, session.key, session.path("id")))


async def list_scores(session: Session) -> Response:
    return JSONResponse(await session.read(scores.page_v2, session.params))


async def get_score(session: Session) -> Response:
    return JSONResponse(await session.read(scores.get_v2, session.path("id")))


async def put_run_item(session: Session) -> Response:
    new = await session.model(runs.NewRunItem)
    return JSONResponse(await session.write(runs.put_item, new))


async def list_run_items(session: Session) -> Response:
    return JSONResponse(await session.read(runs.page_items, session.params))


async def list_runs(session: Session) -> Response:
    return JSONResponse(await session.read(runs.page, session.path("name"), session.params))


async def get_run(session: Session) -> Response:
    return JSONResponse(await session.read(runs.get, session.path("name"), session.path("run")))


async def delete_run(session: Session) -> Response:
    await session.write(runs.delete, session.path("name"), session.path("run"))
    return JSONResponse({"message": "Deleted"})


async def unknown(request: Request) -> Response:
    begin(request)
    raise NoSuch(f"No route {request.method} {request.url.path} in this store.")


ROUTES = [
    Route("/health", health),
    Route(f"{API}/health", health),
    route("GET", "projects", projects),
    route("POST", "otel/v1/traces", export),
    route("GET", "v2/observations", observations),
    route("POST", "scores", create_scores),
    route("DELETE", "scores/{id}", delete_score),
    route("GET", "v3/scores", read_scores),
    route("GET", "v2/datasets", list_datasets),
    route("POST", "v2/datasets", create_dataset),
    route("GET", "v2/datasets/{name:path}", get_dataset),
    route("GET", "dataset-items", list_items),
    route("POST", "dataset-items", put_item),
    route("GET", "dataset-items/{id}", get_item),
    route("DELETE", "dataset-items/{id}", delete_item),
    route("GET", "v2/prompts", list_prompts),
    route("POST", "v2/prompts", create_prompt),
    route("PATCH", "v2/prompts/{name:path}/versions/{version:int}", relabel_prompt),
    route("GET", "v2/prompts/{name:path}", get_prompt),
    route("DELETE", "v2/prompts/{name:path}", delete_prompt),
    route("POST", "media", create_media),
    route("PATCH", "media/{id}", patch_media),
    route("GET", "media/{id}", get_media),
]
# What SDK 3 and 4 ask beyond that.
ROUTES += [
    route("POST", "ingestion", ingest),
    route("GET", "traces", list_traces),
    route("DELETE", "traces", delete_traces),
    route("GET", "traces/{id}", get_trace),
    route("DELETE", "traces/{id}", delete_trace),
    route("GET", "observations", list_observations),
    route("GET", "observations/{id}", get_observation),
    route("GET", "sessions", list_sessions),
    route("GET", "sessions/{id:path}", get_session),
    route("GET", "v2/scores", list_scores),
    route("GET", "v2/scores/{id}", get_score),
    route("POST", "dataset-run-items", put_run_item),
    route("GET", "dataset-run-items", list_run_items),
    route("GET", "datasets/{name:path}/runs", list_runs),
    route("GET", "datasets/{name:path}/runs/{run:path}", get_run),
    route("DELETE", "datasets/{name:path}/runs/{run:path}", delete_run),
]
# Our own.
ROUTES += [
    route("GET", "export", export_traces),
    route("GET", "lineage", read_lineage),
    route("DELETE", "users", erase_user),
]
LAST = [Route(f"{API}/{{path:path}}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])]
ERRORS: tuple[type[Exception], ...] = (TraceError, ValidationError, Exception)
