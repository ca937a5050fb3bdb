"""Servers that are killed while adapters are written, and disks that are full: the state before, or the one
after.
"""

import json
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from filelock import FileLock

from llm_server.convert.prepare import prepare_chat
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.processes import process

HI: Any = [{"role": "user", "content": "hello"}]


@dataclass
class Running:
    """A server on the tiny model and its folder of adapters."""

    server: "subprocess.Popen[str]"
    http: httpx.Client
    folder: Path

    def load(self, name: str, source: Path, **more: Any) -> httpx.Response:
        body = {"name": name, "source": str(source), **more}
        return self.http.post("/v1/adapters?wait=true", json=body)

    def card(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/adapters/{name}").json()
        return found

    def names(self) -> list[str]:
        return [card["name"] for card in self.http.get("/v1/adapters").json()["data"]]

    def says(self, name: str) -> str:
        body = {"model": name, "messages": HI, "max_tokens": 8}
        answer = self.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    def written(self) -> Any:
        """What adapters.json says; whole at any time."""
        return json.loads((self.folder / "adapters.json").read_text())["adapters"]

    def kill(self) -> None:
        """As the kernel does it when there is no memory left."""
        self.server.kill()
        self.server.wait()

    def limit(self, size: int) -> None:
        """No file of the server, or of the programs beside it, grows beyond so many bytes."""
        server = psutil.Process(self.server.pid)
        for one in (server, *server.children(recursive=True)):
            resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


Start = Callable[[], Any]


@pytest.fixture
def start(models: Path, tmp_path: Path) -> Start:
    """Servers one after the other on the same data."""
    with FileLock(models / "lock"):
        # Converted once for all tests: a server of its own data would do it again.
        prepared = prepare_chat(str(models / "tiny"), models, "f32")
    data = tmp_path / "data"
    data.mkdir()
    (data / prepared.path.name).hardlink_to(prepared.path)
    environment = {
        "LLM_MODEL": str(models / "tiny"),
        "LLM_QUANTISATION": "f32",
        "LLM_DATA": str(data),
        "LLM_ADAPTER_FOLDERS": str(tmp_path),
        "LLM_EMBEDDINGS": "false",
        "LLM_TEMPERATURE": "0",
    }

    @contextmanager
    def started() -> Iterator[Running]:
        with process(environment) as (server, url), httpx.Client(base_url=url, timeout=120) as http:
            yield Running(server, http, data / "adapters" / "tiny")

    return started


def first(folder: Path, pattern: str) -> None:
    """Wait for a file."""
    for _ in range(100_000):
        if folder.is_dir() and any(folder.glob(pattern)):
            return
        time.sleep(0.001)
    pytest.fail(f"{pattern} never came")


@pytest.mark.parametrize("moment", [".*.gguf.*.part", "*.gguf", "*adapters.json*"])
def test_a_server_killed_while_it_loads(start: Start, tmp_path: Path, moment: str) -> None:
    """While the adapter is written, when it is there, and while its name is written or just has been."""
    source = make_adapter(tmp_path / "a", 1, rank=64)
    with start() as running:
        body = {"name": "a", "source": str(source)}
        assert running.http.post("/v1/adapters", json=body).status_code == 202
        first(running.folder, moment)
        running.kill()
    with start() as running:
        assert not list(running.folder.glob(".*.part"))
        assert running.names() in ([], ["a"])
        for name in running.names():
            assert running.card(name)["versions"][0]["state"] == "evicted"
        assert running.load("a", source).status_code == 201
        assert running.names() == ["a"]
        assert running.written()["a"]["aliases"] == {"stable": running.card("a")["versions"][0]["id"]}
        assert running.says("a") != running.says("tiny")


def test_a_server_killed_while_it_promotes(start: Start, tmp_path: Path) -> None:
    """What was answered is written; what was not may be either."""
    with start() as running:
        ids = [running.load("a", make_adapter(tmp_path / f"a{seed}", seed)).json()["id"] for seed in range(2)]
    for seconds in (0.05, 0.2, 0.7):
        with start() as running:
            promised, wanted = promoting_until_killed(running, ids, seconds)
        with start() as running:
            aliases = running.card("a")["aliases"]
            assert aliases["stable"] in (promised, wanted)
            assert aliases == running.written()["a"]["aliases"]
            assert {v["id"] for v in running.card("a")["versions"]} == set(ids)
            assert running.says("a")


def promoting_until_killed(running: Running, ids: list[str], seconds: float) -> tuple[str, str]:
    """Move `stable` to and fro; the last version that was answered, and the one that was asked for after."""
    promised = wanted = running.card("a")["aliases"]["stable"]
    killer = threading.Timer(seconds, running.server.kill)
    killer.start()
    for turn in range(1_000_000):
        wanted = ids[turn % 2]
        try:
            answer = running.http.post("/v1/adapters/a:promote", json={"version": wanted})
        except httpx.TransportError:
            break
        promised = answer.json()["aliases"]["stable"]
    killer.join()
    running.server.wait()
    return promised, wanted


def test_a_full_disk_leaves_everything_as_it_was(start: Start, tmp_path: Path) -> None:
    """Of the file of names, of a converted adapter and of one that is copied; then there is room again."""
    with start() as running:
        ids = [running.load("a", make_adapter(tmp_path / f"a{seed}", seed)).json()["id"] for seed in range(2)]
        before, written, said = running.card("a"), running.written(), running.says("a")
        running.limit(64)
        for method, path, body in (
            ("POST", "/v1/adapters/a:promote", {"version": ids[1]}),
            ("PATCH", "/v1/adapters/a", {"scale": 0.5, "pinned": True}),
            ("DELETE", f"/v1/adapters/a@{ids[1]}", None),
            ("DELETE", "/v1/adapters/a", None),
        ):
            refused = running.http.request(method, path, json=body)
            assert refused.status_code == 500, refused.text
            error = refused.json()["error"]
            assert (error["code"], error["param"]) == ("preparation_failed", None)
            assert f"Cannot write {running.folder / 'adapters.json'}: File too large" in error["message"]
            now = running.card("a")
            assert (now["aliases"], now["scale"], now["pinned"]) == (before["aliases"], 1, False)
            assert [v["state"] for v in now["versions"]] == ["ready", "ready"]
            assert (running.written(), running.says("a")) == (written, said)
        there = sorted(running.folder.iterdir())
        converted, copied = make_adapter(tmp_path / "b", 3), tmp_path / "c.gguf"
        copied.write_bytes(next(running.folder.glob("*.gguf")).read_bytes())
        for size in (64, 20_000):
            running.limit(size)
            for source in (converted, copied):
                refused = running.load("b", source)
                assert refused.status_code == 500, refused.text
                assert f"Cannot write {running.folder}" in refused.json()["error"]["message"]
        assert sorted(running.folder.iterdir()) == there
        assert running.written() == written
        assert running.says("a") == said
        running.limit(resource.RLIM_INFINITY)
        for name, source in (("b", converted), ("c", copied)):
            loaded = running.load(name, source)
            assert loaded.status_code == 201, loaded.text
        assert running.http.post("/v1/adapters/a:promote", json={"version": ids[1]}).status_code == 200
        assert running.says("a") != said
        assert set(running.written()) == {"a", "b", "c"}


def test_a_name_that_cannot_be_written_is_not_registered(start: Start, tmp_path: Path) -> None:
    """The adapter itself fits on the disk, the longer file of names does not."""
    with start() as running:
        size = 0
        for number in range(40):
            # The names outgrow the adapter, which has one matrix of rank one.
            one = make_adapter(tmp_path / f"x{number}", number, rank=1, targets=("k_proj",))
            assert running.load(f"x{number}", one).status_code == 201
            size = max(file.stat().st_size for file in running.folder.glob("*.gguf"))
            if (running.folder / "adapters.json").stat().st_size > size + 100:
                break
        names, there, written = running.names(), sorted(running.folder.iterdir()), running.written()
        running.limit((running.folder / "adapters.json").stat().st_size)
        refused = running.load("y", make_adapter(tmp_path / "y", 99, rank=1, targets=("k_proj",)))
        assert refused.status_code == 500, refused.text
        assert "adapters.json: File too large" in refused.json()["error"]["message"]
        assert running.card("y")["versions"][0]["state"] == "failed"
        assert running.card("y")["versions"][0]["bytes"] == 0
        assert sorted(running.folder.iterdir()) == there
        assert running.written() == written
        models = [model["id"] for model in running.http.get("/v1/models").json()["data"]]
        assert models == ["tiny", *(f"tiny:{name}" for name in names)]


def test_a_file_of_names_that_is_broken_is_said(start: Start, models: Path) -> None:
    with start() as running:
        file = running.folder / "adapters.json"
    file.write_text('{"format": 1, "adapt')
    with pytest.raises(AssertionError, match="cannot be read"), start():
        pass
    assert file.read_text() == '{"format": 1, "adapt'
