"""The gateway's door to the trace store: /api/public/* is passed on as it is, body and answer streamed.

The store checks the caller's key pair itself, so the gateway neither knows nor needs it here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.errors import NotFound, UpstreamFailed

PASSED_ON = {"authorization", "content-type", "content-encoding", "content-length", "accept", "user-agent"}
PREFIX = "x-langfuse-"
SECONDS = 60.0


class Relay:
    """Pooled connections to the trace store at `url`; "" where this gateway has none."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def pass_on(self, request: Request) -> Response:
        """Raises NotFound, UpstreamFailed."""
        if not self._url:
            raise NotFound("This gateway has no trace store; `loopyard up` starts one.")
        headers = [(n, v) for n, v in request.headers.items() if n in PASSED_ON or n.startswith(PREFIX)]
        address = httpx2.URL(self._url).copy_with(
            raw_path=request.scope["raw_path"] + b"?" + request.scope["query_string"]
        )
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        content = request.stream() if has_body else None
        sent = self._client.build_request(request.method, address, headers=headers, content=content)
        try:
            answer = await self._client.send(sent, stream=True)
        except httpx2.HTTPError as error:
            raise UpstreamFailed(f"The trace store does not answer ({type(error).__name__}).") from error
        kept = {n: v for n, v in answer.headers.items() if n in ("content-type", "www-authenticate")}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=_closing(answer))


def _closing(answer: httpx2.Response) -> BackgroundTask:
    return BackgroundTask(answer.aclose)


@asynccontextmanager
async def open_relay(url: str) -> AsyncIterator[Relay]:
    limits = httpx2.Limits(max_connections=50, max_keepalive_connections=10, keepalive_expiry=30)
    timeout = httpx2.Timeout(SECONDS, connect=5.0)
    # trust_env off: a proxy meant for the internet must not come between two services of one machine.
    async with httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as client:
        yield Relay(url, client)
