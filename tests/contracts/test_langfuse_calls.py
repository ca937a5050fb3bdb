"""Every call of SDK 5 that this store answers, one after the other, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import langfuse
import pytest

from tests.contracts.langfuse_sdk import name, only_5, quiet, span

pytestmark = [quiet, only_5]
LEAST = 40
"""Distinct calls that are promised to work."""
Call = Callable[[Any], Any]
CALLS: dict[str, Call] = {}
"""Each gives what must be true."""


def call(of: str) -> Callable[[Call], Call]:
    def keep(function: Call) -> Call:
        assert of not in CALLS, of
        CALLS[of] = function
        return function

    return keep


def scored(client: Any) -> tuple[str, str]:
    """A trace and the id of its score."""
    trace, score = client.create_trace_id(), name("score")
    body = langfuse.api.ScoreBody(id=score, name=score, value=1.0, trace_id=trace)
    client.api.scores.create(request=[body])
    return trace, score


def item_of(client: Any) -> Any:
    dataset = name("set")
    client.create_dataset(name=dataset)
    return client.create_dataset_item(dataset_name=dataset, input={"q": 1})


def prompt_of(client: Any) -> str:
    prompt = name("prompt")
    client.create_prompt(name=prompt, prompt="Hello {{who}}", labels=["production"])
    return prompt


def written(client: Any, trace: str) -> list[Any]:
    client.flush()
    found: list[Any] = client.api.observations.get_many(trace_id=trace, fields="core,basic,io").data
    return found


for kind in [
    "span",
    "generation",
    "agent",
    "tool",
    "chain",
    "retriever",
    "embedding",
    "evaluator",
    "guardrail",
]:

    @call(f"start_as_current_observation({kind})")
    def _current(client: Any, kind: str = kind) -> bool:
        with span(client, kind, name=kind) as made:
            pass
        return [o.type for o in written(client, made.trace_id)] == [kind.upper()]

    @call(f"start_observation({kind})")
    def _free(client: Any, kind: str = kind) -> bool:
        made = client.start_observation(as_type=kind, name=kind)
        made.end()
        return [o.type for o in written(client, made.trace_id)] == [kind.upper()]


@call("observation.start_observation")
def _child(client: Any) -> bool:
    outer = client.start_observation(name="outer")
    outer.start_observation(name="inner").end()
    outer.end()
    found = {o.name: o for o in written(client, outer.trace_id)}
    return bool(found["inner"].parent_observation_id == found["outer"].id)


@call("observation.update")
def _update(client: Any) -> bool:
    made = client.start_observation(name="o")
    made.update(output="done")
    made.end()
    return bool(written(client, made.trace_id)[0].output == "done")


@call("update_current_span")
def _update_span(client: Any) -> bool:
    with span(client, name="o") as made:
        client.update_current_span(output="later")
    return bool(written(client, made.trace_id)[0].output == "later")


@call("update_current_generation")
def _update_generation(client: Any) -> bool:
    with span(client, "generation", name="o") as made:
        client.update_current_generation(model="m")
    client.flush()
    return bool(client.api.observations.get_many(trace_id=made.trace_id, fields="model").data[0].model == "m")


@call("create_event")
def _event(client: Any) -> bool:
    with span(client, name="o") as made:
        client.create_event(name="e")
    return {o.type for o in written(client, made.trace_id)} == {"SPAN", "EVENT"}


@call("set_current_trace_as_public")
def _public(client: Any) -> bool:
    with span(client, name="o") as made:
        client.set_current_trace_as_public()
    return len(written(client, made.trace_id)) == 1


@call("get_current_trace_id")
def _trace_id(client: Any) -> bool:
    with span(client, name="o") as made:
        return bool(client.get_current_trace_id() == made.trace_id)


@call("get_current_observation_id")
def _observation_id(client: Any) -> bool:
    with span(client, name="o") as made:
        return bool(client.get_current_observation_id() == made.id)


@call("create_score")
def _score(client: Any) -> bool:
    score = name("score")
    client.create_score(name=score, value="good", trace_id=client.create_trace_id())
    client.flush()
    return [s.value for s in client.api.scores.get_many(name=score).data] == ["good"]


@call("score_current_trace")
def _score_trace(client: Any) -> bool:
    score = name("score")
    with span(client, name="o"):
        client.score_current_trace(name=score, value=1.0)
    client.flush()
    return len(client.api.scores.get_many(name=score).data) == 1


@call("score_current_span")
def _score_span(client: Any) -> bool:
    score = name("score")
    with span(client, name="o"):
        client.score_current_span(name=score, value=1.0)
    client.flush()
    return len(client.api.scores.get_many(name=score).data) == 1


@call("api.scores.create")
def _scores_create(client: Any) -> bool:
    return bool(scored(client))


@call("api.scores.get_many")
def _scores_many(client: Any) -> bool:
    trace, score = scored(client)
    return [s.id for s in client.api.scores.get_many(trace_id=trace).data] == [score]


@call("api.scores.delete")
def _scores_delete(client: Any) -> bool:
    trace, score = scored(client)
    client.api.scores.delete(score)
    return len(client.api.scores.get_many(trace_id=trace).data) == 0


@call("api.trace.delete")
def _trace_delete(client: Any) -> bool:
    with span(client, name="o") as made:
        pass
    assert written(client, made.trace_id)
    client.api.trace.delete(made.trace_id)
    return written(client, made.trace_id) == []


@call("api.trace.delete_multiple")
def _traces_delete(client: Any) -> bool:
    with span(client, name="o") as made:
        pass
    assert written(client, made.trace_id)
    client.api.trace.delete_multiple(trace_ids=[made.trace_id, "nothing"])
    return written(client, made.trace_id) == []


@call("create_dataset")
def _dataset(client: Any) -> bool:
    dataset = name("a/b")
    return bool(client.create_dataset(name=dataset).name == dataset)


@call("api.datasets.create")
def _datasets_create(client: Any) -> bool:
    dataset = name("set")
    return bool(client.api.datasets.create(name=dataset, metadata={"k": 1}).metadata == {"k": 1})


@call("api.datasets.list")
def _datasets_list(client: Any) -> bool:
    dataset = item_of(client).dataset_name
    return dataset in {d.name for d in client.api.datasets.list(limit=100).data}


@call("api.datasets.get")
def _datasets_get(client: Any) -> bool:
    dataset = item_of(client).dataset_name
    return bool(client.api.datasets.get(dataset).name == dataset)


@call("get_dataset")
def _get_dataset(client: Any) -> bool:
    item = item_of(client)
    return [i.id for i in client.get_dataset(item.dataset_name).items] == [item.id]


@call("create_dataset_item")
def _item(client: Any) -> bool:
    return bool(item_of(client).input == {"q": 1})


@call("api.dataset_items.create")
def _items_create(client: Any) -> bool:
    dataset = item_of(client).dataset_name
    return bool(client.api.dataset_items.create(dataset_name=dataset, input=2).input == 2)


@call("api.dataset_items.get")
def _items_get(client: Any) -> bool:
    item = item_of(client)
    return bool(client.api.dataset_items.get(item.id).input == item.input)


@call("api.dataset_items.list")
def _items_list(client: Any) -> bool:
    item = item_of(client)
    return [i.id for i in client.api.dataset_items.list(dataset_name=item.dataset_name).data] == [item.id]


@call("api.dataset_items.delete")
def _items_delete(client: Any) -> bool:
    item = item_of(client)
    client.api.dataset_items.delete(item.id)
    return len(client.api.dataset_items.list(dataset_name=item.dataset_name).data) == 0


@call("run_experiment")
def _experiment(client: Any) -> bool:
    done = client.run_experiment(
        name=name("run"), data=[{"input": 2}], task=lambda item, **_: item["input"] + 1
    )
    return [r.output for r in done.item_results] == [3]


@call("create_prompt")
def _prompt(client: Any) -> bool:
    return bool(prompt_of(client))


@call("get_prompt")
def _get_prompt(client: Any) -> bool:
    return bool(client.get_prompt(prompt_of(client)).compile(who="Ada") == "Hello Ada")


@call("update_prompt")
def _update_prompt(client: Any) -> bool:
    return "new" in client.update_prompt(name=prompt_of(client), version=1, new_labels=["new"]).labels


@call("clear_prompt_cache")
def _clear(client: Any) -> bool:
    prompt = prompt_of(client)
    client.get_prompt(prompt)
    client.create_prompt(name=prompt, prompt="Hi", labels=["production"])
    client.clear_prompt_cache()
    return bool(client.get_prompt(prompt).version == 2)


@call("api.prompts.create")
def _prompts_create(client: Any) -> bool:
    request = langfuse.api.CreateTextPromptRequest(name=name("prompt"), prompt="x")
    return bool(client.api.prompts.create(request=request).version == 1)


@call("api.prompts.get")
def _prompts_get(client: Any) -> bool:
    return bool(client.api.prompts.get(prompt_of(client), label="production").version == 1)


@call("api.prompts.list")
def _prompts_list(client: Any) -> bool:
    prompt = prompt_of(client)
    return [line.name for line in client.api.prompts.list(name=prompt).data] == [prompt]


@call("api.prompts.delete")
def _prompts_delete(client: Any) -> bool:
    prompt = prompt_of(client)
    client.api.prompts.delete(prompt)
    return len(client.api.prompts.list(name=prompt).data) == 0


@call("api.prompt_version.update")
def _version(client: Any) -> bool:
    found = client.api.prompt_version.update(prompt_of(client), 1, new_labels=["x"])
    return "x" in found.labels


@call("api.media.get_upload_url")
def _media(client: Any) -> bool:
    asked = client.api.media.get_upload_url(
        trace_id="ab" * 16, content_type="image/png", content_length=3, sha256hash="y" * 44, field="input"
    )
    return bool(asked.upload_url is None)


@call("api.media.patch")
def _media_patch(client: Any) -> bool:
    client.api.media.patch("m", uploaded_at=datetime.now(UTC), upload_http_status=200)
    return True


@call("api.opentelemetry.export_traces")
def _otel(client: Any) -> bool:
    trace = client.create_trace_id()
    one = {"traceId": trace, "spanId": "01" * 8, "name": "o", "startTimeUnixNano": "1790000000000000000"}
    spans = [{"scopeSpans": [{"spans": [{**one, "endTimeUnixNano": "1790000001000000000", "kind": 1}]}]}]
    client.api.opentelemetry.export_traces(resource_spans=spans)
    return [o.name for o in written(client, trace)] == ["o"]


@call("api.observations.get_many")
def _observations(client: Any) -> bool:
    session = name("session")
    with langfuse.propagate_attributes(session_id=session), span(client, name="o"):
        pass
    client.flush()
    return len(client.api.observations.get_many(session_id=session).data) == 1


@call("auth_check")
def _auth(client: Any) -> bool:
    return bool(client.auth_check())


@call("api.projects.get")
def _projects(client: Any) -> bool:
    return len(client.api.projects.get().data) == 1


@call("api.health.health")
def _health(client: Any) -> bool:
    return bool(client.api.health.health().status == "OK")


@call("get_trace_url")
def _url(client: Any) -> bool:
    return bool(client.get_trace_url(trace_id="ab" * 16).endswith("ab" * 16))


@call("create_trace_id")
def _seeded(client: Any) -> bool:
    return bool(client.create_trace_id(seed="a") == client.create_trace_id(seed="a"))


def test_as_many_calls_work_as_are_promised() -> None:
    assert len(CALLS) >= LEAST


@pytest.mark.parametrize("of", CALLS)
def test_a_call(client: Any, of: str) -> None:
    assert CALLS[of](client) is True
