"""/api/public through the gateway: the store's own answers, and a plain word where there is no store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio

from gateway.traces.keys import KeyPair
from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings
from tests.gateway.traces.conftest import EXPORT, PROTOBUF, TraceStore, batch

TRACE = "cd" * 16


@pytest_asyncio.fixture
async def behind(store: TraceStore) -> AsyncIterator[Gateway]:
    chosen = settings(store.data, traces_url=store.url)
    async with neighbours(store.data, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        yield gateway


def with_keys(gateway: Gateway, key: KeyPair) -> httpx2.AsyncClient:
    auth = httpx2.BasicAuth(key.public, key.secret)
    return httpx2.AsyncClient(base_url=gateway.url, auth=auth, timeout=30, trust_env=False)


async def test_spans_go_in_and_come_out_through_the_gateway(store: TraceStore, behind: Gateway) -> None:
    # More than the gateway takes anywhere else.
    large = {"langfuse.observation.input": "x" * (5 << 20)}
    content = batch({"trace": TRACE, "id": "01" * 8, "attributes": large}).SerializeToString()
    async with with_keys(behind, store.key) as client:
        answer = await client.post(EXPORT, content=content, headers=PROTOBUF)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-protobuf"
        params = {"traceId": TRACE, "fields": "io"}
        (found,) = (await client.get("/api/public/v2/observations", params=params)).json()["data"]
        assert len(found["input"]) == 5 << 20
        made = await client.post("/api/public/v2/datasets", json={"name": "a/b c"})
        assert made.status_code == 200
        assert (await client.get("/api/public/v2/datasets/a%2Fb%20c")).json()["name"] == "a/b c"
        assert (await client.get("/api/public/nothing")).json()["error"] == "LangfuseNotFoundError"


async def test_a_key_of_the_gateway_opens_no_traces(behind: Gateway) -> None:
    answer = await behind.client.get("/api/public/v2/observations")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_a_store_that_does_not_answer_is_a_502(tmp_path: Path) -> None:
    chosen = settings(tmp_path, traces_url="http://127.0.0.1:9")
    async with neighbours(tmp_path, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        answer = await gateway.client.get("/api/public/projects")
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_failed"


async def test_a_gateway_without_a_store_says_so(tmp_path: Path) -> None:
    async with (
        neighbours(tmp_path, clerk) as (model, tools),
        running(settings(tmp_path), model, tools) as gateway,
    ):
        answer = await gateway.client.get("/api/public/projects")
        assert answer.status_code == 404
        assert "loopyard up" in answer.json()["error"]["message"]
