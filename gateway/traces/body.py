"""Reading a request's body within its limit, unpacked where it is gzip."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

from starlette.requests import Request

from gateway.traces.errors import BadTrace, BodyTooLarge, BodyTooSlow

SECONDS = 60.0
GZIP = 31
"""zlib's window bits for a gzip header."""


async def read_body(request: Request, limit: int) -> bytes:
    """The body, `limit` bytes at most before and after decompression.

    Raises BodyTooLarge, BadTrace, and BodyTooSlow: who sends a byte a minute must not keep others waiting.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(_over(limit))
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise BadTrace(f"Content-Encoding {encoding!r} is not known here; send gzip or none.")
    taken, size = [], 0
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in request.stream():
                taken.append(piece)
                size += len(piece)
                if size > limit:
                    raise BodyTooLarge(_over(limit))
    except TimeoutError:
        raise BodyTooSlow(f"The body did not come within {SECONDS:g} s.") from None
    body = b"".join(taken)
    return gunzip(body, limit) if encoding == "gzip" else body


def gunzip(body: bytes, limit: int) -> bytes:
    """Unpacks at most `limit` bytes: a bomb is refused before it has grown."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        found = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadTrace(f"The body is not gzip: {error}") from error
    if len(found) > limit:
        raise BodyTooLarge(_over(limit))
    if not unpacker.eof or unpacker.unused_data:
        raise BadTrace("The body must be one whole gzip member.")
    return found


def parse_json(body: bytes) -> Any:
    """Raises BadTrace; NaN and Infinity are no JSON."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadTrace(f"The body is no JSON: {error}") from error


def _over(limit: int) -> str:
    return f"The body is larger than {limit >> 20} MB."
