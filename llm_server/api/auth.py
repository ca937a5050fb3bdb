"""Who may call: keys with scopes."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from llm_server.errors import Forbidden, Unauthorized
from llm_server.settings import Settings

INFERENCE, ADMIN = "inference", "admin"


class Keys:
    """The keys of the settings. The admin key has both scopes."""

    def __init__(self, settings: Settings) -> None:
        self._scopes: list[tuple[bytes, frozenset[str]]] = [
            *((key, frozenset({INFERENCE})) for key in _split(settings.api_key)),
            *((key, frozenset({INFERENCE, ADMIN})) for key in _split(settings.admin_key)),
        ]

    @property
    def asked_for(self) -> bool:
        """Without any key, loopback is trusted."""
        return bool(self._scopes)

    def scopes(self, key: str) -> frozenset[str]:
        """Scopes of a key; every key is compared, in constant time."""
        given = key.encode()
        found: frozenset[str] = frozenset()
        for known, scopes in self._scopes:
            if hmac.compare_digest(known, given):
                found |= scopes
        return found


def owner_of(request: Request) -> str:
    """Whose a stored thing is: a hash of the key, empty where no keys are asked for."""
    keys: Keys = request.app.state.keys
    return hashlib.sha256(_given(request).encode()).hexdigest() if keys.asked_for else ""


def require(scope: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency: Unauthorized without a known key, Forbidden without the scope."""

    async def check(request: Request) -> None:
        keys: Keys = request.app.state.keys
        if not keys.asked_for:
            return
        given = _given(request)
        if not given:
            raise Unauthorized("No API key. Send it as `Authorization: Bearer KEY`.")
        scopes = keys.scopes(given)
        if not scopes:
            raise Unauthorized("The API key is not known here.")
        if scope not in scopes:
            raise Forbidden(f"This API key lacks the scope {scope}.")

    return check


def _given(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return request.headers.get("x-api-key", "").strip()


def _split(keys: str | None) -> list[bytes]:
    return [key.strip().encode() for key in (keys or "").split(",") if key.strip()]
