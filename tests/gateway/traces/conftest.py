"""A trace store on loopback, and clients that carry its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from gateway.traces.app import create_app
from gateway.traces.keys import KeyPair, read_key_file
from gateway.traces.settings import Settings
from tests.graphs.model_server import serving

EXPORT = "/api/public/otel/v1/traces"
PROTOBUF = {"content-type": "application/x-protobuf"}


@dataclass
class TraceStore:
    """`client` carries the key pair."""

    url: str
    data: Path
    key: KeyPair
    client: httpx2.AsyncClient

    async def export(self, *spans: dict[str, Any], **headers: str) -> httpx2.Response:
        content = batch(*spans).SerializeToString()
        return await self.client.post(EXPORT, content=content, headers={**PROTOBUF, **headers})

    async def observations(self, **params: Any) -> list[dict[str, Any]]:
        found = await self.client.get("/api/public/v2/observations", params=params)
        assert found.status_code == 200, found.text
        data: list[dict[str, Any]] = found.json()["data"]
        return data


@asynccontextmanager
async def trace_store(data: Path, **changes: Any) -> AsyncIterator[TraceStore]:
    settings = Settings(data=data, **changes)
    async with serving(create_app(settings)) as url:
        (key,) = read_key_file(settings.key_file)
        auth = httpx2.BasicAuth(key.public, key.secret)
        async with httpx2.AsyncClient(base_url=url, auth=auth, timeout=30, trust_env=False) as client:
            yield TraceStore(url, data, key, client)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[TraceStore]:
    async with trace_store(tmp_path) as found:
        yield found


def batch(*spans: dict[str, Any]) -> ExportTraceServiceRequest:
    """An export of spans, each {"trace", "id", "parent"?, "name"?, "start"? (seconds), "attributes"?}."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for given in spans:
        span = scope.spans.add()
        span.trace_id, span.span_id = bytes.fromhex(given["trace"]), bytes.fromhex(given["id"])
        span.parent_span_id = bytes.fromhex(given.get("parent", ""))
        span.name = given.get("name", "span")
        start = given.get("start", 1_790_000_000)
        span.start_time_unix_nano = int(start * 1e9)
        span.end_time_unix_nano = int((start + 1) * 1e9)
        for name, value in given.get("attributes", {}).items():
            span.attributes.append(KeyValue(key=name, value=any_value(value)))
    return request


def any_value(value: Any) -> AnyValue:
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    kind = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}[type(value)]
    return AnyValue(**{kind: value})
