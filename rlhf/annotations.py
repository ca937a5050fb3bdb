"""What people say of a project's answers, as training sees it: over the gateway's HTTP alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from rlhf.errors import GatewayError

Told = Callable[[dict[str, Any]], None]
LOOK = 1.0
"""Seconds between two looks at how far collecting is."""
BUSY = 409


class Annotations:
    """Of one project; the key needs the scope manage. Every method raises GatewayError."""

    def __init__(self, url: str, key: str, project: str) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self._path = f"/api/v1/annotation/{quote(project, safe='')}"
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def collect(self, told: Told, **wanted: Any) -> dict[str, Any]:
        """Have rows and pairs made of the project's traces, and wait for it; what came of it. One that runs
        already is waited for first.

        Args:
            told: receives how far it is.
        """
        while self._call("POST", "collect", (BUSY,), json=wanted).status_code == BUSY:
            self._ended(told)
        return self._ended(told)

    def _ended(self, told: Told) -> dict[str, Any]:
        while True:
            seen = dict(self._call("GET", "collect").json())
            if seen["state"] == "done":
                return seen
            if seen["state"] != "running":
                raise GatewayError(f"collecting pairs has {seen['state']}: {seen['error'] or 'by a person'}")
            told(seen)
            time.sleep(LOOK)

    def standing(self, pull: bool = False) -> dict[str, Any]:
        """{tasks, judged, preferences}. `pull`: ask Label Studio first."""
        return dict((self._call("POST", "pull") if pull else self._call("GET", "standing")).json())

    def preferences(self) -> bytes:
        """All rows of the project as JSON lines, wherever they were given."""
        return self._call("GET", "export").content

    def thumbs(self) -> bytes:
        """Answers with a thumb up or down, as JSON lines of rows for KTO."""
        return self._call("GET", "export", params={"kind": "kto"}).content

    def _call(self, method: str, path: str, fine: tuple[int, ...] = (), **given: Any) -> httpx.Response:
        return self.call(method, f"{self._path}/{path}", fine, **given)

    def call(self, method: str, path: str, fine: tuple[int, ...] = (), **given: Any) -> httpx.Response:
        """A request of a whole path, whose refusals are errors but for those that are `fine`."""
        try:
            answer = self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise GatewayError(
                f"no gateway answers at {self.url} ({error or type(error).__name__}): start it with "
                "`loopyard up`, or set RLHF_GATEWAY_URL"
            ) from error
        if answer.is_error and answer.status_code not in fine:
            hint = "; set RLHF_GATEWAY_KEY to a key with the scope manage"
            told = hint if answer.status_code in (401, 403) else ""
            raise GatewayError(f"{self.url} answers {answer.status_code}: {_reason(answer)}{told}")
        return answer


def quality_of(url: str, key: str, adapter: str) -> dict[str, Any]:
    """What the gateway sees of a live adapter: {state, reason, version, …}; the key needs the scope admin.

    Raises:
        GatewayError: it cannot be reached, refuses, or nothing is live under the name.
    """
    gateway = Annotations(url, key, "")
    try:
        return dict(gateway.call("GET", f"/api/v1/quality/{quote(adapter, safe='')}").json())
    finally:
        gateway.close()


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
