"""Servers that answer for one model: weighted choice, retries, one connection pool."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from llm_server.errors import UpstreamFailed
from llm_server.upstreams.breaker import Breaker

TRY_AGAIN = frozenset({429, 502, 503, 504})
"""The server did not begin: another one may."""
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 5.0
UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout)
BACKOFF_SECONDS = 0.1
"""Before the same server is asked again; doubles each time."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One OpenAI-compatible server."""

    url: str
    """Up to `/v1`."""
    model: str
    """The model's name there."""
    key: str | None = field(default=None, repr=False)
    weight: float = 1.0


class Server:
    """A server, its health and what it has answered."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.breaker = Breaker()
        self.outcomes: Counter[str] = Counter()
        """Answers by status, and failures by kind."""
        self.probes: Counter[str] = Counter()
        """Looks at it: `up`, `down` and `unclear`."""
        self.probe_at = 0.0
        """When it is looked at next, by the loop's clock."""


class Pool:
    """Used on one event loop; made and closed in any thread."""

    def __init__(
        self, specs: tuple[ServerSpec, ...], retries: int, timeout_s: float, probe_s: float = 0.0
    ) -> None:
        """`probe_s`: seconds between two looks at each server, 0 for none."""
        self.probe_s = probe_s
        self.servers = [Server(spec) for spec in specs]
        self._retries = retries
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(timeout_s, connect=CONNECT_SECONDS))
        self._looks = httpx.AsyncClient(timeout=PROBE_SECONDS)
        """Of its own: a look never waits behind streams for a connection."""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """The answer of a server, its body not yet read; the caller closes it.

        A request that a server has not begun to answer (no connection, 429, 502, 503, 504) goes to another
        one. The last answer is returned whatever it is; UpstreamFailed where there is none.
        """
        self._loop = asyncio.get_running_loop()
        tried: list[Server] = []
        failure = "every server is resting after failures"
        for attempt in range(self._retries + 1):
            server = self._choose(tried)
            if server is None:
                break
            if server in tried:
                await asyncio.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
            tried.append(server)
            try:
                response = await self._send(server, path, body)
            except UNREACHED as error:
                failure = f"{type(error).__name__}: {error}"
                continue
            more = attempt < self._retries and self._choose(tried) is not None
            if response.status_code not in TRY_AGAIN or not more:
                return response
            await response.aclose()
        raise UpstreamFailed(f"No server answers for this model: {failure}.")

    async def _send(self, server: Server, path: str, body: dict[str, Any]) -> httpx.Response:
        """One try. Headers are ours alone: the client's key is none of the server's business."""
        spec = server.spec
        headers = _headers(spec)
        # A path with a slash is under the server's root, which has no /v1.
        url = spec.url.removesuffix("/v1") + path if path.startswith("/") else f"{spec.url}/{path}"
        request = self._client.build_request("POST", url, json={**body, "model": spec.model}, headers=headers)
        server.breaker.begin()
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            server.breaker.failed(reached=not isinstance(error, UNREACHED))
            server.outcomes[type(error).__name__] += 1
            if isinstance(error, UNREACHED):
                raise
            # It may have computed already: a second server would compute, and cost, once more.
            raise UpstreamFailed(f"The server broke off: {type(error).__name__}.") from error
        except BaseException:
            server.breaker.abandoned()
            raise
        server.outcomes[str(response.status_code)] += 1
        # A full server is not a broken one.
        healthy = response.status_code < 500 or response.status_code == 501
        (server.breaker.succeeded if healthy else server.breaker.failed)()
        return response

    async def probe(self, server: Server) -> None:
        """Ask for its models. It is down where nobody is there or it says 503; another failure, or no answer
        in time, says nothing: a busy server may have no time for a look, or no list.
        """
        self._loop = asyncio.get_running_loop()
        found = "unclear"
        try:
            # The list itself may have megabytes, and nobody reads it here.
            async with self._looks.stream(
                "GET", f"{server.spec.url}/models", headers=_headers(server.spec)
            ) as answer:
                if answer.status_code < 500 or answer.status_code == 501:
                    found = "up"
                elif answer.status_code == 503:
                    found = "down"
        except UNREACHED:
            found = "down"
        except httpx.HTTPError:
            pass
        server.probes[found] += 1
        if found != "unclear":
            (server.breaker.found_up if found == "up" else server.breaker.found_down)()

    def _choose(self, tried: list[Server]) -> Server | None:
        """One that was not tried, by weight; else one that was."""
        ready = [server for server in self.servers if server.breaker.lets_pass]
        fresh = [server for server in ready if server not in tried]
        among = fresh or ready
        return random.choices(among, [server.spec.weight for server in among])[0] if among else None

    def close(self) -> None:
        """Close the connections. Not on the loop's own thread."""
        if self._loop is not None and self._loop.is_running():
            for client in (self._client, self._looks):
                asyncio.run_coroutine_threadsafe(client.aclose(), self._loop).result()


def _headers(spec: ServerSpec) -> dict[str, str]:
    return {"authorization": f"Bearer {spec.key}"} if spec.key else {}
