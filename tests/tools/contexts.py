"""Signed contexts as the gateway mints them."""

import json
import time
from typing import Any

from joserfc import jwe
from joserfc.jwk import OctKey

KEY = "5f" * 32
DEFAULT_SCOPES = ("tools:call",)


def mint(key: str = KEY, lifetime: int = 60, **claims: Any) -> str:
    """A context for user u1 and project p1; `claims` override any claim."""
    now = int(time.time())
    body = {
        "iss": "gateway",
        "aud": "tools",
        "sub": "u1",
        "project": "p1",
        "scopes": list(DEFAULT_SCOPES),
        "request_id": "r1",
        "trace_id": "t1",
        "iat": now,
        "exp": now + lifetime,
        "databases": [],
        **claims,
    }
    header = {"alg": "dir", "enc": "A256GCM"}
    return jwe.encrypt_compact(header, json.dumps(body).encode(), OctKey.import_key(bytes.fromhex(key)))
