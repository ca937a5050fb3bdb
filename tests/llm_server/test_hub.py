"""Downloads from a hub, a server on loopback: whole, resumed, checked, or refused with a remedy."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_server.convert.hub import download
from llm_server.errors import PreparationFailed

COMMIT = "c0ffee" + "0" * 34
WEIGHTS = bytes(range(256)) * 96_000
"""More than twice what huggingface_hub writes at once."""
FILES = {
    "config.json": b'{"model_type": "tiny"}',
    "model.safetensors": WEIGHTS,
    "README.md": b"# A model",
    "../../outside.json": b"{}",
    "small.gguf": b"GGUF" * 100,
}


@dataclass
class Hub:
    """What is served, and what was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    cut_after: int | None = None
    """Bytes of a file after which the connection breaks, once."""
    then_fail: bool = False
    """Whether it refuses everything after that."""
    failing: bool = False
    code: tuple[int, str] | None = None
    """Status and X-Error-Code of every answer about the model."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Names of files with the range that was wanted."""


def card(name: str, content: bytes) -> dict[str, Any]:
    """How the hub lists a file: large ones by SHA-256, the others by git's object id."""
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    listed: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git}
    if name.endswith((".safetensors", ".gguf")):
        sha256 = hashlib.sha256(content).hexdigest()
        listed["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
        listed["blobId"] = "0" * 40
    return listed


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    listing = {name: card(name, content) for name, content in FILES.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if hub.failing:
                self.answer(500, b"")
            elif path == "/api/models/owner/model":
                code, name = hub.code or (200, "")
                body = {"id": "owner/model", "sha": COMMIT, "siblings": list(listing.values())}
                self.answer(code, json.dumps(body).encode(), {"X-Error-Code": name} if name else {})
            else:
                self.file(path.partition(f"/owner/model/resolve/{COMMIT}/")[2])

        def file(self, name: str) -> None:
            wanted = self.headers.get("Range")
            hub.asked.append((name, wanted))
            content = hub.files[name]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            body = content[start:]
            ranges = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if wanted else {}
            if hub.cut_after is not None and len(body) > hub.cut_after:
                cut, hub.cut_after = hub.cut_after, None
                hub.failing = hub.then_fail
                self.answer(206 if wanted else 200, body, ranges, cut)
                self.close_connection = True
                return
            self.answer(206 if wanted else 200, body, ranges)

        def answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:cut])

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_is_its_weights_and_settings(hub: Hub, tmp_path: Path) -> None:
    said: list[str] = []
    folder = download("owner/model", tmp_path / "hub", said.append, hub.url)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        name: FILES[name] for name in ("config.json", "model.safetensors")
    }
    assert [name for name, _ in hub.asked] == ["config.json", "model.safetensors"]
    assert said[0] == "Downloading owner/model"
    assert said[-1] == "Downloading owner/model: 100% of 24.6 MB"
    assert len(said) <= 12
    assert not list(tmp_path.rglob("outside.json"))
    assert download("owner/model", tmp_path / "hub", said.append, hub.url) == folder
    assert len(hub.asked) == 2


def test_one_file_of_a_model(hub: Hub, tmp_path: Path) -> None:
    path = download("owner/model:small.gguf", tmp_path, lambda text: None, hub.url)
    assert (path.name, path.read_bytes()) == ("small.gguf", FILES["small.gguf"])
    with pytest.raises(PreparationFailed, match=r"has no other\.gguf; it has .*small\.gguf"):
        download("owner/model:other.gguf", tmp_path, lambda text: None, hub.url)


def test_a_broken_connection_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = 15_000_000
    folder = download("owner/model", tmp_path, lambda text: None, hub.url)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    (name, first), (again, wanted) = hub.asked[-2:]
    assert (name, first, again) == ("model.safetensors", None, "model.safetensors")
    assert wanted is not None
    assert wanted.startswith("bytes=")


def test_the_next_start_goes_on_where_the_last_one_ended(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.then_fail = 15_000_000, True
    with pytest.raises(PreparationFailed, match=r"owner/model could not be downloaded.*kept"):
        download("owner/model", tmp_path, lambda text: None, hub.url)
    (part,) = tmp_path.rglob("*.part")
    there = part.stat().st_size
    assert 0 < there <= 15_000_000
    hub.failing, hub.asked = False, []
    folder = download("owner/model", tmp_path, lambda text: None, hub.url)
    assert hub.asked == [("model.safetensors", f"bytes={there}-")]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_arrives_damaged_is_refused_and_not_kept(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files[name] = bytes(len(FILES[name]))
    with pytest.raises(PreparationFailed, match=f"{name} arrived damaged"):
        download("owner/model", tmp_path, lambda text: None, hub.url)
    assert not list(tmp_path.rglob("*.part"))
    hub.files[name] = FILES[name]
    assert (download("owner/model", tmp_path, lambda text: None, hub.url) / name).read_bytes() == FILES[name]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ((401, "RepoNotFound"), "Check the name, or set HF_TOKEN"),
        ((403, "GatedRepo"), "accept its terms at .*/owner/model"),
        ((500, ""), "start again later"),
    ],
)
def test_a_refusal_of_the_hub_names_the_remedy(
    hub: Hub, tmp_path: Path, code: tuple[int, str], remedy: str
) -> None:
    hub.code = code
    with pytest.raises(PreparationFailed, match=rf"owner/model could not be downloaded: .*{remedy}"):
        download("owner/model", tmp_path, lambda text: None, hub.url)


def test_what_was_downloaded_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    folder = download("owner/model", tmp_path, lambda text: None, hub.url)
    closed = "http://127.0.0.1:9"
    assert download("owner/model", tmp_path, lambda text: None, closed) == folder
    with pytest.raises(PreparationFailed, match=r"owner/other could not be downloaded.*--local-dir"):
        download("owner/other", tmp_path, lambda text: None, closed)
    with pytest.raises(PreparationFailed, match=r"owner/model:small\.gguf could not be downloaded"):
        download("owner/model:small.gguf", tmp_path, lambda text: None, closed)
