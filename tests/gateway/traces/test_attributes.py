"""What an observation takes from the attributes of its span."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.traces.attributes import apply
from gateway.traces.observations import Observation


def applied(span: dict[str, Any], resource: dict[str, Any] | None = None) -> Observation:
    found = Observation("o", "t", started=1)
    apply(found, span, resource or {})
    return found


@pytest.mark.parametrize("first", [True, False])
def test_metadata_as_a_whole_and_key_by_key(first: bool) -> None:
    whole = {"langfuse.observation.metadata": '{"a": 1, "b": 2}'}
    single = {"langfuse.observation.metadata.b": '"x"', "langfuse.observation.metadatum": "another name"}
    found = applied({**whole, **single} if first else {**single, **whole})
    assert found.body["metadata"] == {"a": 1, "b": "x"}


def test_metadata_that_is_no_mapping_has_a_name() -> None:
    assert applied({"langfuse.observation.metadata": "plain"}).body["metadata"] == {"metadata": "plain"}


def test_the_traces_metadata_and_an_experiments_lie_apart() -> None:
    found = applied({"langfuse.trace.metadata.k": "v", "langfuse.experiment.id": "e"})
    assert found.body["traceMetadata"] == {"k": "v"}
    assert found.body["metadata"] == {"langfuse.experiment.id": "e"}


def test_the_span_wins_over_its_resource() -> None:
    resource = {"langfuse.environment": "resource", "deployment.environment": "older"}
    assert applied({}, resource).environment == "resource"
    assert applied({"langfuse.environment": "span"}, resource).environment == "span"
    assert applied({}, {"deployment.environment": "older"}).environment == "older"
    assert applied({}).environment == "default"
