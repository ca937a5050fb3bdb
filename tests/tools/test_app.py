"""The tools service over HTTP, as the gateway uses it."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp import Client

from tests.tools.contexts import KEY, mint
from tests.tools.embeddings import EmbeddingsService
from tests.tools.serving import serving
from tests.tools.waiting import text_of, until
from tools.app import create_app
from tools.errors import SettingsError
from tools.settings import Settings

MODEL_FACING = {"rag_search", "rag_documents", "sql_query", "sql_describe", "sql_values"}
OPERATOR = {"rag_ingest", "rag_delete", "rag_page", "rag_chunks", "sql_test"}
BOTH = ("tools:call", "tools:admin")


@pytest.fixture
def service(settings: Settings) -> Iterator[str]:
    keyed = Settings(**{**settings.model_dump(), "context_key": KEY})
    with serving(create_app(keyed)) as address:
        yield f"{address}/mcp"


def shop_database(path: Path) -> dict[str, str]:
    return {"name": "shop", "url": f"sqlite:///{path}"}


async def call(client: Client[Any], tool: str, /, **arguments: object) -> tuple[bool, str, Any]:
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    return not result.is_error, text_of(result), result.structured_content


async def test_health_needs_no_context(service: str) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(service.replace("/mcp", "/health"))
    assert response.json() == {"status": "ok"}


@pytest.mark.parametrize(
    "context",
    [
        None,
        "nonsense",
        mint(key="00" * 32),
        mint(aud="llm_server"),
        mint(iss="somebody"),
        mint(lifetime=-1),
        mint(project=""),
        mint(scopes=["tools:admin"]),
        mint(scopes=[]),
    ],
)
async def test_without_a_valid_context_nothing_is_answered(service: str, context: str | None) -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    if context is not None:
        headers["Authorization"] = f"Bearer {context}"
    async with httpx.AsyncClient() as client:
        response = await client.post(
            service, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=headers
        )
    assert response.status_code in (401, 403)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("scopes", "listed"), [(("tools:call",), MODEL_FACING), (BOTH, MODEL_FACING | OPERATOR)]
)
async def test_what_is_listed_is_what_can_be_called(
    service: str, mode: str, scopes: tuple[str, ...], listed: set[str]
) -> None:
    async with Client(service, auth=mint(scopes=list(scopes)), mode=mode) as client:
        assert {tool.name for tool in await client.list_tools()} == listed
        for name in MODEL_FACING | OPERATOR:
            _, text, _ = await call(client, name, surprise=1)
            known = not text.startswith("There is no tool")
            assert known == (name in listed), text


async def test_tools_say_what_they_do(service: str) -> None:
    async with Client(service, auth=mint(scopes=list(BOTH))) as client:
        tools = {tool.name: tool for tool in await client.list_tools()}
    search = tools["rag_search"]
    assert search.description == "Search the project's documents for passages that answer a question."
    assert search.input_schema["properties"]["query"]["x-span"] is True
    assert search.input_schema["required"] == ["query"]
    assert tools["sql_describe"].input_schema["properties"]["table"]["x-span"] is True
    assert tools["sql_query"].input_schema["properties"]["database"]["type"] == "string"
    assert "project" not in str([tool.input_schema["properties"].keys() for tool in tools.values()])
    hints = {name: tool.annotations for name, tool in tools.items()}
    assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == (
        MODEL_FACING | OPERATOR
    ) - {
        "rag_ingest",
        "rag_delete",
    }
    assert hints["rag_delete"] is not None
    assert hints["rag_delete"].destructive_hint
    assert all(tool.output_schema for tool in tools.values())


async def test_a_document_from_upload_to_passage(service: str, settings: Settings) -> None:
    assert settings.uploads is not None
    upload = settings.uploads / "d1"
    upload.write_text(
        "# Leave\n\nFirst words.\n\n## Sick leave\n\nEmployees accrue four hours per pay period."
    )
    seen: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, phase: str | None) -> None:
        seen.append((done, total, phase))

    async with Client(service, auth=mint(scopes=list(BOTH)), progress_handler=progress) as client:
        done, text, taken = await call(
            client, "rag_ingest", document_id="d1", name="leave.md", path=str(upload)
        )
        assert done, text
        assert (taken["state"], taken["chunks"], taken["unchanged"]) == ("ready", 2, False)
        assert [phase for _, _, phase in seen] == ["parsing", "embedding", "publishing"]

        _, text, found = await call(client, "rag_search", query="How many hours per pay period?", top_k=1)
        assert text == "[1] leave.md > Leave > Sick leave\nEmployees accrue four hours per pay period."
        hit = found["hits"][0]
        assert (found["mode"], found["language"]) == ("hybrid", "en")
        assert (hit["n"], hit["document"], hit["title"], hit["page"]) == (1, "leave.md", "Leave", None)
        assert hit["scores"]["dense"] is not None

        _, text, page = await call(client, "rag_page", document_id="d1", start=hit["start"], end=hit["end"])
        assert page["text"] == hit["text"]
        assert page["section"] == "Leave > Sick leave"
        assert page["before"].endswith("Sick leave\n\n")
        assert page["total"] == page["end"]

        _, text, found = await call(client, "rag_chunks", document_id="d1")
        assert [chunk["chunk"] for chunk in found["chunks"]] == [0, 1]
        assert (found["chunks"][-1]["document"], found["chunks"][-1]["title"]) == ("d1", "Leave")
        assert hit["text"] in [chunk["text"] for chunk in found["chunks"]]
        assert "Leave > Sick leave" in [chunk["section"] for chunk in found["chunks"]]
        _, _, rest = await call(client, "rag_chunks", document_id="d1", after=0, limit=5)
        assert rest["chunks"] == found["chunks"][1:]
        assert (await call(client, "rag_chunks", document_id="d1", after=1))[1] == "No more passages."
        done, text, _ = await call(client, "rag_chunks", document_id="d9")
        assert (done, text) == (False, "There is no document d9 in this project.")

        assert (await call(client, "rag_documents"))[1] == "leave.md"
        assert (await call(client, "rag_search", query="zebra"))[1] != ""
        assert (await call(client, "rag_delete", document_id="d1"))[0]
        assert (await call(client, "rag_search", query="hours"))[1] == "No passage matches."
        assert (await call(client, "rag_documents"))[1] == "The project has no documents."
        _, text, _ = await call(client, "rag_page", document_id="d1", start=0, end=1)
        assert text == "There is no document d1 in this project."


async def test_a_project_is_that_of_the_context(service: str) -> None:
    content = base64.b64encode(b"Only the first project knows the word osprey.").decode()
    async with Client(service, auth=mint(project="one", scopes=list(BOTH))) as client:
        assert (await call(client, "rag_ingest", document_id="d", name="a.txt", content_base64=content))[0]
    async with Client(service, auth=mint(project="two")) as client:
        assert (await call(client, "rag_search", query="osprey"))[1] == "No passage matches."
    async with Client(service, auth=mint(project="one")) as client:
        assert "osprey" in (await call(client, "rag_search", query="osprey"))[1]


async def test_a_question_to_a_database(service: str, shop: Path) -> None:
    async with Client(service, auth=mint(databases=[shop_database(shop)])) as client:
        _, text, result = await call(
            client,
            "sql_query",
            sql="SELECT Country, COUNT(*) AS n FROM Customer GROUP BY 1 ORDER BY 2 DESC, 1",
        )
        assert text == "Country | n\nPortugal | 2\nNULL | 1\nThailand | 1\n(3 rows)"
        assert result["sql"].endswith("LIMIT 1001")
        assert result["rows"][0] == ["Portugal", 2]
        assert (result["row_count"], result["truncated"], result["database"]) == (3, False, "shop")

        _, text, described = await call(client, "sql_describe")
        assert "Album(AlbumId, Title, ArtistId > Artist.ArtistId)" in text.splitlines()
        assert described["databases"][0]["dialect"] == "sqlite"
        assert (await call(client, "sql_describe", table="artist"))[1] == "Artist(ArtistId, Name)"
        assert (await call(client, "sql_describe", table=None))[0]

        done, text, _ = await call(client, "sql_query", sql="SELECT Customer.Name FROM Customer")
        assert not done
        assert text.startswith("no such column: Customer.Name. Did you mean LastName? Columns of Customer:")
        for sql, database, says in (
            ("DELETE FROM Customer", None, "Only SELECT can run here"),
            ("SELECT 1", "shopp", "no such database: shopp. Did you mean shop?"),
        ):
            done, text, _ = await call(client, "sql_query", sql=sql, database=database)
            assert not done
            assert says in text


async def test_an_operator_tests_an_address(service: str, shop: Path, postgres_shop: str) -> None:
    databases = [
        shop_database(shop),
        {"name": "pg", "url": postgres_shop},
        {"name": "gone", "url": "postgresql://user:topsecret@127.0.0.1:1/x"},
        {"name": "odd", "url": "mysql://x/y"},
        {"name": "relative", "url": "sqlite:///shop.db"},
        {"name": "none", "url": "what is this"},
    ]
    async with Client(service, auth=mint(scopes=list(BOTH), databases=databases)) as client:
        assert (await call(client, "sql_test", database="shop"))[2] == {
            "name": "shop",
            "dialect": "sqlite",
            "tables": 6,
        }
        assert (await call(client, "sql_test", database="pg"))[2]["tables"] == 8
        for name, says in (
            ("gone", "does not answer"),
            ("odd", "use sqlite or postgresql"),
            ("relative", "absolute path"),
            ("none", "cannot be read"),
        ):
            done, text, _ = await call(client, "sql_test", database=name)
            assert not done
            assert says in text
            assert "topsecret" not in text


async def test_arguments_that_do_not_fit_are_named(service: str) -> None:
    async with Client(service, auth=mint()) as client:
        assert (await call(client, "rag_search", query="x", top_k=50))[1] == (
            "These arguments do not fit: top_k: input should be less than or equal to 20"
        )
        assert (await call(client, "rag_search"))[
            1
        ] == "These arguments do not fit: query: missing required argument"
        assert "There is no tool rag_ingest for this caller" in (await call(client, "rag_ingest"))[1]
        assert (await call(client, "sql_query", sql="SELECT 1"))[1].startswith(
            "This project has no database."
        )


async def test_a_client_that_goes_away_ends_its_work(service: str, embeddings: EmbeddingsService) -> None:
    text = "\n\n".join(f"## Part {n}\n\nSentence number {n} about travel." for n in range(1500))
    content = base64.b64encode(text.encode()).decode()
    async with Client(service, auth=mint(scopes=list(BOTH))) as client:
        arguments = {"document_id": "d", "name": "a.md", "content_base64": content}
        running = asyncio.create_task(client.call_tool("rag_ingest", arguments))
        await until(lambda: embeddings.requests >= 3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await call(client, "rag_documents"))[1] == "The project has no documents."
        # The project is free for the next document at once, and nothing of the first comes after it.
        assert (
            await call(client, "rag_ingest", document_id="e", name="b.txt", content_base64="SGVsbG8gdGhlcmUu")
        )[0]
        assert (await call(client, "rag_documents"))[1] == "b.txt"


def test_the_service_wants_a_key(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="TOOLS_CONTEXT_KEY is not set"):
        create_app(settings)
