"""The room as processes: each server alone, the service, its lock, and a kill in the middle."""

import asyncio
import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from tests.tools.contexts import KEY, mint
from tests.tools.embeddings import EmbeddingsService
from tests.tools.serving import free_port
from tests.tools.waiting import text_of, until
from tools.__main__ import main

BOTH = ["tools:call", "tools:admin"]
LONG = "\n\n".join(f"## Part {n}\n\nSentence number {n} about travel and leave." for n in range(500))


def environment(**settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TOOLS_")}
    return clean | {f"TOOLS_{name.upper()}": value for name, value in settings.items()}


def alone(*arguments: str) -> StdioTransport:
    return StdioTransport(sys.executable, ["-m", "tools", *arguments], env=environment())


@contextmanager
def service(data: Path, llm_url: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    settings = environment(
        port=str(port), data=str(data), context_key=KEY, llm_url=llm_url, retry_seconds="0.2"
    )
    process = subprocess.Popen([sys.executable, "-m", "tools", "serve"], env=settings, stderr=subprocess.PIPE)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield process, f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.communicate(timeout=20)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the service did not answer: {process.poll()}")


async def test_sql_alone_over_stdio(shop: Path) -> None:
    async with Client(alone("sql", "--database", f"shop=sqlite:///{shop}")) as client:
        assert {tool.name for tool in await client.list_tools()} == {"query", "describe", "values", "test"}
        result = await client.call_tool("query", {"sql": "SELECT COUNT(*) AS n FROM Album"})
        assert text_of(result) == "n\n4\n(1 row)"


async def test_rag_alone_over_stdio(tmp_path: Path) -> None:
    content = base64.b64encode(b"The osprey nests on the mast.").decode()
    async with Client(alone("rag", "--project", "birds", "--data", str(tmp_path / "d"))) as client:
        await client.call_tool("ingest", {"document_id": "1", "name": "a.txt", "content_base64": content})
        result = await client.call_tool("search", {"query": "osprey"})
        assert text_of(result) == "[1] a.txt\nThe osprey nests on the mast."


@asynccontextmanager
async def alone_over_http(*arguments: str) -> AsyncIterator[Client[Any]]:
    port = free_port()
    command = ["-m", "tools", *arguments, "--http", str(port)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment())
    try:
        await until(lambda: listens(port) or process.returncode is not None)
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def test_sql_alone_over_http(shop: Path) -> None:
    async with alone_over_http("sql", "--database", f"shop=sqlite:///{shop}") as client:
        result = await client.call_tool("query", {"sql": "SELECT 1 AS one"})
    assert text_of(result) == "one\n1\n(1 row)"


async def test_rag_alone_over_http(tmp_path: Path) -> None:
    content = base64.b64encode(b"The osprey nests on the mast.").decode()
    async with alone_over_http("rag", "--project", "birds", "--data", str(tmp_path / "d")) as client:
        await client.call_tool("ingest", {"document_id": "1", "name": "a.txt", "content_base64": content})
        result = await client.call_tool("search", {"query": "osprey"})
    assert text_of(result) == "[1] a.txt\nThe osprey nests on the mast."


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run_here(monkeypatch: pytest.MonkeyPatch, arguments: list[str], **settings: str) -> int:
    """The command in this process, for what it refuses before it starts anything."""
    for name in [name for name in os.environ if name.startswith("TOOLS_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(f"TOOLS_{name.upper()}", value)
    return main(arguments)


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (["serve"], {}, "TOOLS_CONTEXT_KEY is not set"),
        (["serve"], {"context_key": "abc"}, "64 hex characters"),
        (["serve"], {"context_key": KEY, "prot": "1"}, "unknown settings: TOOLS_PROT"),
        (["sql", "--database", "nonsense"], {}, "--database wants NAME=URL"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said(
    arguments: list[str],
    settings: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_here(monkeypatch, arguments, **settings) == 2
    assert says in capsys.readouterr().err


def test_a_folder_and_a_port_have_one_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with service(tmp_path, "http://127.0.0.1:1/v1") as (first, address):
        assert run_here(monkeypatch, ["serve"], context_key=KEY, data=str(tmp_path)) == 2
        assert f"in use by process {first.pid}" in capsys.readouterr().err
        port = address.split(":")[2].split("/")[0]
        assert run_here(monkeypatch, ["serve"], context_key=KEY, data=str(tmp_path / "b"), port=port) == 2
        assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in capsys.readouterr().err


async def test_a_kill_in_the_middle_leaves_no_half_document(
    tmp_path: Path, embeddings: EmbeddingsService, embeddings_url: str
) -> None:
    async def taken(address: str, document_id: str, text: str) -> Any:
        async with Client(address, auth=mint(scopes=BOTH)) as client:
            content = base64.b64encode(text.encode()).decode()
            arguments = {"document_id": document_id, "name": f"{document_id}.md", "content_base64": content}
            return await client.call_tool("rag_ingest", arguments)

    with service(tmp_path, embeddings_url) as (process, address):
        await taken(address, "old", "# Old\n\nThe first version speaks of ospreys.")
        requests = embeddings.requests
        running = [asyncio.create_task(taken(address, name, LONG)) for name in ("old", "new")]
        await until(lambda: embeddings.requests >= requests + 5)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        assert all(
            isinstance(end, Exception) for end in await asyncio.gather(*running, return_exceptions=True)
        )
    with service(tmp_path, embeddings_url) as (_, address):
        async with Client(address, auth=mint(scopes=BOTH)) as client:
            documents = (await client.call_tool("rag_documents")).structured_content["documents"]
            assert [(d["document_id"], d["chunks"], d["state"]) for d in documents] == [("old", 1, "ready")]
            found = (
                await client.call_tool("rag_search", {"query": "travel and leave", "top_k": 20})
            ).structured_content
            assert {hit["document_id"] for hit in found["hits"]} <= {"old"}
        await taken(address, "new", LONG)
        async with Client(address, auth=mint()) as client:
            documents = (await client.call_tool("rag_documents")).structured_content["documents"]
            assert [(d["document_id"], d["chunks"], d["state"]) for d in documents] == [
                ("new", 500, "ready"),
                ("old", 1, "ready"),
            ]


async def test_waiting_documents_are_embedded_when_the_service_is_back(
    tmp_path: Path, embeddings: EmbeddingsService, embeddings_url: str
) -> None:
    embeddings.up = False
    content = base64.b64encode(b"The osprey nests on the mast.").decode()
    with service(tmp_path, embeddings_url) as (_, address):
        async with Client(address, auth=mint(scopes=BOTH)) as client:
            arguments = {"document_id": "d", "name": "a.txt", "content_base64": content}
            taken = (await client.call_tool("rag_ingest", arguments)).structured_content
            assert taken["state"] == "awaiting-embeddings"
        embeddings.up = True
        state = ""
        while state != "ready":
            await asyncio.sleep(0.1)
            async with Client(address, auth=mint()) as client:
                listed = (await client.call_tool("rag_documents")).structured_content
                state = listed["documents"][0]["state"]


DISK = """
import asyncio, base64, resource, sys
from pathlib import Path
from tools.errors import StorageError
from tools.rag.embedder import Embedder
from tools.rag.ingest import Source, ingest
from tools.rag.library import Library
from tools.settings import Settings

async def nobody(done, total, phase):
    pass

def take(library, document_id, text):
    content = base64.b64encode(text.encode()).decode()
    return ingest(library, "p", Source(document_id, "a.txt", content_base64=content), nobody)

async def main():
    settings = Settings(data=Path(sys.argv[1]), llm_url="http://127.0.0.1:1/v1")
    embedder = Embedder(settings)
    library = Library(settings, embedder)
    await take(library, "small", "The osprey nests on the mast.")
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    for text in ("One sentence about travel. " * 9000, "word " * 100_000):
        try:
            await take(library, "large", text)
        except StorageError as error:
            print(error)
    store = (await library.shelf("p")).store
    print([(d.id, d.chunks) for d in store.documents()], store.match("osprey", 5) != [])
    await embedder.aclose()

asyncio.run(main())
"""


def test_a_disk_that_takes_no_more_loses_nothing(tmp_path: Path) -> None:
    """The kernel refuses to let a file grow, as it does when the disk is full."""
    run = subprocess.run(
        [sys.executable, "-c", DISK, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr
    assert lines[-1] == "[('small', 1)] True"
    assert len(lines) == 3
    assert "cannot be" in lines[0]
    assert "File too large" in lines[1]
