"""Aliases, states, ways back, and leaving while somebody streams: over HTTP."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_server.settings import Settings
from tests.llm_server.adapters.making import edit_config, make_adapter
from tests.llm_server.conftest import serving


@pytest.fixture(scope="module")
def url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny model on loopback, without keys."""
    settings = Settings(
        model=str(models / "tiny"),
        data=tmp_path_factory.mktemp("data"),
        embeddings=False,
        threads=1,
        temperature=0,
    )
    with serving(settings) as base:
        yield base


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def load(http: httpx.Client, name: str, folder: Path, **more: Any) -> str:
    body = {"name": name, "source": str(folder), **more}
    answer = http.post("/v1/adapters", params={"wait": "true"}, json=body)
    assert answer.status_code == 201, answer.text
    identity: str = answer.json()["id"]
    return identity


def say(http: httpx.Client, model: str, **more: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "hello there"}]
    body = {"model": model, "messages": messages, "max_tokens": 4, **more}
    return http.post("/v1/chat/completions", json=body)


def test_a_version_is_loaded_beside_the_one_in_use(http: httpx.Client, tmp_path: Path) -> None:
    old = load(http, "shy", make_adapter(tmp_path / "old", 1))
    new = load(http, "shy", make_adapter(tmp_path / "new", 2), alias="canary")
    assert http.get("/v1/adapters/shy").json()["aliases"] == {"stable": old, "canary": new}
    assert say(http, "shy").json()["model"].endswith(old[:19])
    assert say(http, "shy@canary").json()["model"].endswith(new[:19])
    wrong = http.post("/v1/adapters", json={"name": "shy", "source": "x", "alias": "previous"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "alias")


def test_promoting_to_canary_leaves_stable_alone(http: httpx.Client, tmp_path: Path) -> None:
    old = load(http, "bird", make_adapter(tmp_path / "old", 3))
    new = load(http, "bird", make_adapter(tmp_path / "new", 4))
    body = {"version": new, "alias": "canary"}
    card = http.post("/v1/adapters/bird:promote", json=body).json()
    assert card["aliases"] == {"stable": old, "canary": new}
    assert say(http, "bird@canary").json()["model"].endswith(new[:19])
    card = http.post("/v1/adapters/bird:promote", json={"version": "canary"}).json()
    assert card["aliases"] == {"stable": new, "canary": new, "previous": old}


def test_going_back_to_a_version_of_ones_choice(http: httpx.Client, tmp_path: Path) -> None:
    ids = [load(http, "steps", make_adapter(tmp_path / str(n), 5 + n), activate=True) for n in range(3)]
    card = http.post("/v1/adapters/steps:rollback", json={"to": ids[0][:19]}).json()
    assert (card["aliases"]["stable"], card["aliases"]["previous"]) == (ids[0], ids[2])
    assert say(http, "steps").json()["model"].endswith(ids[0][:19])
    card = http.post("/v1/adapters/steps:rollback").json()
    assert (card["aliases"]["stable"], card["aliases"]["previous"]) == (ids[2], ids[0])
    assert http.post("/v1/adapters/steps:rollback", json={"to": "sha256:0000"}).status_code == 404


def test_a_list_of_one_state(http: httpx.Client, tmp_path: Path) -> None:
    good = load(http, "good", make_adapter(tmp_path / "good", 10))
    broken = make_adapter(tmp_path / "broken", 11)
    edit_config(broken, use_dora=True)
    http.post("/v1/adapters", params={"wait": "true"}, json={"name": "good", "source": str(broken)})

    def listed(state: str) -> dict[str, list[str]]:
        cards = http.get("/v1/adapters", params={"state": state}).json()["data"]
        return {card["name"]: [version["id"] for version in card["versions"]] for card in cards}

    assert listed("ready")["good"] == [good]
    (failed,) = listed("failed")["good"]
    assert failed != good
    assert "good" not in listed("draining")
    assert http.get("/v1/adapters", params={"state": "happy"}).status_code == 400


def test_a_card_names_its_scale_and_its_base(http: httpx.Client, tmp_path: Path) -> None:
    load(http, "card", make_adapter(tmp_path / "card", 12), scale=0.5)
    card = http.get("/v1/adapters/card").json()
    assert card["default_scale"] == 0.5
    assert card["base_fingerprint"] == say(http, "tiny").json()["system_fingerprint"]
    changed = http.patch("/v1/adapters/card", json={"default_scale": 0.25, "pin": True}).json()
    assert (changed["default_scale"], changed["pinned"]) == (0.25, True)


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def test_a_forced_unload_ends_a_stream_with_an_error(http: httpx.Client, url: str, tmp_path: Path) -> None:
    load(http, "leaving", make_adapter(tmp_path / "leaving", 13))
    body = {
        "model": "leaving",
        "messages": [{"role": "user", "content": "hello there"}],
        "stream": True,
        "ignore_eos": True,
        "logit_bias": {},
    }
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
        lines = answer.iter_lines()
        events = _events(lines)
        next(events)
        gone = http.delete("/v1/adapters/leaving", params={"drain_timeout_s": 0, "force": True})
        assert gone.status_code == 202
        assert gone.json()["data"][0]["state"] == "draining"
        last = list(events)[-1]
    assert last["error"]["code"] == "adapter_unloaded"
    assert "leaving was unloaded" in last["error"]["message"]
    assert say(http, "leaving").status_code == 404


def test_an_unload_that_is_not_forced_waits_for_a_stream(
    http: httpx.Client, url: str, tmp_path: Path
) -> None:
    load(http, "patient", make_adapter(tmp_path / "patient", 14))
    body = {
        "model": "patient",
        "messages": [{"role": "user", "content": "hello there"}],
        "stream": True,
        "ignore_eos": True,
        "max_tokens": 200,
    }
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
        events = _events(answer.iter_lines())
        next(events)
        http.delete("/v1/adapters/patient", params={"drain_timeout_s": 0})
        ends = [event for event in events if event.get("choices")]
    assert ends[-1]["choices"][0]["finish_reason"] == "length"


def test_events_go_on_where_a_listener_stopped(http: httpx.Client, url: str, tmp_path: Path) -> None:
    version = load(http, "heard", make_adapter(tmp_path / "heard", 15))

    def heard(after: str | None, until: str) -> list[dict[str, Any]]:
        headers = {} if after is None else {"last-event-id": after}
        found = []
        with httpx.stream("GET", f"{url}/v1/adapters/events", headers=headers, timeout=20) as answer:
            for event in _events(answer.iter_lines()):
                found.append(event)
                if event["event"] == until and event["adapter"] == "heard":
                    return found
        raise AssertionError("the stream has ended")

    first = heard(None, "ready")
    assert [e["event"] for e in first if e["version"] == version] == ["loading", "ready"]
    last = first[-1]["id"]
    later = threading.Timer(0.3, http.post, ["/v1/adapters/heard:promote"], {"json": {"version": version}})
    later.start()
    rest = heard(str(last), "promoted")
    later.join()
    assert [event["event"] for event in rest] == ["promoted"]
    assert rest[0]["id"] == last + 1
