"""The gateway's own API, as a tool uses it: for the caller of the running call, with what that caller may."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from tools.context import Callers
from tools.errors import GatewayRefused, GatewayUnavailable, NotPermitted
from tools.settings import Settings

SECONDS = 120.0


class GatewayApi:
    """Every method raises NotPermitted for a call that carries no right to it, GatewayUnavailable, and
    GatewayRefused with the gateway's words."""

    def __init__(self, settings: Settings, callers: Callers) -> None:
        self._callers = callers
        # trust_env off: a proxy meant for the internet must not come between two services of one machine.
        self._http = httpx.AsyncClient(base_url=settings.gateway_url, timeout=SECONDS, trust_env=False)

    async def get(self, *path: str, **query: Any) -> dict[str, Any]:
        """The answer to a question."""
        return await self._send("GET", path, params=query)

    async def post(self, *path: str, **given: Any) -> dict[str, Any]:
        """The answer to a wish; `given` as for httpx."""
        return await self._send("POST", path, **given)

    async def delete(self, *path: str) -> None:
        """Take something away."""
        await self._send("DELETE", path)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def _send(self, method: str, path: tuple[str, ...], **given: Any) -> dict[str, Any]:
        caller = self._callers.current()
        if not caller.callback:
            raise NotPermitted("This call may not act through the gateway.")
        headers = {"Authorization": f"Bearer {caller.callback}", "X-Project": caller.project}
        if caller.request_id:
            headers["X-Request-ID"] = caller.request_id
        at = "/api/v1/" + "/".join(_segment(part) for part in path)
        try:
            answer = await self._http.request(method, at, headers=headers, **given)
        except httpx.TransportError as error:
            raise GatewayUnavailable("The gateway does not answer. Try again in a moment.") from error
        if answer.is_error:
            raise GatewayRefused(_reason(answer))
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found


def _segment(part: str) -> str:
    """A part of a path that stays one, whatever a model writes: servers decode %2F, and dots lead up."""
    if "/" in part or part.strip(".") == "":
        raise GatewayRefused(f"{part!r} is no name. List what there is and choose one.")
    return quote(part, safe="")


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The gateway answers {answer.status_code}."
