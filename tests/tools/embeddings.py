"""An OpenAI-compatible embeddings service: hashed words and letter trigrams, deterministic, no model.

Texts that share words or stems are near to each other, which is all that the tests need of a real one.
"""

import hashlib
import re
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

DIMENSIONS = 128


def vector(text: str, salt: str = "") -> list[float]:
    """A vector of counts; every feature goes to the place that its hash names."""
    values = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        padded = f" {word} "
        for feature in (word, *(padded[i : i + 3] for i in range(len(padded) - 2))):
            digest = hashlib.blake2b((salt + feature).encode(), digest_size=4).digest()
            values[int.from_bytes(digest, "big") % DIMENSIONS] += 1.0 if digest[0] % 2 else -1.0
    return values


class EmbeddingsService:
    """The ASGI app, with a switch to take it down."""

    def __init__(self) -> None:
        self.up = True
        self.salt = ""
        self.requests = 0
        self.texts = 0
        self.fail_after: int | None = None
        self.app = Starlette(routes=[Route("/v1/embeddings", self.embed, methods=["POST"])])

    async def embed(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        self.requests += 1
        if not self.up or (self.fail_after is not None and self.requests > self.fail_after):
            return JSONResponse({"error": {"message": "loading"}}, status_code=503)
        try:
            body: dict[str, Any] = await request.json()
        except ClientDisconnect:
            return Response(status_code=499)
        self.texts += len(body["input"])
        data = [
            {"object": "embedding", "index": index, "embedding": vector(text, self.salt)}
            for index, text in enumerate(body["input"])
        ]
        return JSONResponse({"object": "list", "data": data, "model": body["model"]})
