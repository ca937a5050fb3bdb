"""Who may write and read traces: pairs of a public and a secret key, each of one project.

DATA/langfuse-keys.json, mode 0600:
    {"keys": [{"public_key": "pk-lf-...", "secret_key": "sk-lf-...", "project": {"id": "", "name": ""}}]}
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from gateway.ids import new_id


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Langfuse's public and secret key, and the project that they open."""

    public: str
    secret: str
    project_id: str
    project_name: str


def open_key_file(path: Path, project: str) -> list[KeyPair]:
    """The key pairs of the file; makes it with one pair of a new project where there is none."""
    if not path.exists():
        _write(path, project)
    return read_key_file(path)


def read_key_file(path: Path) -> list[KeyPair]:
    """Raises ValueError for a file of another shape; it names the file."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["keys"]
        return [
            KeyPair(e["public_key"], e["secret_key"], e["project"]["id"], e["project"]["name"])
            for e in entries
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a file of trace keys ({error!r}); delete it to get new keys"
        ) from error


def _write(path: Path, project: str) -> None:
    pair = {
        "public_key": f"pk-lf-{secrets.token_hex(16)}",
        "secret_key": f"sk-lf-{secrets.token_hex(24)}",
        "project": {"id": new_id(), "name": project},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # Named only when it is complete: a crash leaves no half of a file that every later start would refuse.
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
        json.dump({"keys": [pair]}, sink, indent=1)
    partial.rename(path)


class KeyRing:
    """Answers which project an Authorization header opens."""

    def __init__(self, pairs: list[KeyPair]) -> None:
        self._pairs = pairs

    def opened_by(self, header: str) -> KeyPair | None:
        """The pair of `Basic base64(public:secret)`. Every comparison takes the same time, hit or miss."""
        given = _credentials(header)
        found = None
        for pair in self._pairs:
            if hmac.compare_digest(f"{pair.public}:{pair.secret}".encode(), given):
                found = pair
        return found


def _credentials(header: str) -> bytes:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
