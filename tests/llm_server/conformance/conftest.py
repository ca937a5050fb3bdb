"""One server for all clients: the echo, its embeddings, a tiny random model and one that breaks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from fastapi import FastAPI

from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.engine.observer import Observer
from llm_server.load import chat_model
from llm_server.settings import Settings
from tests.llm_server.conformance.calls import Calls, Server
from tests.llm_server.conftest import USER, serving
from tests.llm_server.failing import FailingBackend

LIMITED = [
    {"name": "vectors", "key": "vectors-only", "models": ["all-*"]},
    {"name": "single", "key": "one-at-a-time", "max_concurrent": 1},
]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, coder: Path) -> Iterator[Server]:
    """Bodies of at most one megabyte."""
    data = tmp_path_factory.mktemp("conformance")
    (data / "keys.yaml").write_text(yaml.safe_dump(LIMITED))
    settings = Settings(
        backend="echo", data=data, api_key=USER, keys_file=data / "keys.yaml", max_body_mb=1, temperature=0
    )

    def extend(app: FastAPI) -> None:
        tiny = LlamaBackend(coder, LlamaOptions(running=4, threads=1))
        app.state.catalog.add(chat_model("tiny", tiny, settings, Observer()))
        app.state.catalog.add(chat_model("failing", FailingBackend(), settings, Observer()))

    with serving(settings, extend) as url:
        yield Server(url, USER)


@pytest.fixture(params=["sync", "async"])
def calls(server: Server, request: pytest.FixtureRequest) -> Calls:
    """The openai client in both of its forms."""
    return Calls(server, asynchronous=request.param == "async")


@pytest.fixture
def keyed(server: Server, calls: Calls) -> Callable[[str], Calls]:
    """The same with another key."""
    return lambda key: Calls(Server(server.url, key), asynchronous=calls.asynchronous)
