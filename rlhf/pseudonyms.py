"""What stands in the place of a user who was forgotten: a keyed hash (HMAC-SHA256, RFC 2104) of their id.

Whoever has the key can still ask which adapters learnt from an id that they know; nobody can read an id out
of it. Delete the key, and nobody can ask any more. Free of torch, so that other rooms may import it.
"""

import contextlib
import hmac
import os
import secrets
from pathlib import Path

MARK = "erased:"
"""How a pseudonym begins."""
DIGITS = 32


class Pseudonyms:
    """Those that one key gives.

    Args:
        file: of the key, mode 0600; it is made for the first user who is forgotten.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def of(self, user: str) -> str:
        """The pseudonym of a user. OSError where the key cannot be written or read."""
        if not self.file.is_file():
            self._make()
        digest = hmac.new(self.file.read_bytes().strip(), user.encode(), "sha256").hexdigest()
        return f"{MARK}{digest[:DIGITS]}"

    def known(self, user: str) -> str | None:
        """The same; None where nobody was ever forgotten under this key."""
        return self.of(user) if self.file.is_file() else None

    def _make(self) -> None:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
            sink.write(secrets.token_hex(32) + "\n")
            sink.flush()
            os.fsync(sink.fileno())
        try:
            # Whole or not at all, and the first one stays: another key would orphan its pseudonyms.
            with contextlib.suppress(FileExistsError):
                os.link(part, self.file)
        finally:
            part.unlink()
