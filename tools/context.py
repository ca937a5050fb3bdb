"""On whose behalf a call runs: the signed context that the gateway sends with every call.

The context is a JWE (RFC 7516), `alg` dir and `enc` A256GCM, in `Authorization: Bearer`. It is encrypted
and not only signed, because it carries the addresses of the project's databases.
"""

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fastmcp.server.auth import AccessToken, AuthContext, TokenVerifier
from fastmcp.server.dependencies import get_access_token
from fastmcp.utilities.authorization import AuthCheck
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import BaseModel, Field, ValidationError

from tools.errors import NotPermitted

logger = logging.getLogger(__name__)

CALL = "tools:call"
MANAGE = "tools:manage"
ADMIN = "tools:admin"


class Database(BaseModel, frozen=True):
    """A database of the project: the name that a model uses and the address that it never sees."""

    name: str = Field(min_length=1, max_length=200)
    url: str = Field(repr=False)


@dataclass(frozen=True)
class Caller:
    """Whose call this is and what it may reach."""

    project: str
    scopes: frozenset[str]
    databases: tuple[Database, ...] = ()
    user: str = "local"
    request_id: str = ""
    trace_id: str = ""
    callback: str = field(default="", repr=False)
    """What the gateway's own API takes for this caller; empty where the call needs none."""


class Callers(Protocol):
    """Where the caller of the running call is found."""

    def current(self) -> Caller:
        """The caller; raises `NotPermitted` where there is none."""
        ...


@dataclass(frozen=True)
class LocalCaller:
    """The one caller of a server that runs alone, with its own project and databases."""

    project: str = "local"
    databases: tuple[Database, ...] = ()
    scopes: frozenset[str] = field(default=frozenset({CALL, MANAGE, ADMIN}))
    callback: str = field(default="", repr=False)
    """An API key of the gateway, for the servers that act through it."""

    def current(self) -> Caller:
        """The local operator, who may do everything."""
        return Caller(
            project=self.project, scopes=self.scopes, databases=self.databases, callback=self.callback
        )


class SignedCallers:
    """The caller named by the verified context of the request in progress."""

    def current(self) -> Caller:
        """The caller of this request; raises `NotPermitted` outside a verified request."""
        token = get_access_token()
        if token is None:
            raise NotPermitted("This call carries no signed context; calls go through the gateway.")
        claims = Claims.model_validate(token.claims)
        return Caller(
            project=claims.project,
            scopes=frozenset(claims.scopes),
            databases=claims.databases,
            user=claims.sub,
            request_id=claims.request_id,
            trace_id=claims.trace_id,
            callback=claims.callback,
        )


class Claims(BaseModel, frozen=True):
    """The claims of the context, as the gateway writes them."""

    iss: Literal["gateway"]
    aud: Literal["tools"]
    sub: str = Field(min_length=1)
    project: str = Field(min_length=1, max_length=200)
    scopes: tuple[str, ...]
    request_id: str = ""
    trace_id: str = ""
    iat: int
    exp: int
    databases: tuple[Database, ...] = ()
    callback: str = Field(default="", repr=False)


class ContextVerifier(TokenVerifier):
    """Opens the context and checks issuer, audience and expiry; what does not open is answered with 401."""

    def __init__(self, key_hex: str) -> None:
        super().__init__(required_scopes=[CALL])
        self._key = OctKey.import_key(bytes.fromhex(key_hex))

    async def verify_token(self, token: str) -> AccessToken | None:
        """The verified token with its claims, or None."""
        try:
            opened = jwe.decrypt_compact(token, self._key, algorithms=["dir", "A256GCM"])
            claims = Claims.model_validate(json.loads(opened.plaintext or b""))
        except (JoseError, ValidationError, ValueError) as error:
            logger.warning("context refused", extra={"reason": type(error).__name__})
            return None
        if claims.exp <= time.time():
            logger.warning("context refused", extra={"reason": "expired"})
            return None
        return AccessToken(
            token=token,
            client_id=claims.sub,
            scopes=list(claims.scopes),
            expires_at=claims.exp,
            claims=claims.model_dump(),
        )


def may_use(caller: Caller, scope: str) -> bool:
    """The one decision of this room: what a caller can list is what it can call."""
    return scope in caller.scopes


def requires(callers: Callers, scope: str) -> AuthCheck:
    """The check that FastMCP asks both when it lists a tool and when it runs it."""

    def check(_: AuthContext) -> bool:
        return may_use(callers.current(), scope)

    return check
