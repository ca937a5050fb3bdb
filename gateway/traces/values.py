"""How times, texts and pages are written: microseconds in the file, ISO 8601 on the wire."""

from __future__ import annotations

import base64
import binascii
import json
import time
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.traces.errors import BadTrace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JSON_BEGINS = frozenset(' \t\n\r{["-0123456789tfnNI')
"""What the first character of a text in JSON (as Python reads it) can be."""
SMALL = 1 << 14
"""Bytes of a text that a small window packs just as well, without the cost of making a large one."""
LAST = int((datetime(9999, 12, 31, tzinfo=UTC) - EPOCH).total_seconds()) * 1_000_000
"""The latest time that a datetime holds, in microseconds."""


def now() -> int:
    return time.time_ns() // 1000


def iso(micros: int | None) -> str | None:
    """2026-11-21T10:00:00.000000Z; None for None."""
    if micros is None:
        return None
    return f"{(EPOCH + timedelta(microseconds=micros)).isoformat(timespec='microseconds')[:26]}Z"


def micros(text: Any) -> int:
    """Raises BadTrace for what is no time in ISO 8601; a time without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadTrace(f"{text!r} is not a time in ISO 8601.") from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def of_nanoseconds(nanoseconds: int) -> int:
    return min(nanoseconds // 1000, LAST)


dumped = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
"""JSON without spaces; what comes from JSON or protobuf has no circles."""


def loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def decoded(value: Any) -> Any:
    """A text that is JSON becomes what it says; everything else stays what it is."""
    if not isinstance(value, str) or not value or value[0] not in JSON_BEGINS:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def packed(value: Any) -> bytes:
    # surrogatepass: half of an emoji that a client has cut must not cost the whole batch.
    text = dumped(value).encode("utf-8", "surrogatepass")
    window, memory = (12, 5) if len(text) < SMALL else (15, 8)
    packer = zlib.compressobj(3, zlib.DEFLATED, window, memory)
    return packer.compress(text) + packer.flush()


def unpacked(blob: bytes | None) -> Any:
    return json.loads(zlib.decompress(blob).decode("utf-8", "surrogatepass")) if blob else {}


def cursor_of(*parts: int) -> str:
    return base64.urlsafe_b64encode(",".join(map(str, parts)).encode()).decode()


def of_cursor(cursor: str) -> tuple[int, int]:
    """Raises BadTrace for what is no cursor of ours."""
    try:
        time_part, row = base64.urlsafe_b64decode(cursor.encode()).decode().split(",")
        return int(time_part), int(row)
    except (ValueError, binascii.Error):
        raise BadTrace(f"{cursor!r} is not a cursor.") from None
