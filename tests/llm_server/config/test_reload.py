"""Edits that are followed while the server streams."""

import asyncio
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from llm_server.catalog import Catalog, ChatModel, Uses
from llm_server.config.reload import Reloader
from llm_server.engine.observer import Observer
from llm_server.settings import Settings
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.config.conftest import Edited, Open, replace_file
from tests.llm_server.onnx_models import prepared

ECHO: dict[str, Any] = {"models": [{"id": "first", "engine": "echo"}], "embeddings": False}
ASK: list[Any] = [{"role": "user", "content": "go on and on"}]


def wait_for(true: Callable[[], object]) -> None:
    """Until something holds."""
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")


def model_of(server: Edited, name: str) -> ChatModel:
    model: ChatModel = server.app.state.catalog.chat(name)
    return model


def entry(models: Path, engine: str, **more: Any) -> dict[str, Any]:
    """A file with the tiny model on an engine."""
    one = {"id": "tiny", "model": str(models / "tiny"), "engine": engine, "context": 512, **more}
    kinds = {"quantisation": "f32", "precision": "fp32"}
    return {"models": [{**one, **kinds}], "embeddings": False}


class Load:
    """Streams that follow each other until `stop`, several side by side."""

    def __init__(self, url: httpx.URL) -> None:
        self._url = url
        self.stop = False
        self.ended: list[tuple[str, str]] = []
        """(fingerprint, reason) of each stream."""

    def went_on(self, ended: int) -> bool:
        """Whether more streams than that have ended."""
        return len(self.ended) > ended

    async def run(self, streams: int, tokens: int) -> None:
        """Every stream has to end as it should, and to stay on the engine that it began with."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            await asyncio.gather(*(self._stream(client, i, tokens) for i in range(streams)))

    async def _stream(self, client: httpx.AsyncClient, seed: int, tokens: int) -> None:
        body = {"model": "tiny", "messages": ASK, "stream": True, "max_tokens": tokens, "temperature": 1}
        while not self.stop:
            chunks = []
            async with client.stream(
                "POST", "/v1/chat/completions", json={**body, "seed": seed, "ignore_eos": True}
            ) as answer:
                assert answer.status_code == 200, await answer.aread()
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        chunks.append(json.loads(line.removeprefix("data: ")))
            assert len({chunk["system_fingerprint"] for chunk in chunks}) == 1
            self.ended.append((chunks[-1]["system_fingerprint"], chunks[-1]["choices"][0]["finish_reason"]))


async def test_an_engine_is_switched_under_load_and_back(open_server: Open, models: Path) -> None:
    """Neither a stream nor a request is lost, and new requests are on the new engine."""
    prepared(models, "fp32")
    first, second = entry(models, "llama_cpp"), entry(models, "onnx")
    with open_server(first, data=models) as server:
        load = Load(server.http.base_url)
        streaming = asyncio.ensure_future(load.run(streams=4, tokens=120))
        fingerprints = [
            (await asyncio.to_thread(server.say, "tiny", max_tokens=1)).json()["system_fingerprint"]
        ]
        for content, engine in ((second, "onnx"), (first, "llama_cpp")):
            old = model_of(server, "tiny")
            ended = len(load.ended)
            answer = await asyncio.to_thread(server.edit, content)
            assert answer.status_code == 200, answer.text
            assert server.config()["models"][0]["engine"] == engine
            said = (await asyncio.to_thread(server.say, "tiny", max_tokens=1)).json()
            fingerprints.append(said["system_fingerprint"])
            await asyncio.to_thread(wait_for, lambda: not server.config()["draining"])
            assert old.engine.load == 0
            await asyncio.to_thread(wait_for, partial(load.went_on, ended + 4))
        load.stop = True
        await streaming
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
    assert {reason for _, reason in load.ended} == {"length"}
    assert {fingerprint for fingerprint, _ in load.ended} == set(fingerprints)


def test_an_alias_does_not_load_the_model_again(open_server: Open, models: Path) -> None:
    with open_server(entry(models, "llama_cpp"), data=models) as server:
        before = model_of(server, "tiny")
        answer = server.edit(entry(models, "llama_cpp", aliases=["small"], temperature=0.5))
        assert (answer.status_code, answer.json()["loaded"]) == (200, [])
        after = model_of(server, "small")
        assert after.engine is before.engine
        assert (after.temperature, after.aliases, after.created) == (0.5, ("small",), before.created)
        assert server.config()["models"][0]["aliases"] == ["small"]
        assert server.edit(entry(models, "llama_cpp")).status_code == 200
        assert server.say("small").status_code == 404
        assert model_of(server, "tiny").engine is before.engine


def test_adapters_come_and_go_without_the_model(open_server: Open, models: Path, tmp_path: Path) -> None:
    kind, curt = (make_adapter(tmp_path / name, seed) for seed, name in enumerate(("kind", "curt")))
    bad = make_adapter(tmp_path / "bad", 3, targets=("q_proj",), size=0.0)
    first = [{"name": "kind", "path": "kind", "scale": 0.5}]
    data = tmp_path / "data"
    with open_server(entry(models, "llama_cpp", adapters=first), data=data) as server:
        engine = model_of(server, "tiny").engine
        assert server.names() == ["tiny", "tiny:kind"]
        assert server.http.get("/v1/adapters/kind").json()["scale"] == 0.5
        both = [{"name": "kind", "path": str(kind)}, {"name": "curt", "path": str(curt), "pin": True}]
        answer = server.edit(entry(models, "llama_cpp", adapters=both))
        assert answer.status_code == 200, answer.text
        assert server.names() == ["tiny", "tiny:kind", "tiny:curt"]
        assert server.http.get("/v1/adapters/kind").json()["scale"] == 1

        refused = [*both, {"name": "late", "path": "late"}, {"name": "bad", "path": str(bad)}]
        make_adapter(tmp_path / "late", 7)
        answer = server.edit(entry(models, "llama_cpp", adapters=refused))
        assert answer.status_code == 400
        assert "no" in answer.json()["error"]["message"]
        wait_for(lambda: server.names() == ["tiny", "tiny:kind", "tiny:curt"])

        assert server.edit(entry(models, "llama_cpp", adapters=both[1:])).status_code == 200
        wait_for(lambda: server.names() == ["tiny", "tiny:curt"])
        assert model_of(server, "tiny").engine is engine
        assert server.say("tiny:curt", max_tokens=2).status_code == 200


def test_adapters_of_the_file_are_there_when_the_engine_is_switched(
    open_server: Open, models: Path, tmp_path: Path
) -> None:
    prepared(models, "fp32")
    make_adapter(tmp_path / "kind", 1)
    # An id of its own: the folder of data is shared, and adapters are kept there.
    more: dict[str, Any] = {"id": "switched", "adapters": [{"name": "kind", "path": "kind"}]}
    with open_server(entry(models, "llama_cpp", **more), data=models) as server:
        assert server.edit(entry(models, "onnx", **more)).status_code == 200
        assert server.names() == ["switched", "switched:kind"]
        assert server.say("switched:kind", max_tokens=2).json()["model"].startswith("switched:kind@")


def test_models_come_and_go(open_server: Open) -> None:
    more = {"id": "second", "engine": "echo", "context": 512}
    with open_server(ECHO) as server:
        kept = model_of(server, "first").engine
        assert server.edit({"models": [more, *ECHO["models"]], "embeddings": True}).status_code == 200
        assert server.names() == ["second", "first", "all-minilm-l6-v2"]
        vectors = {"model": "all-minilm-l6-v2", "input": "text"}
        assert server.http.post("/v1/embeddings", json=vectors).status_code == 200
        assert server.edit(ECHO).status_code == 200
        assert server.names() == ["first"]
        assert server.say("second").status_code == 404
        assert server.http.post("/v1/embeddings", json=vectors).status_code == 404
        assert model_of(server, "first").engine is kept


def rename(path: Path, content: str) -> None:
    replace_file(path, content)


def rewrite(path: Path, content: str) -> None:
    path.write_text(content)


def link(path: Path, content: str) -> None:
    """As Kubernetes shows a ConfigMap."""
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.yaml").write_text(content)
    beside = path.with_name("link")
    beside.symlink_to(elsewhere / "x.yaml")
    beside.replace(path)


@pytest.mark.parametrize("write", [rename, rewrite, link])
def test_an_edit_is_followed_by_itself(open_server: Open, write: Callable[[Path, str], None]) -> None:
    with open_server(ECHO) as server:
        write(
            server.path, yaml.safe_dump({"models": [{"id": "other", "engine": "echo"}], "embeddings": False})
        )
        wait_for(lambda: server.names() == ["other"])
        server.write("models: [")
        wait_for(lambda: server.config()["refused"] is not None)
        assert server.names() == ["other"]


def test_what_an_edit_changed_is_told(tmp_path: Path) -> None:
    """Without a server, whose watch may be faster."""
    path, catalog = tmp_path / "models.yaml", Catalog()
    reloader = Reloader(Settings(config=path, backend="echo", embeddings=False), catalog, Observer(), print)
    told = []
    for models in (
        [{"id": "a"}, {"id": "b"}, {"id": "c"}],
        [{"id": "a", "aliases": ["x"]}, {"id": "b", "context": 512}, {"id": "d"}],
        [{"id": "d"}, {"id": "a", "aliases": ["x"]}, {"id": "b", "context": 512}],
    ):
        replace_file(path, yaml.safe_dump({"models": models}))
        told.append(reloader.load().card())
    nothing: dict[str, list[str]] = {"loaded": [], "updated": [], "removed": [], "unchanged": []}
    assert told == [
        {**nothing, "loaded": ["a", "b", "c"]},
        {"loaded": ["b", "d"], "updated": ["a"], "removed": ["c"], "unchanged": []},
        {**nothing, "unchanged": ["d", "a", "b"]},
    ]
    assert [card.id for card in catalog.all()] == ["d", "a", "b"]
    reloader.close()
    catalog.close()


def test_the_last_of_many_edits_wins(open_server: Open) -> None:
    with open_server(ECHO) as server:
        for context in range(100, 130):
            models = [{"id": "first", "engine": "echo", "context": context}]
            server.write({"models": models, "embeddings": False})
        wait_for(lambda: server.config()["models"][0]["context"] == 129)
        wait_for(lambda: not server.config()["draining"])
        assert len(server.app.state.catalog.engines()) == 1


def test_uses_close_when_nobody_holds_them() -> None:
    uses = Uses()
    assert uses.begin()
    assert not uses.close(0)
    assert uses.begin()
    uses.end()
    uses.end()
    assert uses.close(0)
    assert not uses.begin()
    assert uses.close(0)
