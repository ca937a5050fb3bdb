"""The unmodified Langfuse SDK against the embedded trace store: datasets, experiments, prompts."""

from __future__ import annotations

from typing import Any

import langfuse
import pytest

from tests.contracts.langfuse_sdk import (
    MAJOR,
    asked,
    call,
    item_of,
    name,
    observations,
    prompt_of,
    quiet,
    span,
)

pytestmark = quiet


@call("create_dataset", "create_dataset_item", "get_dataset")
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


@call("create_dataset_item(status)")
def test_an_item_is_archived_and_deleted(client: Any) -> None:
    dataset = name("set")
    client.create_dataset(name=dataset)
    item = client.create_dataset_item(dataset_name=dataset, input=1, id=name("item"))
    client.create_dataset_item(dataset_name=dataset, id=item.id, status="ARCHIVED")
    found = client.api.dataset_items.get(item.id)
    assert (str(getattr(found.status, "value", found.status)), found.input) == ("ARCHIVED", 1)
    client.api.dataset_items.delete(item.id)
    assert client.get_dataset(dataset).items == []


@call("dataset.run_experiment", "Evaluation")
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


@call("run_experiment")
def test_run_experiment_on_plain_data(client: Any) -> None:
    def task(*, item: Any, **_: Any) -> Any:
        return item["input"] * 2

    result = client.run_experiment(name=name("run"), data=[{"input": 4}], task=task)
    assert [r.output for r in result.item_results] == [8]


@call("create_prompt", "get_prompt", "update_prompt")
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


@call("create_prompt(chat)")
def test_a_chat_prompt(client: Any) -> None:
    prompt = name("chat")
    messages = [{"role": "system", "content": "You are {{what}}"}]
    client.create_prompt(name=prompt, type="chat", prompt=messages, labels=["production"])
    found = client.get_prompt(prompt, type="chat", cache_ttl_seconds=0)
    (message,) = found.compile(what="kind")
    assert (message["role"], message["content"]) == ("system", "You are kind")


@call("get_prompt(fallback)")
def test_a_prompt_that_is_not_there(client: Any) -> None:
    with pytest.raises(Exception, match=r"404|[Nn]o prompt|not found"):
        client.get_prompt(name("nothing"), cache_ttl_seconds=0, max_retries=0)
    assert client.get_prompt(name("nothing"), fallback="plan b", max_retries=0).compile() == "plan b"


@call("api.prompts.list")
def test_the_list_of_prompts(client: Any) -> None:
    prompt = name("listed")
    client.create_prompt(name=prompt, prompt="x", tags=["t1"])
    (line,) = client.api.prompts.list(name=prompt).data
    assert (line.versions, line.tags) == ([1], ["t1"])


@call("start_observation(prompt)")
def test_a_generation_names_its_prompt(client: Any) -> None:
    prompt = name("used")
    client.create_prompt(name=prompt, prompt="x", labels=["production"])
    used = client.get_prompt(prompt, cache_ttl_seconds=0)
    with span(client, "generation", name="g", model="m", prompt=used) as made:
        pass
    (found,) = observations(client, made.trace_id)
    assert (found.prompt_name, found.prompt_version) == (prompt, 1)


@call("api.datasets.create", "api.datasets.get", "api.datasets.list")
def test_datasets_by_the_api(client: Any) -> None:
    dataset, api = name("set"), client.api.datasets
    made = asked(api.create, "CreateDatasetRequest", name=dataset, metadata={"k": 1})
    assert api.get(dataset) == made
    assert made.metadata == {"k": 1}
    newest, page = api.list(limit=1, page=1), api.list(limit=1, page=2)
    assert [d.name for d in newest.data] == [dataset]
    assert dataset not in [d.name for d in page.data]
    assert newest.meta.total_items >= 1


@call(
    "api.dataset_items.create", "api.dataset_items.get", "api.dataset_items.list", "api.dataset_items.delete"
)
def test_items_by_the_api(client: Any) -> None:
    first, api = item_of(client), client.api.dataset_items
    second = asked(api.create, "CreateDatasetItemRequest", dataset_name=first.dataset_name, input=2)
    assert (api.get(second.id).input, api.get(first.id).input) == (2, {"q": 1})
    assert {i.id for i in api.list(dataset_name=first.dataset_name).data} == {first.id, second.id}
    assert len(api.list(dataset_name=first.dataset_name, limit=1).data) == 1
    api.delete(first.id)
    assert [i.id for i in api.list(dataset_name=first.dataset_name).data] == [second.id]


@call("clear_prompt_cache", "get_prompt(cache)")
def test_a_prompt_is_kept_until_the_cache_is_cleared(client: Any) -> None:
    prompt = prompt_of(client)
    assert client.get_prompt(prompt).version == 1
    client.api.prompts.create(request=text_prompt(prompt, labels=["production"]))  # past the cache
    assert client.get_prompt(prompt, cache_ttl_seconds=600).version == 1
    client.clear_prompt_cache()
    assert client.get_prompt(prompt).version == 2


def text_prompt(prompt: str, **given: Any) -> Any:
    """The request of a text prompt."""
    api = langfuse.api
    if MAJOR == 3:
        return api.CreatePromptRequest_Text(name=prompt, prompt="x", **given)
    return api.CreateTextPromptRequest(name=prompt, prompt="x", **given)


@call("api.prompts.create", "api.prompts.get", "api.prompt_version.update")
def test_prompts_by_the_api(client: Any) -> None:
    prompt, api = name("prompt"), client.api
    assert api.prompts.create(request=text_prompt(prompt, labels=["a"])).version == 1
    assert api.prompts.create(request=text_prompt(prompt)).version == 2
    assert api.prompts.get(prompt, label="a").version == 1
    api.prompt_version.update(prompt, 2, new_labels=["a"])
    assert api.prompts.get(prompt, label="a").version == 2
    assert "a" not in api.prompts.get(prompt, version=1).labels


@call("api.prompts.delete", "api.prompts.list(filters)")
def test_a_prompt_is_deleted_by_version_and_whole(client: Any) -> None:
    prompt, api = name("prompt"), client.api.prompts
    for label in ("old", "new"):
        api.create(request=text_prompt(prompt, labels=[label], tags=[prompt]))
    assert [line.versions for line in api.list(tag=prompt).data] == [[1, 2]]
    assert [line.name for line in api.list(tag=prompt, label="old").data] == [prompt]
    api.delete(prompt, version=1)
    assert [line.versions for line in api.list(tag=prompt).data] == [[2]]
    api.delete(prompt)
    assert api.list(tag=prompt).data == []


@call("get_prompt(placeholders)")
def test_messages_are_put_into_a_chat_prompt(client: Any) -> None:
    prompt = name("chat")
    messages = [{"role": "system", "content": "You are kind"}, {"type": "placeholder", "name": "history"}]
    client.create_prompt(name=prompt, type="chat", prompt=messages, labels=["production"])
    found = client.get_prompt(prompt, type="chat", cache_ttl_seconds=0)
    history = [{"role": "user", "content": "Hi"}]
    assert [m["content"] for m in found.compile(history=history)] == ["You are kind", "Hi"]
