"""The unmodified Langfuse SDKs 3 and 4: what they have beyond SDK 5."""

from __future__ import annotations

import json
from typing import Any

import langfuse
import pytest

from tests.contracts.langfuse_sdk import MAJOR, call, item_of, name, quiet, scores, span

pytestmark = quiet


@call("api.trace.list", "api.trace.get")
def test_traces_are_listed_by_what_they_are(client: Any) -> None:
    user, tag = name("user"), name("tag")
    with (
        langfuse.propagate_attributes(user_id=user, tags=[tag]),
        span(client, name="asked", input="q") as made,
    ):
        pass
    client.flush()
    listed = client.api.trace.list
    for wanted in ({"user_id": user}, {"tags": tag}, {"user_id": user, "name": "asked"}):
        assert [t.id for t in listed(**wanted).data] == [made.trace_id], wanted
    assert listed(user_id=user, name="other").data == []
    found = client.api.trace.get(made.trace_id)
    assert (found.input, [o.id for o in found.observations]) == ("q", [made.id])


@call("api.sessions.list", "api.sessions.get")
def test_a_session_with_its_traces(client: Any) -> None:
    session = name("session")
    with langfuse.propagate_attributes(session_id=session):
        for _ in range(2):
            with span(client, name="s"):
                pass
    client.flush()
    assert len(client.api.sessions.get(session).traces) == 2
    assert session in {s.id for s in client.api.sessions.list(limit=100).data}


@call("api.observations.get_many(page)")
def test_observations_by_page(client: Any) -> None:
    title = name("listed")
    with span(client, name=title, input="first"), span(client, "tool", name=title, input="second"):
        pass
    client.flush()
    api = client.api.observations if MAJOR == 3 else client.api.legacy.observations_v1
    newest, oldest = (api.get_many(name=title, limit=1, page=page) for page in (1, 2))
    assert [o.input for o in (*newest.data, *oldest.data)] == ["second", "first"]
    assert (newest.meta.total_items, newest.meta.total_pages) == (2, 2)
    assert [o.input for o in api.get_many(name=title, type="TOOL").data] == ["second"]


@call("api.observations.get")
def test_an_observation_by_its_id(client: Any) -> None:
    costs = {"input": 0.25, "output": 0.5}
    with span(client, "generation", name="answer", input="q", model="m", cost_details=costs) as made:
        pass
    client.flush()
    api = client.api.observations if MAJOR == 3 else client.api.legacy.observations_v1
    found = api.get(made.id)
    assert (found.id, found.trace_id, found.type) == (made.id, made.trace_id, "GENERATION")
    assert (found.name, found.input, found.model) == ("answer", "q", "m")
    assert (found.calculated_input_cost, found.calculated_total_cost) == (0.25, 0.75)
    with pytest.raises(Exception, match="No observation"):
        api.get("0123456789abcdef")


@call("api.trace.list(filter)")
def test_traces_are_listed_by_a_filter(client: Any) -> None:
    user, session = name("user"), name("session")
    made = []
    for title, tag in (("asked", "blue"), ("answered", "red")):
        with (
            langfuse.propagate_attributes(user_id=user, session_id=session, tags=[tag]),
            span(client, "generation", name=title, cost_details={"total": 0.5}) as one,
        ):
            made.append(one.trace_id)
    client.flush()

    def listed(*conditions: dict[str, Any], **more: Any) -> list[str]:
        mine = {"type": "string", "column": "userId", "operator": "=", "value": user}
        found = client.api.trace.list(filter=json.dumps([mine, *conditions]), **more).data
        assert all(trace.total_cost == 0.5 for trace in found)
        return [trace.id for trace in found]

    assert listed() == made[::-1]
    assert listed({"type": "string", "column": "name", "operator": "contains", "value": "swer"}) == made[1:]
    assert (
        listed({"type": "arrayOptions", "column": "tags", "operator": "any of", "value": ["blue"]})
        == made[:1]
    )
    assert (
        listed({"type": "stringOptions", "column": "sessionId", "operator": "none of", "value": [session]})
        == []
    )
    then = "2026-01-01T00:00:00Z"
    assert listed({"type": "datetime", "column": "timestamp", "operator": "<", "value": then}) == []
    assert listed(name="takes no part") == made[::-1]  # a filter takes the place of the single parameters
    with pytest.raises(Exception, match="No filter on 'mood' here"):
        listed({"type": "string", "column": "mood", "operator": "=", "value": "good"})


@call("get_dataset_runs", "get_dataset_run", "delete_dataset_run")
def test_the_runs_of_a_dataset(client: Any) -> None:
    item, run = item_of(client), name("run")
    dataset = client.get_dataset(item.dataset_name)
    done = dataset.run_experiment(name=run, run_name=run, task=lambda item, **_: item.input)
    client.flush()
    asked = {"dataset_name": item.dataset_name}
    assert [found.name for found in client.get_dataset_runs(**asked).data] == [run]
    (found,) = client.get_dataset_run(**asked, run_name=run).dataset_run_items
    assert (found.dataset_item_id, found.trace_id) == (item.id, done.item_results[0].trace_id)
    client.delete_dataset_run(**asked, run_name=run)
    assert client.get_dataset_runs(**asked).data == []


@call("api.trace.get(total_cost)")
def test_a_trace_costs_what_its_generations_cost(client: Any) -> None:
    with span(client, name="o") as made:
        with span(client, "generation", name="a", cost_details={"input": 0.25, "output": 0.5}):
            pass
        with span(client, "generation", name="b", cost_details={"input": 1.0, "total": 2.0}):
            pass
    client.flush()
    assert client.api.trace.get(made.trace_id).total_cost == 2.75


@call("api.scores.get_by_id")
def test_a_score_by_its_id(client: Any) -> None:
    score = name("score")
    client.create_score(score_id=score, name=score, value=0.5, trace_id=client.create_trace_id())
    assert len(scores(client, name=score)) == 1
    api = client.api.score_v_2 if MAJOR == 3 else client.api.scores
    assert api.get_by_id(score).value == 0.5
    with pytest.raises(Exception, match="No score"):
        api.get_by_id(name("nothing"))


@call(*["update_current_trace"] if MAJOR == 3 else ["set_current_trace_io", "set_current_trace_as_public"])
def test_the_current_trace_is_changed(client: Any) -> None:
    with span(client, name="o", input="of the span") as made:
        if MAJOR == 3:
            client.update_current_trace(input="of the trace", public=True)
        else:
            client.set_current_trace_io(input="of the trace")
            client.set_current_trace_as_public()
    client.flush()
    found = client.api.trace.get(made.trace_id)
    assert (found.input, found.public) == ("of the trace", True)
