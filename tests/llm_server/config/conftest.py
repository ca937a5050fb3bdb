"""A running server whose file of models is edited."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI

from llm_server.settings import Settings
from tests.llm_server.conftest import serving


def replace_file(path: Path, content: str | bytes) -> None:
    """As editors do: write beside it, then rename."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside.replace(path)


@dataclass
class Edited:
    """A server and its file."""

    path: Path
    app: FastAPI
    http: httpx.Client

    def write(self, content: Any) -> None:
        """Put another file there; a value is written as YAML."""
        replace_file(self.path, content if isinstance(content, str | bytes) else yaml.safe_dump(content))

    def edit(self, content: Any) -> httpx.Response:
        """The same, and have it followed."""
        self.write(content)
        return self.http.post("/admin/reload")

    def config(self) -> dict[str, Any]:
        """What is in force."""
        answer: dict[str, Any] = self.http.get("/admin/config").json()
        return answer

    def say(self, model: str, text: str = "hello there", **more: Any) -> httpx.Response:
        """One chat."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.http.post("/v1/chat/completions", json=body)

    def names(self) -> list[str]:
        """Ids that are listed."""
        return [card["id"] for card in self.http.get("/v1/models").json()["data"]]


Open = Callable[..., Any]


@contextmanager
def edited(path: Path, data: Path, content: Any, **settings: Any) -> Iterator[Edited]:
    """A server that follows `path`, which says `content` at first."""
    replace_file(path, content if isinstance(content, str | bytes) else yaml.safe_dump(content))
    apps: list[FastAPI] = []
    options = {"backend": "echo", "threads": 1, "data": data, **settings}
    with (
        serving(Settings(config=path, **options), apps.append) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        yield Edited(path, apps[0], http)


@pytest.fixture
def open_server(tmp_path: Path) -> Open:
    """Servers on a file of this test."""

    def opened(content: Any, data: Path | None = None, **settings: Any) -> Any:
        return edited(tmp_path / "models.yaml", data or tmp_path / "data", content, **settings)

    return opened
