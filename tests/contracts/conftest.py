"""A trace store, and the installed Langfuse SDK as its client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import langfuse
import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.contracts.langfuse_sdk import MAJOR, VERSION
from tests.contracts.langfuse_server import TraceServer, trace_server

collect_ignore = [] if MAJOR < 5 else ["test_langfuse_older.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Writes which calls of the SDK a test is about into its report (JUnit's `property`)."""
    for item in items:
        calls = getattr(getattr(item, "obj", None), "sdk_calls", ())
        item.user_properties.extend(("call", name) for name in calls)


@pytest.fixture(scope="session", autouse=True)
def version(record_testsuite_property: Callable[[str, object], None]) -> None:
    """The report says which SDK was tested."""
    record_testsuite_property("langfuse", VERSION)


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
