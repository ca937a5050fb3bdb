"""Rows from s3://BUCKET/KEY: which addresses may be read, and how much."""

from __future__ import annotations

from pathlib import Path
from re import fullmatch

from rlhf.errors import SourceRefused
from rlhf.objects.bucket import open_bucket
from rlhf.objects.depot import received
from rlhf.objects.settings import BUCKET, Settings

SCHEME = "s3://"
KEY = 1024
"""Bytes of a key, as S3 has it."""


def is_address(text: str) -> bool:
    """Whether an object is meant and no file."""
    return text.lower().startswith(SCHEME)


def allowed(address: str, settings: Settings) -> tuple[str, str]:
    """Bucket and key of an address that may be read. SourceRefused; nothing is asked of any server.

    An address names no server: there is only the one that the operator has configured.
    """
    bucket, _, key = address[len(SCHEME) :].partition("/")
    parts = key.split("/")
    plain = all(parts) and not {".", ".."} & set(parts) and not any(ord(char) < 32 for char in key)
    if not (is_address(address) and fullmatch(BUCKET, bucket) and plain and len(key.encode()) <= KEY):
        raise SourceRefused(f"{address!r} is no address of an object: write s3://BUCKET/KEY")
    if not settings.is_on:
        raise SourceRefused(f"{address} cannot be read: set S3_ENDPOINT to the server that has it")
    if not any(_begins(f"{bucket}/{key}", allowed) for allowed in settings.readable):
        known = ", ".join(settings.readable) or "none"
        raise SourceRefused(
            f"{address} may not be read; readable are: {known}. The operator names more in S3_SOURCES"
        )
    return bucket, key


def fetch(address: str, target: Path, settings: Settings, limit: int) -> str:
    """Copy an object into a file, as an upload of it would; its SHA-256. SourceRefused, ObjectError."""
    bucket_name, key = allowed(address, settings)
    bucket = open_bucket(settings, bucket_name)
    found = bucket.stat(key)
    if found is None:
        raise SourceRefused(f"there is no {address}")
    if found.bytes > limit:
        size = f"{found.bytes / 2**20:,.1f} MB"
        raise SourceRefused(f"{address} has {size}, and {limit >> 20:,} MB may be read")
    return received(bucket.blocks(key), target, found.bytes)


def stamp(address: str, settings: Settings) -> str:
    """What changes with the object's content. SourceRefused, ObjectError."""
    bucket_name, key = allowed(address, settings)
    found = open_bucket(settings, bucket_name).stat(key)
    if found is None:
        raise SourceRefused(f"there is no {address}")
    return f"{found.bytes} {found.tag}"


def _begins(path: str, beginning: str) -> bool:
    """Whole folders only: `rows/2026` is no beginning of `rows/2026-private/a.csv`."""
    return path.startswith(beginning if beginning.endswith("/") else f"{beginning}/")
