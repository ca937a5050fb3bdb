"""The model server's admin API, with the gateway's admin key."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from gateway.errors import BadRequest, Conflict, Forbidden, GatewayError, NotFound, UpstreamFailed

STABLE = "stable"
LOADED = ("ready", "loading", "draining", "evicted")
"""States of a version that may be answering."""
SECONDS = 600.0
REFUSALS: dict[int, type[GatewayError]] = {400: BadRequest, 403: Forbidden, 404: NotFound, 409: Conflict}
REFUSALS |= {422: BadRequest}


class AdapterServer:
    """`url` ends in /v1; `key` has the scope admin there. Every method raises UpstreamFailed where the
    server does not answer, and the error of its status, with its words, where it refuses."""

    def __init__(self, http: httpx2.AsyncClient, url: str, key: str) -> None:
        self._http, self._url, self._key = http, url, key

    async def cards(self) -> dict[str, dict[str, Any]]:
        """The adapters that it knows, by name."""
        return {str(card["name"]): card for card in (await self._call("GET", "/adapters"))["data"]}

    async def serves(self, name: str, digest: str) -> bool:
        """Whether a version may be answering under its name."""
        card = (await self.cards()).get(name)
        versions = card["versions"] if card else []
        return any(version["id"] == digest and version["state"] in LOADED for version in versions)

    async def stable(self, name: str) -> str | None:
        """Digest of the version that answers for a name."""
        card = (await self.cards()).get(name)
        found: str | None = card["aliases"].get(STABLE) if card else None
        return found

    async def load(self, name: str, folder: Path) -> str:
        """Load a PEFT folder and wait until it is ready; its digest."""
        body = {"name": name, "source": {"path": str(folder)}}
        return str((await self._call("POST", "/adapters", params={"wait": "true"}, json=body))["id"])

    async def promote(self, name: str, digest: str, was: str) -> None:
        """Let the name mean a version, if it still means `was`."""
        await self._call(
            "POST", f"/adapters/{quote(name)}:promote", json={"version": digest, "if_match": was}
        )

    async def _call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        if not self._key:
            raise UpstreamFailed("GATEWAY_LLM_ADMIN_KEY is not set: what the model server has is unknown.")
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            answer = await self._http.request(
                method, f"{self._url}{path}", headers=headers, timeout=SECONDS, **given
            )
        except httpx2.TransportError as error:
            raise UpstreamFailed(f"The model server does not answer: {type(error).__name__}.") from error
        if answer.is_error:
            raise REFUSALS.get(answer.status_code, UpstreamFailed)(f"The model server: {_reason(answer)}")
        found: dict[str, Any] = answer.json()
        return found


def _reason(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
