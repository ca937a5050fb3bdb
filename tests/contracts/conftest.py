"""A trace store, and the installed Langfuse SDK as its client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import langfuse
import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.contracts.langfuse_server import TraceServer, trace_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceServer]:
    with trace_server(tmp_path_factory.mktemp("traces")) as found:
        yield found


@pytest.fixture(scope="session")
def client(server: TraceServer) -> Iterator[Any]:
    made = langfuse.Langfuse(
        public_key=server.public_key,
        secret_key=server.secret_key,
        host=server.host,
        flush_interval=0.2,
        # Its own: a global one would send the spans of other tests to a server that has gone.
        tracer_provider=TracerProvider(),
    )
    yield made
    made.shutdown()
