"""The SDK under test, whichever version is installed, and what the contract asks it again and again."""

from __future__ import annotations

import os
import uuid
from importlib.metadata import version
from typing import Any

import pytest

os.environ.setdefault("LANGFUSE_MEDIA_UPLOAD_ENABLED", "false")
MAJOR = int(version("langfuse").split(".")[0])
only_5 = pytest.mark.skipif(MAJOR < 5, reason="SDK 5 only: older ones have no such call")
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def name(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def span(client: Any, kind: str = "span", **given: Any) -> Any:
    """A current observation; SDK 3.15 and later have one call for all kinds."""
    return client.start_as_current_observation(as_type=kind, **given)


def observations(client: Any, trace_id: str, **asked: Any) -> list[Any]:
    """What was written of a trace, the oldest first, through the API that the SDK has for it."""
    client.flush()
    if MAJOR >= 5:
        fields = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"
        found = client.api.observations.get_many(trace_id=trace_id, fields=fields, **asked).data
    else:
        found = client.api.trace.get(trace_id).observations
    return sorted(found, key=lambda o: o.start_time)
