"""One bucket of the configured endpoint: objects by key. Nothing but that endpoint is ever contacted.

What the server says in an error is not passed on: it may quote what was sent.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from re import search
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rlhf.errors import ObjectError, StoreAway, StoreChanged
from rlhf.objects.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

_log = logging.getLogger(__name__)
BLOCK = 1 << 20
NOWHERE = "http://127.0.0.1:1"
"""A proxy that is none, for every host but the endpoint's: redirects and HTTP_PROXY lead nowhere."""
RETRIES = 10
REFUSED = {
    "NoSuchBucket": "there is no such bucket; make it on the server, or name another one",
    "AccessDenied": "the key may not do this; give it more rights there",
    "InvalidAccessKeyId": "the server does not know S3_ACCESS_KEY",
    "SignatureDoesNotMatch": "S3_SECRET_KEY does not fit S3_ACCESS_KEY",
    "RequestTimeTooSkewed": "the clocks of this machine and the server differ",
}
"""What an error code of S3 means to an operator."""


@dataclass(frozen=True)
class Entry:
    """An object of a list. `tag` changes with its content."""

    key: str
    bytes: int
    tag: str


@dataclass(frozen=True)
class Bucket:
    """Every method raises ObjectError; StoreAway where trying again later may help."""

    name: str
    store: S3Store
    endpoint: str

    def entries(self, beginning: str = "") -> Iterator[Entry]:
        """Everything below a folder of keys, in no order."""
        import obstore

        with self._told(beginning):
            for chunk in obstore.list(self.store, prefix=beginning or None):
                for found in chunk:
                    yield Entry(found["path"], found["size"], found["e_tag"] or "")

    def stat(self, key: str) -> Entry | None:
        """What a list would say of an object; None where there is none."""
        import obstore

        try:
            with self._told(key):
                found = obstore.head(self.store, key)
                return Entry(key, found["size"], found["e_tag"] or "")
        except FileNotFoundError:
            return None

    def read(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """A small object whole, with its tag; None where there is none."""
        import obstore

        try:
            with self._told(key):
                found = obstore.get(self.store, key)
                if found.meta["size"] > limit:
                    raise ObjectError(f"{self.at(key)} has {found.meta['size']:,} bytes, {limit:,} allowed")
                return bytes(found.bytes()), found.meta["e_tag"] or ""
        except FileNotFoundError:
            return None

    def blocks(self, key: str) -> Iterator[bytes]:
        """An object as a stream. ObjectError where there is none."""
        import obstore

        try:
            with self._told(key):
                for block in obstore.get(self.store, key).stream(min_chunk_size=BLOCK):
                    yield bytes(block)
        except FileNotFoundError as error:
            raise ObjectError(f"there is no {self.at(key)}") from error

    def send(self, key: str, source: Path | bytes) -> None:
        """Put an object there, whole or not at all; one of this key is replaced."""
        import obstore

        with self._told(key):
            obstore.put(self.store, key, source)

    def exchange(self, key: str, content: bytes, tag: str) -> str:
        """Replace a small object that has this tag ("": that is not there yet); the new tag. StoreChanged."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with self._told(key):
                done = obstore.put(self.store, key, content, mode={"e_tag": tag} if tag else "create")
                return done["e_tag"] or ""
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            raise StoreChanged(f"{self.at(key)} was changed meanwhile; do it again") from error

    def remove(self, keys: Sequence[str]) -> None:
        """Take objects away, those that are there."""
        import obstore

        for key in keys:
            with self._told(key), contextlib.suppress(FileNotFoundError):
                obstore.delete(self.store, key)

    def at(self, key: str = "") -> str:
        """As people write it."""
        return f"s3://{self.name}/{key}"

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        from obstore.exceptions import (
            AlreadyExistsError,
            BaseError,
            PermissionDeniedError,
            PreconditionError,
            UnauthenticatedError,
        )

        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except ValueError as error:
            raise ObjectError(f"{key!r} is no key of an object") from error
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise ObjectError(f"{self.at()}: {REFUSED['NoSuchBucket']}") from None
            raise FileNotFoundError(self.at(key)) from None
        except BaseError as error:
            _log.debug("the object store refuses", extra={"at": self.at(key), "said": str(error)})
            code = search(r"<Code>(\w+)</Code>", str(error))
            refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
            if refused or (code and code[1] in REFUSED):
                why = REFUSED.get(code[1] if code else "AccessDenied", REFUSED["AccessDenied"])
                raise ObjectError(f"{self.endpoint} refuses {self.at(key)}: {why}") from None
            raise StoreAway(
                f"{self.endpoint} does not answer for {self.at(key)}"
                f"{f' ({code[1]})' if code else ''}: is the server there, and S3_ENDPOINT its address?"
            ) from None


def open_bucket(settings: Settings, name: str) -> Bucket:
    """A bucket of the endpoint; nothing is asked yet. ObjectError where S3_CA cannot be read."""
    from obstore.store import S3Store

    client: dict[str, Any] = {
        "allow_http": settings.endpoint.startswith("http://"),
        "connect_timeout": "5s",
        "read_timeout": "30s",
        # Of a whole download: read_timeout ends one that stands still.
        "timeout": "6h",
        "proxy_url": NOWHERE,
        "proxy_excludes": urlsplit(settings.endpoint).hostname or "",
    }
    if settings.ca:
        try:
            client["root_certificate"] = settings.ca.read_bytes()
        except OSError as error:
            raise ObjectError(f"S3_CA={settings.ca} cannot be read: {error.strerror}") from error
    retries: Any = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=settings.seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=0.2),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }
    store = S3Store(
        name,
        endpoint=settings.endpoint,
        # This name goes before the other one, and must not come from the environment.
        aws_endpoint_url_s3=settings.endpoint,
        access_key_id=settings.access_key.get_secret_value(),
        secret_access_key=settings.secret_key.get_secret_value(),
        region=settings.region,
        virtual_hosted_style_request=False,
        skip_signature=False,
        client_options=client,  # type: ignore[arg-type]  # a TypedDict
        retry_config=retries,
    )
    return Bucket(name, store, settings.endpoint)
