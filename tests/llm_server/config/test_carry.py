"""What outlives the reload of a model: adapters, their listeners, the series of its metrics. And what does
not: answers that take too long.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_server.catalog import ChatModel
from llm_server.errors import Conflict
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.config.conftest import Edited, Open
from tests.llm_server.config.test_reload import entry, model_of, wait_for
from tests.llm_server.onnx_models import prepared

LONG: dict[str, Any] = {
    "messages": [{"role": "user", "content": "go on and on"}],
    "stream": True,
    "max_tokens": 450,
    "temperature": 1,
    "ignore_eos": True,
}


def load(server: Edited, name: str, path: Path, **more: Any) -> str:
    body = {"name": name, "source": str(path), **more}
    answer = server.http.post("/v1/adapters?wait=true", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def cards(server: Edited) -> dict[str, Any]:
    """What is to be carried over, by name."""
    found = server.http.get("/v1/adapters").json()["data"]
    kept = ("aliases", "scale", "pinned")
    return {
        one["name"]: {
            **{key: one[key] for key in kept},
            "versions": [(v["id"], v["rank"], v["effect"] is not None) for v in one["versions"]],
        }
        for one in found
    }


def text_of(server: Edited, name: str) -> str:
    answer = server.say(name, max_tokens=12, temperature=0)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@contextmanager
def listening(server: Edited) -> Iterator[list[tuple[int, str, str]]]:
    """Numbers, kinds and adapters of the events, as they come."""
    heard: list[tuple[int, str, str]] = []

    def listen() -> None:
        with httpx.stream("GET", f"{server.http.base_url}/v1/adapters/events", timeout=120) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    heard.append((event["id"], event["event"], event["adapter"]))
                    if event["adapter"] == "last":
                        return

    thread = threading.Thread(target=listen)
    thread.start()
    yield heard
    thread.join(60)
    assert not thread.is_alive()


def test_adapters_of_the_api_outlive_a_reload(open_server: Open, models: Path, tmp_path: Path) -> None:
    """With other sizes, and with another engine, whose adapters are other files."""
    prepared(models, "fp32")
    first = entry(models, "llama_cpp", id="carried")
    with open_server(first, data=models, adapter_folders=str(tmp_path)) as server:
        old, new = (load(server, "a", make_adapter(tmp_path / f"a{n}", n)) for n in range(2))
        load(server, "b", make_adapter(tmp_path / "b", 5), scale=0.5, pin=True)
        for alias, version in (("stable", new), ("canary", old)):
            body = {"version": version, "alias": alias}
            assert server.http.post("/v1/adapters/a:promote", json=body).status_code == 200
        before, said = cards(server), [text_of(server, name) for name in ("carried", "a", "a@canary", "b")]
        assert len(set(said)) == 4
        assert before["a"]["aliases"] == {"stable": new, "canary": old, "previous": old}
        for edit in (
            entry(models, "llama_cpp", id="carried", context=256),
            entry(models, "onnx", id="carried"),
            first,
        ):
            engine = model_of(server, "carried").engine
            answer = server.edit(edit)
            assert (answer.status_code, answer.json()["loaded"]) == (200, ["carried"])
            assert model_of(server, "carried").engine is not engine
            assert cards(server) == before
            assert [text_of(server, name) for name in ("carried", "a", "a@canary", "b")] == said


def test_listeners_and_counts_go_on(open_server: Open, models: Path, tmp_path: Path) -> None:
    with (
        open_server(
            entry(models, "llama_cpp", id="heard"), data=models, adapter_folders=str(tmp_path)
        ) as server,
        listening(server) as heard,
    ):
        one, other = (load(server, "a", make_adapter(tmp_path / f"a{n}", n)) for n in range(2))
        assert server.edit(entry(models, "llama_cpp", id="heard", context=256)).status_code == 200
        for version in (other, one):
            server.http.post("/v1/adapters/a:promote", json={"version": version})
        load(server, "last", make_adapter(tmp_path / "last", 3))
        wait_for(lambda: heard and heard[-1][2] == "last")
        text = server.http.get("/metrics").text
        assert 'llm_adapter_events_total{event="promoted",model="heard"} 2.0' in text
        assert 'llm_adapter_events_total{event="loading",model="heard"} 3.0' in text
    kinds = [kind for _, kind, name in heard if name == "a"]
    assert kinds[:4] == ["loading", "ready", "loading", "ready"]
    assert kinds.count("promoted") == 2
    numbers = [number for number, _, _ in heard]
    assert numbers == sorted(set(numbers))


def test_an_adapter_leaves_the_file_with_a_reload(open_server: Open, models: Path, tmp_path: Path) -> None:
    make_adapter(tmp_path / "kind", 1)
    named: dict[str, Any] = {"id": "left", "adapters": [{"name": "kind", "path": "kind"}]}
    with open_server(
        entry(models, "llama_cpp", **named), data=models, adapter_folders=str(tmp_path)
    ) as server:
        load(server, "own", make_adapter(tmp_path / "own", 2))
        assert server.names() == ["left", "left:kind", "left:own"]
        assert server.edit(entry(models, "llama_cpp", id="left", context=256)).status_code == 200
        assert server.names() == ["left", "left:own"]
        wait_for(lambda: not server.config()["draining"])
        assert text_of(server, "left:own")


def test_a_refused_reload_changes_no_adapter(open_server: Open, models: Path, tmp_path: Path) -> None:
    """The first model is loaded already when the second one turns out to be broken."""
    wreck = tmp_path / "wreck.gguf"
    wreck.write_bytes(b"GGUF" + b"\x00" * 64)
    content = entry(models, "llama_cpp", id="kept")
    with open_server(content, data=models, adapter_folders=str(tmp_path)) as server:
        load(server, "a", make_adapter(tmp_path / "a", 1))
        file = models / "adapters" / "kept--tiny" / "adapters.json"
        before, written = cards(server), file.read_text()
        changed = entry(
            models, "llama_cpp", id="kept", context=256, adapters=[{"name": "a", "path": "other"}]
        )
        make_adapter(tmp_path / "other", 2)
        changed["models"].append({"id": "broken", "engine": "llama_cpp", "model": str(wreck)})
        assert server.edit(changed).status_code == 400
        assert (cards(server), file.read_text()) == (before, written)
        load(server, "b", make_adapter(tmp_path / "b", 3))
        assert server.names() == ["kept", "kept:a", "kept:b"]


def test_a_change_that_comes_too_late_is_told_so(open_server: Open, models: Path, tmp_path: Path) -> None:
    """Of a request that has found the old model when the new one takes over."""
    with open_server(
        entry(models, "llama_cpp", id="late"), data=models, adapter_folders=str(tmp_path)
    ) as server:
        version = load(server, "a", make_adapter(tmp_path / "a", 1))
        old = model_of(server, "late").adapters
        assert server.edit(entry(models, "llama_cpp", id="late", context=256)).status_code == 200
        assert old is not None
        with pytest.raises(Conflict) as late:
            old.store.promote("a", version, "canary", None)
        assert (late.value.code, late.value.retry_after) == ("model_replaced", 0.1)
        with pytest.raises(Conflict):
            old.load("b", make_adapter(tmp_path / "b", 2))


def two(models: Path, **more: Any) -> dict[str, Any]:
    """The tiny model and an echo."""
    content = entry(models, "llama_cpp", **more)
    content["models"].append({"id": "other", "engine": "echo"})
    return content


def gauges(server: Edited) -> dict[str, tuple[float, ...]]:
    """Busy slots, waiting sequences and kept prefixes, by model."""
    names = ("llm_slots_busy", "llm_queue_sequences", "llm_prefix_cache_entries")
    lines = server.http.get("/metrics").text.splitlines()
    found = {}
    for line in lines:
        if line.startswith(f"{names[0]}{{"):
            labels = line.removeprefix(names[0]).split()[0]
            values = [one.split()[1] for name in names for one in lines if one.startswith(name + labels)]
            found[labels.split('"')[1]] = tuple(map(float, values))
    return found


@contextmanager
def stopped(model: ChatModel) -> Iterator[None]:
    """An engine between two steps."""
    there, go_on = threading.Event(), threading.Event()

    def stop() -> None:
        there.set()
        go_on.wait(60)

    model.engine.between_steps(stop)
    there.wait(60)
    yield
    go_on.set()


def test_gauges_are_told_apart_and_go_on(open_server: Open, models: Path) -> None:
    """Streams of a model that was replaced count until they end."""
    with open_server(two(models, slots=1), data=models) as server:
        assert gauges(server) == {"tiny": (0, 0, 0), "other": (0, 0, 0)}
        url = f"{server.http.base_url}/v1/chat/completions"
        with httpx.stream("POST", url, json={**LONG, "model": "tiny", "n": 8}, timeout=60):
            wait_for(lambda: gauges(server)["tiny"][0] == 1)
            with stopped(model_of(server, "tiny")):
                before = gauges(server)
                assert (before["tiny"][0], before["other"]) == (1, (0, 0, 0))
                assert before["tiny"][1] >= 1
                assert server.edit(two(models, slots=2)).status_code == 200
                assert server.config()["draining"] == 1
                assert gauges(server) == before
        wait_for(lambda: not server.config()["draining"])
        assert [values[:2] for values in gauges(server).values()] == [(0, 0), (0, 0)]
        edit = server.edit({"models": [{"id": "other", "engine": "echo"}], "embeddings": False})
        assert edit.status_code == 200
        wait_for(lambda: not server.config()["draining"])
        assert set(gauges(server)) == {"other"}


def test_an_answer_that_takes_too_long_is_ended(open_server: Open, models: Path) -> None:
    """The client hears that it may try again, and the memory is free."""
    with open_server(two(models), data=models, retire_seconds=0) as server:
        engine = model_of(server, "tiny").engine
        url = f"{server.http.base_url}/v1/chat/completions"
        with httpx.stream("POST", url, json={**LONG, "model": "tiny", "n": 8}, timeout=60) as answer:
            lines = (line for line in answer.iter_lines() if line)
            next(lines)
            edit = server.edit({"models": [{"id": "other", "engine": "echo"}], "embeddings": False})
            assert edit.status_code == 200
            *_, last, done = lines
            assert done == "data: [DONE]"
        error = json.loads(last.removeprefix("data: "))["error"]
        assert (error["code"], error["type"]) == ("model_replaced", "server_error")
        assert "Try again" in error["message"]
        wait_for(lambda: not server.config()["draining"])
        assert engine.load == 0
        assert server.say("other").status_code == 200


def test_a_whole_answer_that_takes_too_long_may_be_asked_for_again(open_server: Open, models: Path) -> None:
    with open_server(two(models), data=models, retire_seconds=0) as server:
        url = f"{server.http.base_url}/v1/chat/completions"
        body = {**LONG, "model": "tiny", "stream": False, "n": 8}
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body, timeout=60)))
        asking.start()
        wait_for(lambda: model_of(server, "tiny").engine.load == 8)
        assert server.edit({"models": [{"id": "other", "engine": "echo"}], "embeddings": False})
        asking.join()
        assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "model_replaced")
        assert answers[0].headers["retry-after"] == "2"
