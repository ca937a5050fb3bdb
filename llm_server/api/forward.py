"""Requests whose model is computed by another server."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llm_server.api.access import find, permit
from llm_server.api.auth import caller_of
from llm_server.api.sse import event, unless_gone
from llm_server.catalog import Entry, UpstreamModel
from llm_server.errors import UpstreamFailed
from llm_server.upstreams.pool import TRY_AGAIN

KEPT = ("retry-after", "retry-after-ms", "x-should-retry")
"""Headers of an answer that clients act on; no other is passed on."""
NO_SUCH_ROUTE = frozenset({404, 405, 501})


async def route(request: Request, name: str, path: str) -> Entry | Response:
    """A model of this process, not yet permitted; or the answer of another server, which has been asked.

    `path` is that of the other server, under its `/v1` or, with a slash in front, under its root.
    """
    found = await ask(request, name, path)
    return await relayed(request, found) if isinstance(found, httpx.Response) else found


async def ask(
    request: Request, name: str, path: str, body: dict[str, Any] | None = None
) -> Entry | Response | httpx.Response:
    """A model of this process; or the answer of another server, not yet read, to `body` or the request's own;
    or an empty response where the client has left.

    Where no server answers the model's fallbacks come next, those that the key may use.
    """
    entry = find(request, name)
    if not isinstance(entry, UpstreamModel):
        return entry
    permit(request, entry)
    models = [entry, *(find(request, other) for other in entry.fallbacks)]
    for place, model in enumerate(models):
        if place and not caller_of(request).may_use(model.id):
            continue
        if not isinstance(model, UpstreamModel):
            return model
        last = not any(caller_of(request).may_use(other.id) for other in models[place + 1 :])
        try:
            sent = await request.json() if body is None else body
            answer = await unless_gone(request, model.pool.open(path, sent))
        except UpstreamFailed:
            if last:
                raise
            continue
        if isinstance(answer, Response):
            return answer
        if last or answer.status_code not in TRY_AGAIN:
            return answer
        await answer.aclose()
    raise UpstreamFailed("No server answers for this model, and none of its fallbacks does.")


async def relayed(request: Request, answer: httpx.Response) -> Response:
    """The answer as it is, an error in OpenAI's body."""
    headers = {name: answer.headers[name] for name in KEPT if name in answer.headers}
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        return _Relay(answer, headers)
    return await unless_gone(request, _whole(answer, headers))


async def _whole(answer: httpx.Response, headers: dict[str, str]) -> Response:
    try:
        content = await answer.aread()
    except httpx.TransportError as error:
        raise UpstreamFailed(f"The server's answer cannot be read: {type(error).__name__}.") from error
    finally:
        await answer.aclose()
    body = _parsed(answer)
    if answer.is_error and not (isinstance(body, dict) and isinstance(body.get("error"), dict)):
        route = answer.request.url.path
        told = f"The server answers with status {answer.status_code}"
        told += f": it may have no {route}." if answer.status_code in NO_SUCH_ROUTE else f" on {route}."
        failed = UpstreamFailed(told)
        return JSONResponse(failed.body(), answer.status_code, headers)
    if body is None:
        raise UpstreamFailed("The server's answer is no JSON.")
    return Response(content, answer.status_code, headers, "application/json")


def _parsed(answer: httpx.Response) -> Any:
    """The body as JSON, None where it is something else, such as a proxy's page."""
    try:
        return answer.json()
    except ValueError:
        return None


class _Relay(StreamingResponse):
    """Events as they come; the server hears at once when the client leaves."""

    def __init__(self, answer: httpx.Response, headers: dict[str, str]) -> None:
        self._answer = answer
        headers = {**headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(self._chunks(), answer.status_code, headers, "text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.aiter_bytes():
                yield chunk
        except httpx.TransportError as error:
            yield event(UpstreamFailed(f"The server broke off: {type(error).__name__}.").body())
