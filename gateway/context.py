"""The signed context of a call to the tools service: who, which project, which databases, for 60 seconds.

A JWE in compact form (RFC 7516), `dir` with A256GCM: encrypted and not only signed, because it carries the
addresses of databases with their passwords.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from joserfc import jwe
from joserfc.jwk import OctKey

from gateway.ids import new_id

SECONDS = 60
CALL, MANAGE, ADMIN = "tools:call", "tools:manage", "tools:admin"
HEADER = {"alg": "dir", "enc": "A256GCM"}


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """On whose behalf the tools are called. `databases` are (name, address with its password); `callback` is
    what a tool that acts through the gateway's own API shows there."""

    user_id: str
    project_id: str
    request_id: str
    trace_id: str
    scopes: Sequence[str] = (CALL,)
    databases: Sequence[tuple[str, str]] = ()
    callback: str = ""


def operator(project_id: str) -> CallIdentity:
    """The gateway's own identity, for work on a project that is not a caller's tool call."""
    return CallIdentity("gateway", project_id, new_id(), new_id(), scopes=(CALL, ADMIN))


class ContextMinter:
    """Makes contexts with the key that the gateway and the tools service share (64 hex characters)."""

    def __init__(self, key: str) -> None:
        self._key = OctKey.import_key(bytes.fromhex(key))

    def mint(self, identity: CallIdentity) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": "gateway",
            "aud": "tools",
            "sub": identity.user_id,
            "project": identity.project_id,
            "scopes": list(identity.scopes),
            "request_id": identity.request_id,
            "trace_id": identity.trace_id,
            "iat": now,
            "exp": now + SECONDS,
            "databases": [{"name": name, "url": url} for name, url in identity.databases],
            "callback": identity.callback,
        }
        return jwe.encrypt_compact(HEADER, json.dumps(claims), self._key)


class ContextAuth(httpx2.Auth):
    """A fresh context on every request: one connection may be held longer than a context is valid."""

    def __init__(self, minter: ContextMinter, identity: CallIdentity) -> None:
        self._minter = minter
        self._identity = identity

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._minter.mint(self._identity)}"
        yield request
