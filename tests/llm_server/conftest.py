"""A tiny random model, converted once a test run, and servers on loopback."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from filelock import FileLock

from llm_server.app import create_app
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.convert.files import publish
from llm_server.convert.gguf import quantise
from llm_server.convert.prepare import prepare_chat
from llm_server.settings import Settings
from tests.llm_server.tiny import FIM, SPECIALS, THOUGHTS, make_tiny
from tests.llm_server.walking import Walker

ADMIN, USER = "admin-key-of-the-tests", "user-key-of-the-tests"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder shared by all workers of this run: `tiny/` and prepared files."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "llm-models"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "tiny" / "config.json").is_file():
            make_tiny(folder / "tiny")
    return folder


@pytest.fixture(scope="session")
def tiny(models: Path) -> Callable[[str], Path]:
    """GGUF of the tiny model in a quantisation."""

    def prepared(kind: str) -> Path:
        with FileLock(models / "lock"):
            full = prepare_chat(str(models / "tiny"), models, "f32").path
            path = models / f"tiny-{kind}.gguf"
            if kind != "f32" and not path.is_file():
                publish(path, lambda part: quantise(full, part, kind))
            return full if kind == "f32" else path

    return prepared


@pytest.fixture(scope="session")
def coder(models: Path) -> Path:
    """GGUF of a tiny model whose tokenizer has tokens for filling in the middle and for thoughts."""
    with FileLock(models / "lock"):
        folder = models / "coder"
        if not (folder / "config.json").is_file():
            make_tiny(folder, specials=[*SPECIALS, *FIM, *THOUGHTS])
        return prepare_chat(str(folder), models, "f16").path


@pytest.fixture
def backend(tiny: Callable[[str], Path]) -> Iterator[LlamaBackend]:
    """The tiny model in full precision."""
    loaded = LlamaBackend(tiny("f32"), LlamaOptions(running=8, threads=1, float32_cache=True))
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def walker(tiny: Callable[[str], Path]) -> Iterator[Walker]:
    """Walks through grammars."""
    loaded = LlamaBackend(tiny("f16"), LlamaOptions(threads=1, context=64))
    yield Walker(loaded)
    loaded.close()


@contextmanager
def serving(settings: Settings, extend: Callable[[FastAPI], None] | None = None) -> Iterator[str]:
    """A real server in a thread; its base URL once it is healthy. `extend` may add models then."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        for _ in range(600):
            if app.state.status.error is not None:
                raise app.state.status.error
            try:
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        if extend is not None:
            extend(app)
        yield url
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def echo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on the echo backend that asks for keys."""
    data = tmp_path_factory.mktemp("data")
    with serving(Settings(backend="echo", data=data, api_key=USER, admin_key=ADMIN, slots=2, queue=2)) as url:
        yield url


@pytest.fixture(scope="module")
def tiny_url(models: Path, tiny: Callable[[str], Path]) -> Iterator[str]:
    """A server on the tiny model, without embeddings."""
    settings = Settings(model=str(tiny("f16")), data=models, embeddings=False, threads=1, temperature=0)
    with serving(settings) as url:
        yield url


@pytest.fixture
def echo(echo_url: str) -> Iterator[openai.OpenAI]:
    """The openai client on the echo server."""
    with openai.OpenAI(base_url=f"{echo_url}/v1", api_key=USER, max_retries=0) as client:
        yield client


@pytest.fixture
def client(tiny_url: str) -> Iterator[openai.OpenAI]:
    """The openai client on the tiny model."""
    with openai.OpenAI(base_url=f"{tiny_url}/v1", api_key="none", max_retries=0) as client:
        yield client
