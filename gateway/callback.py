"""What a tool shows when it acts through the gateway's API for its caller: who, which project, for 60 s.

Made with a key that the gateway alone has: the tools service, which reads files of strangers, can pass on
what it was given and make nothing of its own.
"""

from __future__ import annotations

import json

from cryptography.fernet import InvalidToken, MultiFernet

from gateway.errors import Unauthenticated
from gateway.policy import Caller, Scope

PREFIX = "lyc_"
SECONDS = 60
LENT = frozenset({Scope.MANAGE})
"""What a tool may do with it, whatever else its caller may."""


class Callbacks:
    """Makes and opens them. Any gateway with the same GATEWAY_SECRET_KEY opens what another one made."""

    def __init__(self, cipher: MultiFernet) -> None:
        self._cipher = cipher

    def mint(self, caller: Caller, project_id: str) -> str:
        claims = {"user": caller.user_id, "account": caller.account_id, "name": caller.name, "use": PREFIX}
        claims |= {"role": caller.role, "key": caller.key_id, "project": project_id}
        scopes = sorted(scope.value for scope in LENT if caller.has(scope))
        return PREFIX + self._cipher.encrypt(json.dumps({**claims, "scopes": scopes}).encode()).decode()

    def open(self, token: str) -> Caller:
        """Raises Unauthenticated for one that is not ours, or too old."""
        try:
            claims = json.loads(self._cipher.decrypt(token.removeprefix(PREFIX), ttl=SECONDS))
        except InvalidToken as error:
            raise Unauthenticated("The call that this was made for is over.") from error
        if claims.get("use") != PREFIX:
            raise Unauthenticated("This is no callback.")
        return Caller(
            user_id=claims["user"],
            account_id=claims["account"],
            name=claims["name"],
            role=claims["role"],
            key_id=claims["key"],
            scopes=frozenset(Scope(scope) for scope in claims["scopes"]),
            project_id=claims["project"],
        )
