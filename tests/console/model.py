"""The model of the console's tests: OpenAI's interface over HTTP, with answers that are known beforehand.

It is the scripted server of tests/graphs with vectors added, run in a thread: the browser holds the main one.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.graphs.model_server import ModelServer, Reply, forced_tool, last_user, serving

FACT = "Employees accrue 4 hours of sick leave every pay period."
SQL = (
    "SELECT Customer.Name, SUM(Orders.Total) AS total FROM Customer JOIN Orders "
    "ON Orders.CustomerId = Customer.CustomerId GROUP BY Customer.CustomerId ORDER BY total DESC LIMIT 5"
)
ARABIC = "الإجازة المرضية أربع ساعات."
MARKUP = (
    "Run **this**:\n\n```python\nprint('hello')\n```\n\n"
    "<img src=x onerror=\"document.title='owned'\"> [bad](javascript:alert(1)) ![leak](https://example.org/q.png)"
)
WORDS = 2000
DIMENSIONS = 384


class Model(ModelServer):
    """Adds `/v1/embeddings`: a bag of hashed words, so that texts with the same words are near each other."""

    def app(self) -> Starlette:
        app = super().app()
        app.router.routes.append(Route("/v1/embeddings", _embeddings, methods=["POST"]))
        return app


async def _embeddings(request: Request) -> Response:
    texts = (await request.json())["input"]
    texts = [texts] if isinstance(texts, str) else texts
    data = [{"object": "embedding", "index": n, "embedding": _vector(text)} for n, text in enumerate(texts)]
    return JSONResponse({"object": "list", "model": "words", "data": data, "usage": {}})


def _vector(text: str) -> list[float]:
    vector = [0.001] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1.0
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]


def script(body: dict[str, Any]) -> Reply:
    """What the model says to a request, by words of the question."""
    question = last_user(body)
    if body.get("response_format"):
        return Reply(json.dumps({"route": _route(question)}))
    tool = forced_tool(body)
    if tool == "rag_search":
        return Reply(calls=[("rag_search", {"query": question})])
    if tool == "sql_query":
        return Reply(calls=[("sql_query", {"sql": SQL})])
    return _answer(question, body)


def _route(question: str) -> str:
    if "customer" in question:
        return "database"
    return "documents" if "leave" in question else "neither"


def _answer(question: str, body: dict[str, Any]) -> Reply:
    if "customer" in question:
        return Reply("The top customer is Ada (30.5).")
    if "leave" in question:
        return Reply(f'The documents say: "{FACT}" [{_number(body)}]', pause=0.02)
    if "slowly" in question:
        return Reply(" ".join(f"word{n}" for n in range(WORDS)), pause=0.02)
    if "arabic" in question:
        return Reply(f"{ARABIC}\n\nThis is English.\n\n- {ARABIC}")
    if "markup" in question:
        return Reply(MARKUP)
    # Only who asks for a second answer names a seed.
    return Reply("Hello to you too." if "seed" in body else "Hello.")


def _number(body: dict[str, Any]) -> int:
    """The number under which the passage with the fact was found."""
    for message in reversed(body["messages"]):
        for n, text in re.findall(r"\[(\d+)\](.*?)(?=\n\n\[\d+\]|\Z)", str(message["content"]), re.DOTALL):
            if message["role"] == "tool" and FACT in text:
                return int(n)
    return 1


@contextmanager
def running_model() -> Iterator[Model]:
    """The server on a free port, in a thread with a loop of its own."""
    started, end, model = threading.Event(), asyncio.Event(), Model(script)
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(model.app()) as url:
            model.url = f"{url}/v1"
            started.set()
            await end.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield model
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
