"""The unmodified Langfuse SDK against the embedded trace store: datasets, experiments, prompts."""

from __future__ import annotations

from typing import Any

import langfuse
import pytest

from tests.contracts.langfuse_sdk import name, observations, quiet, span

pytestmark = quiet


def test_datasets(client: Any) -> None:
    dataset = name("folder/set")
    made = client.create_dataset(name=dataset, description="d", metadata={"k": 1})
    assert (made.name, made.metadata) == (dataset, {"k": 1})
    first = client.create_dataset_item(dataset_name=dataset, input={"q": 1}, expected_output="a")
    client.create_dataset_item(
        dataset_name=dataset, input={"q": 2}, source_trace_id="ab" * 16, source_observation_id="cd" * 8
    )
    items = {item.input["q"]: item for item in client.get_dataset(dataset).items}
    assert (items[1].id, items[1].expected_output) == (first.id, "a")
    assert (items[2].source_trace_id, items[2].source_observation_id) == ("ab" * 16, "cd" * 8)
    with pytest.raises(Exception, match=r"404|[Nn]o dataset|not found"):
        client.get_dataset(name("nowhere"))


def test_an_item_is_archived_and_deleted(client: Any) -> None:
    dataset = name("set")
    client.create_dataset(name=dataset)
    item = client.create_dataset_item(dataset_name=dataset, input=1, id=name("item"))
    client.create_dataset_item(dataset_name=dataset, id=item.id, status="ARCHIVED")
    found = client.api.dataset_items.get(item.id)
    assert (str(getattr(found.status, "value", found.status)), found.input) == ("ARCHIVED", 1)
    client.api.dataset_items.delete(item.id)
    assert client.get_dataset(dataset).items == []


def test_run_experiment_on_a_dataset(client: Any) -> None:
    dataset = name("set")
    client.create_dataset(name=dataset)
    for n in (1, 2):
        client.create_dataset_item(dataset_name=dataset, input=n, expected_output=n + 1)

    def task(*, item: Any, **_: Any) -> Any:
        return item.input + 1

    def right(*, output: Any, expected_output: Any, **_: Any) -> Any:
        return langfuse.Evaluation(name="right", value=float(output == expected_output))

    result = client.get_dataset(dataset).run_experiment(name=name("run"), task=task, evaluators=[right])
    assert [r.output for r in sorted(result.item_results, key=lambda r: r.item.input)] == [2, 3]
    assert [e.value for r in result.item_results for e in r.evaluations] == [1.0, 1.0]
    traces = [r.trace_id for r in result.item_results]
    assert all(observations(client, trace) for trace in traces)


def test_run_experiment_on_plain_data(client: Any) -> None:
    def task(*, item: Any, **_: Any) -> Any:
        return item["input"] * 2

    result = client.run_experiment(name=name("run"), data=[{"input": 4}], task=task)
    assert [r.output for r in result.item_results] == [8]


def test_prompts_with_labels(client: Any) -> None:
    prompt = name("folder/greeting")
    client.create_prompt(name=prompt, prompt="Hello {{who}}", labels=["production"])
    second = client.create_prompt(name=prompt, prompt="Hi {{who}}", labels=["staging"], config={"t": 1})
    assert second.version == 2
    get = client.get_prompt
    assert get(prompt, cache_ttl_seconds=0).compile(who="Ada") == "Hello Ada"
    assert get(prompt, label="staging", cache_ttl_seconds=0).config == {"t": 1}
    assert get(prompt, label="latest", cache_ttl_seconds=0).version == 2
    client.update_prompt(name=prompt, version=2, new_labels=["production"])
    assert get(prompt, cache_ttl_seconds=0).version == 2
    assert get(prompt, version=1, cache_ttl_seconds=0).labels == []


def test_a_chat_prompt(client: Any) -> None:
    prompt = name("chat")
    messages = [{"role": "system", "content": "You are {{what}}"}]
    client.create_prompt(name=prompt, type="chat", prompt=messages, labels=["production"])
    found = client.get_prompt(prompt, type="chat", cache_ttl_seconds=0)
    (message,) = found.compile(what="kind")
    assert (message["role"], message["content"]) == ("system", "You are kind")


def test_a_prompt_that_is_not_there(client: Any) -> None:
    with pytest.raises(Exception, match=r"404|[Nn]o prompt|not found"):
        client.get_prompt(name("nothing"), cache_ttl_seconds=0, max_retries=0)
    assert client.get_prompt(name("nothing"), fallback="plan b", max_retries=0).compile() == "plan b"


def test_the_list_of_prompts(client: Any) -> None:
    prompt = name("listed")
    client.create_prompt(name=prompt, prompt="x", tags=["t1"])
    (line,) = client.api.prompts.list(name=prompt).data
    assert (line.versions, line.tags) == ([1], ["t1"])


def test_a_generation_names_its_prompt(client: Any) -> None:
    prompt = name("used")
    client.create_prompt(name=prompt, prompt="x", labels=["production"])
    used = client.get_prompt(prompt, cache_ttl_seconds=0)
    with span(client, "generation", name="g", model="m", prompt=used) as made:
        pass
    (found,) = observations(client, made.trace_id)
    assert (found.prompt_name, found.prompt_version) == (prompt, 1)
