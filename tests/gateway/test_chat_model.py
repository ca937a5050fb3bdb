"""Which model answers chats, with a real model server, adapters and trace store."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from gateway.app import create_app
from gateway.chat_model.schemas import Source
from gateway.cli import app
from gateway.settings import Settings
from graphs.llm import CARD_SECONDS
from llm_server.settings import Settings as ServerSettings
from rlhf.registry import Registry, Version
from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.traces.conftest import TraceStore, trace_store
from tests.graphs.model_server import ModelServer, serving
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER
from tests.llm_server.conftest import serving as serving_models
from tests.llm_server.tiny import make_tiny

pytestmark = pytest.mark.timeout(300)
MODELS, CHATS, REGISTRY = "/api/v1/models", "/api/v1/models/chats", "/api/v1/models-registry"


async def chat(gateway: Gateway) -> tuple[str, str, list[str]]:
    """A short answer of an agent: its trace, the exact model that wrote it, and what the reader was told."""
    asked = {"model": "general", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 8}
    answer = await gateway.client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()["loopyard"]
    steps = {step["event"]: step["data"] for step in told["steps"]}
    notices = [step["data"]["message"] for step in told["steps"] if step["event"] == "notice"]
    return steps["start"]["trace_id"], told["model"], notices


@dataclass
class House:
    """A gateway on a real model server, whose chats are traced."""

    gateway: Gateway
    server: httpx2.AsyncClient
    registry: Registry
    store: TraceStore

    def made(self, name: str, seed: int) -> Version:
        folder = make_adapter(self.gateway.settings.data / "made" / str(seed), seed, size=0.5)
        return self.registry.add(name, folder, {"base": "tiny", "parent": None}, [])

    async def live(self, version: Version) -> None:
        """Let a version answer for its name, as a deployment does."""
        body = {"name": version.name, "source": {"path": str(version.folder)}, "activate": True}
        loaded = await self.server.post("/adapters", params={"wait": "true"}, json=body)
        assert loaded.is_success, loaded.text
        self.registry.promote(version)

    async def use(self, model: str | None, **headers: str) -> httpx2.Response:
        return await self.gateway.client.put(CHATS, json={"model": model}, headers=headers)

    async def state(self) -> dict[str, Any]:
        answer = await self.gateway.client.get(CHATS)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def unload(self, name: str) -> None:
        assert (await self.server.delete(f"/adapters/{name}")).status_code == 202
        await asyncio.sleep(CARD_SECONDS)  # as long as a card is believed

    async def chat(self) -> tuple[str, str, list[str]]:
        return await chat(self.gateway)

    async def spans(self, trace: str) -> list[dict[str, Any]]:
        """The observations of a trace, once it is complete."""

        async def complete() -> list[dict[str, Any]]:
            found = await self.store.observations(traceId=trace, fields="basic,metadata,model")
            return found if any(one["isRootObservation"] for one in found) else []

        found: list[dict[str, Any]] = await until(complete, 30)
        return found


@pytest.fixture(scope="module")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("chats")
    make_tiny(folder / "tiny")
    (folder / "data" / "adapters").mkdir(parents=True)
    chosen = ServerSettings(
        model=str(folder / "tiny"),
        data=folder / "models",
        quantisation="f32",
        embeddings=False,
        threads=1,
        temperature=0,
        api_key=USER,
        admin_key=ADMIN,
        adapter_folders=str(folder / "data" / "adapters"),
    )
    with serving_models(chosen) as url:
        yield f"{url}/v1", folder / "data"


def of(data: Path, url: str, store: TraceStore, **changes: Any) -> Settings:
    keys = {"llm_api_key": USER, "llm_admin_key": ADMIN}
    return settings(data, llm_url=url, traces_url=store.url, **keys, **changes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(model_url: tuple[str, Path]) -> AsyncIterator[House]:
    url, data = model_url
    admin = {"Authorization": f"Bearer {ADMIN}"}
    async with (
        trace_store(data) as store,
        neighbours(data, clerk) as (scripted, tools),
        running(of(data, url, store), ModelServer(clerk, url=url), tools) as gateway,
        httpx2.AsyncClient(base_url=url, headers=admin, timeout=120, trust_env=False) as server,
    ):
        assert scripted.requests == []
        yield House(gateway, server, Registry(data), store)


async def test_chats_follow_the_choice_the_rollback_and_the_unloading(house: House) -> None:
    one, two = house.made("citing", 1), house.made("citing", 2)
    await house.live(one)
    assert (await house.chat())[1:] == ("tiny", [])
    chosen = await house.use("tiny:citing")
    assert chosen.json() == {
        "model": "tiny:citing",
        "wanted": "tiny:citing",
        "source": "choice",
        "problem": None,
    }
    trace, model, told = await house.chat()
    assert (model, told) == (f"tiny:citing@sha256:{one.short}", [])
    # The name is chosen, not the version: what is promoted answers, and after a roll-back what did before.
    await house.live(two)
    assert (await house.chat())[1] == f"tiny:citing@sha256:{two.short}"
    back = await house.gateway.client.post(f"{REGISTRY}/citing/rollback")
    assert back.json()["live"] == one.digest, back.text
    assert (await house.chat())[1:] == (f"tiny:citing@sha256:{one.short}", [])
    await house.unload("citing")
    trace, model, told = await house.chat()
    assert model == "tiny"
    assert told == ["tiny:citing is chosen for chats and not served now; tiny answers instead."]
    (root,) = [span for span in await house.spans(trace) if span["isRootObservation"]]
    assert root["metadata"]["missing_model"] == "tiny:citing"
    state = await house.state()
    assert (state["model"], state["wanted"]) == ("tiny", "tiny:citing")
    assert "`loopyard models deploy citing live` loads it again" in state["problem"]
    await house.live(one)
    assert (await house.chat())[1:] == (f"tiny:citing@sha256:{one.short}", [])
    assert (await house.use(None)).json()["source"] == "server"
    assert (await house.chat())[1:] == ("tiny", [])


async def test_a_span_of_a_chat_names_the_adapter_and_leads_there_and_back(house: House) -> None:
    version = house.made("traced", 3)
    await house.live(version)
    assert (await house.use("traced")).json()["model"] == "tiny:traced"
    trace, _, _ = await house.chat()
    exact = f"traced@sha256:{version.short}"
    (written,) = [span for span in await house.spans(trace) if span["type"] == "GENERATION"]
    assert written["model"] == f"tiny:{exact}"
    assert (written["metadata"]["adapter_version"], written["metadata"]["base_model"]) == (exact, "tiny")
    found = await house.store.client.get("/api/public/lineage", params={"adapterVersion": exact})
    assert [one["traceId"] for one in found.json()["data"]] == [trace]
    me = (await house.gateway.client.get("/api/v1/me")).json()
    of_user = await house.store.client.get("/api/public/lineage", params={"userId": me["id"]})
    assert exact in [one["adapterVersion"] for one in of_user.json()["data"]]
    shown = (await house.gateway.client.get(f"/api/v1/traces/{trace}")).json()
    assert exact in [span["adapter"] for span in shown["tree"]]
    await house.use(None)


async def test_the_model_of_an_openai_client_with_tools_of_its_own_is_the_chosen_one(house: House) -> None:
    version = house.made("outside", 4)
    await house.live(version)
    body = {"model": "general", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    weather = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    body |= {"tools": [{"type": "function", "function": weather}], "tool_choice": "none", "temperature": 0}

    async def said() -> Any:
        answer = await house.gateway.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["system_fingerprint"]

    base = await said()
    await house.use("outside")
    assert await said() != base
    await house.use(None)
    assert await said() == base


async def test_everyone_sees_what_answers_and_admins_alone_change_it(house: House) -> None:
    await house.live(house.made("seen", 5))
    made = await house.gateway.new_key(scopes=["chat", "tools", "manage"])
    key = house.gateway.key(made)
    listed = (await house.gateway.client.get(MODELS, headers=key)).json()["items"]
    assert [one["id"] for one in listed if one["answers_chats"]] == ["tiny"]
    assert {"id": "tiny:seen", "base": "tiny", "context": 1024, "answers_chats": False} in listed
    assert (await house.gateway.client.get(CHATS, headers=key)).json()["model"] == "tiny"
    assert (await house.use("tiny:seen", **key)).status_code == 403
    assert (await house.gateway.client.get(CHATS, headers={"Authorization": "Bearer no"})).status_code == 401
    assert (await house.state())["source"] == Source.SERVER


async def test_the_choice_is_audited(house: House) -> None:
    await house.live(house.made("audited", 6))
    await house.use("audited")
    refused = await house.use("gpt-9")
    assert refused.status_code == 404
    assert "'gpt-9' is no served model. Models: tiny, " in refused.json()["error"]["message"]
    await house.use(None)
    entries = (await house.gateway.client.get("/api/v1/audit")).json()["items"]
    mine = [(one["action"], one["target"]) for one in entries if one["action"].startswith("model.use")][:4]
    failed = [("model.use.failed", "gpt-9"), ("model.use", "gpt-9")]
    assert mine == [("model.use", "base"), *failed, ("model.use", "audited")]
    for body in ({}, {"model": ""}, {"model": "x" * 201}, {"model": "tiny", "more": 1}):
        assert (await house.gateway.client.put(CHATS, json=body)).status_code in (400, 422), body


async def test_another_gateway_and_the_next_start_know_the_choice(house: House) -> None:
    await house.live(house.made("kept", 7))
    await house.use("kept")
    chosen = of(house.registry.folder.parent, house.gateway.settings.llm_url, house.store)
    async with running(chosen, house.gateway.model, house.gateway.tools) as other:
        assert (await other.client.get(CHATS)).json()["model"] == "tiny:kept"
        assert (await other.client.put(CHATS, json={"model": None})).json()["model"] == "tiny"
        assert (await house.chat())[1] == "tiny"


async def test_the_operators_setting_wins_and_is_shown_as_such(house: House) -> None:
    await house.live(house.made("set", 8))
    await house.use("set")
    place, server = house.registry.folder.parent, house.gateway.model
    async with running(
        of(place, server.url, house.store, default_model="tiny"), server, house.gateway.tools
    ) as other:
        shown = (await other.client.get(CHATS)).json()
        assert shown == {"model": "tiny", "wanted": "tiny", "source": "setting", "problem": None}
        assert (await chat(other))[1] == "tiny"
        refused = await other.client.put(CHATS, json={"model": "set"})
        assert refused.status_code == 409
        assert "GATEWAY_DEFAULT_MODEL=tiny" in refused.json()["error"]["message"]
    async with running(
        of(place, server.url, house.store, default_model="gpt-9"), server, house.gateway.tools
    ) as other:
        shown = (await other.client.get(CHATS)).json()
        assert shown["model"] is None
        assert "GATEWAY_DEFAULT_MODEL: No model 'gpt-9'" in shown["problem"]
        assert (await other.chat("Hello there"))[-1][0] == "error"
    await house.use(None)


async def loopyard(house: House, *words: str) -> Result:
    """The command in a thread: the gateway lives in this one."""
    data = house.gateway.settings.data
    (data / "admin-key").write_text(house.gateway.settings.admin_key.get_secret_value())
    (data / "run").mkdir(exist_ok=True)
    (data / "run" / "gateway.json").write_text(json.dumps({"url": house.gateway.url}))
    return await asyncio.to_thread(CliRunner().invoke, app, [*words, "--data", str(data)])


async def test_the_choice_is_made_on_a_terminal(house: House) -> None:
    version = house.made("shell", 9)
    await house.live(version)
    used = await loopyard(house, "models", "use", "shell")
    assert used.output.strip() == "chats use tiny:shell", used.exception
    assert (await house.chat())[1] == f"tiny:shell@sha256:{version.short}"
    shown = (await loopyard(house, "models", "use")).output
    assert "tiny:shell" in shown.splitlines()[0]
    assert (await loopyard(house, "models", "list")).output.splitlines()[-1] == "chats use tiny:shell"
    base = await loopyard(house, "models", "use", "--base")
    assert base.output.strip() == "chats use tiny, as nobody chose another one"
    assert (await house.chat())[1] == "tiny"
    both = await loopyard(house, "models", "use", "shell", "--base")
    assert both.exit_code == 1
    assert "both say what chats use" in str(both.exception)


async def test_status_and_doctor_tell_what_answers_chats_and_that_it_stands_in(house: House) -> None:
    up = house.gateway.settings.data / "run" / "up.json"
    up.parent.mkdir(exist_ok=True)
    up.write_text(json.dumps({"pid": os.getpid(), "started_at": time.time()}))
    assert "chats use tiny, as nobody chose another one" in (await loopyard(house, "status")).output
    await house.live(house.made("leaving", 10))
    await house.use("leaving")
    await house.unload("leaving")
    status = json.loads((await loopyard(house, "status", "--json")).output)
    assert (status["chats"]["model"], status["chats"]["wanted"]) == ("tiny", "tiny:leaving")
    told = " ".join((await loopyard(house, "doctor")).output.split())
    assert "! chats tiny:leaving is chosen for chats and not served now; tiny answers instead" in told
    await house.use(None)
    up.unlink()


async def test_without_a_model_server_the_problem_is_told(tmp_path: Path) -> None:
    chosen = settings(tmp_path, llm_url="http://127.0.0.1:9/v1")
    headers = {"Authorization": f"Bearer {chosen.admin_key.get_secret_value()}"}
    async with (
        serving(create_app(chosen)) as url,
        httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False) as client,
    ):
        shown = (await client.get(CHATS)).json()
        assert (shown["model"], shown["source"]) == (None, "server")
        assert "not available" in shown["problem"]
        assert (await client.get(MODELS)).status_code == 502
