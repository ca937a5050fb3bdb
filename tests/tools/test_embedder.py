"""The client of the embeddings service, against servers that behave and servers that do not."""

import asyncio
import math
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.tools.embeddings import EmbeddingsService
from tools.errors import EmbeddingsUnavailable
from tools.rag.embedder import Embedder, cosine
from tools.settings import Settings


def embedder(app: Starlette, **settings: float) -> Embedder:
    keyed = Settings.model_validate({"llm_api_key": "k", **settings})
    return Embedder(keyed, httpx.ASGITransport(app))


def answering(response: Response) -> Starlette:
    async def answer(_: Request) -> Response:
        return response

    return Starlette(routes=[Route("/v1/embeddings", answer, methods=["POST"])])


@pytest.fixture
async def service() -> AsyncIterator[Embedder]:
    made = embedder(EmbeddingsService().app)
    yield made
    await made.aclose()


async def test_vectors_have_length_one_and_tell_texts_apart(service: Embedder) -> None:
    leave, also_leave, travel = await service.embed(
        ["sick leave hours", "hours of sick leave", "book a flight"]
    )
    assert math.isclose(cosine(leave, leave), 1.0)
    assert cosine(leave, also_leave) > cosine(leave, travel)
    assert await service.embed_question("sick leave hours") == leave


@pytest.mark.parametrize(("says", "kinds"), [(True, ["query", "passage"]), (False, [None, None])])
async def test_texts_are_called_what_they_are_where_it_is_wanted(says: bool, kinds: list[str | None]) -> None:
    seen: list[str | None] = []

    async def answer(request: Request) -> Response:
        seen.append((await request.json()).get("input_type"))
        return JSONResponse({"data": [{"index": 0, "embedding": [3.0, 4.0]}]})

    app = Starlette(routes=[Route("/v1/embeddings", answer, methods=["POST"])])
    made, plain = embedder(app, embedding_input_type=says), embedder(app)
    assert await made.embed_question("How long?") == [0.6, 0.8]
    assert await made.embed(["A month."]) == [[0.6, 0.8]]
    assert seen == kinds
    # Vectors with prefixes and without are not for one index.
    assert (made.identity(2) == plain.identity(2)) is not says
    await made.aclose()
    await plain.aclose()


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (JSONResponse({"error": {}}, status_code=503), "status 503"),
        (JSONResponse({"error": {}}, status_code=401), "status 401"),
        (PlainTextResponse("<html>"), "does not answer"),
        (JSONResponse({"data": []}), "1 texts were sent, 0 vectors came back"),
        (JSONResponse({"data": [{"index": 0}]}), "unknown form"),
        (JSONResponse({"data": [{"index": 0, "embedding": []}]}), "unknown form"),
        (JSONResponse([1]), "unknown form"),
    ],
)
async def test_whatever_else_is_answered_means_no_vectors(response: Response, says: str) -> None:
    client = embedder(answering(response))
    with pytest.raises(EmbeddingsUnavailable, match=says):
        await client.embed(["x"])
    await client.aclose()


async def test_nobody_listening_means_no_vectors() -> None:
    client = Embedder(Settings(llm_url="http://127.0.0.1:1/v1"))
    with pytest.raises(EmbeddingsUnavailable, match="does not answer"):
        await client.embed_question("x")
    await client.aclose()


async def test_a_question_does_not_wait_behind_batches(service: Embedder) -> None:
    async with service.batches:
        assert await asyncio.wait_for(service.embed_question("sick leave"), 20)
