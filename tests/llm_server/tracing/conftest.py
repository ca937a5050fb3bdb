"""A server on the echo that traces to a trace store of its own, read back as any client would."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from llm_server.settings import Settings
from tests.contracts.langfuse_server import TraceServer, trace_server
from tests.llm_server.conftest import ADMIN, USER, serving

FIELDS = "core,basic,time,io,metadata,model,usage,metrics,trace_context"


@dataclass
class Traces:
    """What the store has."""

    store: TraceServer

    def all(self) -> list[dict[str, Any]]:
        auth = (self.store.public_key, self.store.secret_key)
        url = f"{self.store.host}/api/public/v2/observations"
        rows = httpx.get(url, params={"fields": FIELDS, "limit": 1000}, auth=auth).json()["data"]
        return [{**row, **{side: _read(row.get(side)) for side in ("input", "output")}} for row in rows]

    def of(self, key: str, value: object, count: int = 1) -> list[dict[str, Any]]:
        """Those whose metadata say so, as soon as there are so many."""
        for _ in range(400):
            found = [row for row in self.all() if row["metadata"].get(key) == value]
            if len(found) >= count:
                return sorted(found, key=lambda row: str(row["startTime"]))
            time.sleep(0.05)
        raise AssertionError(f"{key}={value} is in no trace: {self.all()}")


def _read(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
    except ValueError:
        return value  # a body that was cut


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    with trace_server(tmp_path_factory.mktemp("traces")) as store:
        yield Traces(store)


@pytest.fixture(scope="module")
def traced(traces: Traces, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = traces.store
    settings = Settings(
        backend="echo",
        data=tmp_path_factory.mktemp("data"),
        api_key=USER,
        admin_key=ADMIN,
        langfuse_host=store.host,
        langfuse_public_key=store.public_key,
        langfuse_secret_key=store.secret_key,
    )
    with serving(settings) as url:
        yield url


@pytest.fixture
def post(traced: str) -> Callable[..., httpx.Response]:
    """A request with an id of the test's own."""

    def posted(path: str, body: Any, request_id: str, key: str = USER, **headers: str) -> httpx.Response:
        given = {"authorization": f"Bearer {key}", "x-request-id": request_id, **headers}
        given["content-type"] = "application/json"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{traced}{path}", content=content, headers=given)

    return posted
