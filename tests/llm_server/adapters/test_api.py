"""The life of adapters over HTTP, and models that are named `base:adapter`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_server.settings import Settings
from tests.llm_server.adapters.making import edit_config, make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving

ASK: Any = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on the tiny model with one adapter from its settings."""
    early = make_adapter(tmp_path_factory.mktemp("adapters") / "early", 50)
    data = tmp_path_factory.mktemp("data")
    settings = Settings(
        model=str(models / "tiny"),
        data=data,
        lora=f"first={early}",
        adapter_folders=str(tmp_path_factory.getbasetemp()),
        embeddings=False,
        threads=1,
        temperature=0,
        api_key=USER,
        admin_key=ADMIN,
    )
    with serving(settings) as base:
        yield base


@pytest.fixture
def admin(url: str) -> Iterator[httpx.Client]:
    """A key with scope admin."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=60) as client:
        yield client


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """The openai client with a key of scope inference."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key=USER, max_retries=0) as client:
        yield client


def load(admin: httpx.Client, name: str, path: Path, **more: Any) -> dict[str, Any]:
    body = {"name": name, "source": {"path": str(path)}, **more}
    answer = admin.post("/v1/adapters", params={"wait": "true"}, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def say(client: openai.OpenAI, model: str, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=ASK, max_tokens=16, **more)


def test_a_name_with_an_adapter_is_a_model(
    client: openai.OpenAI, admin: httpx.Client, tmp_path: Path
) -> None:
    made = load(admin, "polite", make_adapter(tmp_path / "polite", 1))
    assert {"tiny", "tiny:first", "tiny:polite"} <= {model.id for model in client.models.list()}
    base, adapted = say(client, "tiny"), say(client, "tiny:polite")
    assert adapted.choices[0].message.content != base.choices[0].message.content
    assert adapted.model == f"tiny:polite@{made['id'][:19]}"
    assert adapted.system_fingerprint != base.system_fingerprint
    for name in ("polite", "polite@stable", f"tiny:polite@{made['id']}", f"polite@{made['id'][:14]}"):
        assert say(client, name).choices[0].message.content == adapted.choices[0].message.content
    extra = {"adapters": [{"name": "polite", "scale": 1.0}]}
    assert say(client, "tiny", extra_body=extra).model == adapted.model


def test_text_completions_take_adapters_too(client: openai.OpenAI) -> None:
    base, adapted = (
        client.completions.create(model=model, prompt="once upon", max_tokens=12)
        for model in ("tiny", "tiny:first")
    )
    assert base.choices[0].text != adapted.choices[0].text
    assert adapted.model.startswith("tiny:first@sha256:")


def test_a_stream_names_the_version(client: openai.OpenAI) -> None:
    chunks = list(say(client, "tiny:first", stream=True))
    assert {chunk.model for chunk in chunks} == {say(client, "tiny:first").model}


def test_unknown_adapters_are_unknown_models(client: openai.OpenAI) -> None:
    for name in ("tiny:nobody", "tiny:first@canary", "nobody"):
        with pytest.raises(openai.NotFoundError):
            say(client, name)
    with pytest.raises(openai.NotFoundError):
        say(client, "tiny", extra_body={"adapters": [{"name": "nobody"}]})


def test_promotion_moves_the_name_and_rollback_moves_it_back(
    client: openai.OpenAI, admin: httpx.Client, tmp_path: Path
) -> None:
    old = load(admin, "moving", make_adapter(tmp_path / "old", 2))
    new = load(admin, "moving", make_adapter(tmp_path / "new", 3))
    assert old["id"][:19] in say(client, "moving").model
    body = {"version": new["id"], "if_match": old["id"]}
    assert admin.post("/v1/adapters/moving:promote", json=body).status_code == 200
    assert new["id"][:19] in say(client, "moving").model
    again = admin.post("/v1/adapters/moving:promote", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "version_conflict")
    assert admin.post("/v1/adapters/moving:rollback").json()["aliases"]["stable"] == old["id"]
    assert old["id"][:19] in say(client, "moving").model


def test_a_refused_adapter_says_why_and_is_listed(admin: httpx.Client, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "dora", 4)
    edit_config(folder, use_dora=True)
    body = {"name": "dora", "source": str(folder)}
    refused = admin.post("/v1/adapters", params={"wait": "true"}, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "dora")
    card = admin.get("/v1/adapters/dora").json()
    assert card["versions"][0]["state"] == "failed"
    assert card["versions"][0]["error"]["code"] == "dora"


def test_loading_takes_an_admin_key(url: str, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", 5)
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {USER}"}) as user:
        assert user.post("/v1/adapters", json={"name": "a", "source": str(folder)}).status_code == 403
        assert user.delete("/v1/adapters/first").status_code == 403
        assert (
            user.post("/v1/load_lora_adapter", json={"lora_name": "a", "lora_path": "x"}).status_code == 403
        )
        assert user.get("/v1/adapters").status_code == 200


def test_scale_and_pin_can_be_changed(client: openai.OpenAI, admin: httpx.Client, tmp_path: Path) -> None:
    load(admin, "scaled", make_adapter(tmp_path / "scaled", 6))
    full = say(client, "scaled")
    assert admin.patch("/v1/adapters/scaled", json={"scale": 0.25, "pinned": True}).json()["pinned"]
    quarter = say(client, "scaled")
    assert quarter.choices[0].message.content != full.choices[0].message.content
    assert quarter.model.endswith("*0.25")
    assert admin.patch("/v1/adapters/scaled", json={"scale": 400}).status_code == 400


def test_unloading_drains_and_the_name_is_gone(
    client: openai.OpenAI, admin: httpx.Client, tmp_path: Path
) -> None:
    load(admin, "leaving", make_adapter(tmp_path / "leaving", 7))
    assert admin.delete("/v1/adapters/leaving").status_code == 202
    with pytest.raises(openai.NotFoundError):
        say(client, "leaving")


def test_vllm_and_llama_server_words(client: openai.OpenAI, admin: httpx.Client, tmp_path: Path) -> None:
    body = {"lora_name": "theirs", "lora_path": str(make_adapter(tmp_path / "theirs", 8))}
    assert "added successfully" in admin.post("/v1/load_lora_adapter", json=body).text
    assert admin.post("/v1/load_lora_adapter", json=body).status_code == 400
    numbered = admin.get("/lora-adapters").json()
    place = next(one["id"] for one in numbered if one["path"].endswith("theirs"))
    said = say(client, "tiny", extra_body={"lora": [{"id": place, "scale": 0.5}]})
    assert said.model.endswith("*0.5")
    assert "theirs" in said.model
    set_to = admin.post("/lora-adapters", json=[{"id": place, "scale": 0.5}]).json()
    assert set_to[place]["scale"] == 0.5
    assert say(client, "theirs").choices[0].message.content == said.choices[0].message.content
    assert "removed" in admin.post("/v1/unload_lora_adapter", json={"lora_name": "theirs"}).text


def test_metrics_count_loads_and_use(admin: httpx.Client, tmp_path: Path) -> None:
    load(admin, "counted", make_adapter(tmp_path / "counted", 10))
    text = admin.get("/metrics").text
    assert 'llm_adapter_inflight{adapter="counted",model="tiny"} 0.0' in text
    assert 'llm_adapter_events_total{event="ready",model="tiny"}' in text
    assert 'llm_adapter_versions{model="tiny",state="ready"}' in text


def test_events_arrive_over_sse(admin: httpx.Client, tmp_path: Path) -> None:
    load(admin, "told", make_adapter(tmp_path / "told", 9))
    with admin.stream("GET", "/v1/adapters/events") as lines:
        for line in lines.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line[6:])
                if event["adapter"] == "told" and event["event"] == "ready":
                    break
        else:
            raise AssertionError("the adapter was never ready")
