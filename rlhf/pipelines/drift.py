"""Whether new preferences look like the old ones: population stability index by feature.

PSI = sum over bins of (new - old) * ln(new / old), of shares; commonly, under 0.1 nothing has changed, above
0.25 much has (N. Siddiqi, Credit Risk Scorecards, 2006, chapter 6).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from rlhf.records import STARS

Row = dict[str, Any]
BESIDE = frozenset(
    (
        "pair_id",
        "source",
        "weight",
        "session",
        "user",
        "chosen_trace",
        "rejected_trace",
        "trace",
        "at",
        *STARS,
    )
)
"""Columns that say where a row comes from, not what it teaches."""
Profile = dict[str, dict[str, int]]
"""Feature to bin to count."""
SMOOTHING = 0.5
"""Added to each count, so that a bin that one side lacks does not make the index infinite."""


def identified(lines: bytes) -> dict[str, Row]:
    """Rows of JSON lines by what they teach; a last line that is still being written is left out.

    A file of preferences is written anew and sorted at each pull, so that a row's place says nothing. Nor
    does it make another row who said the same, when, and by what name.
    """
    whole = [line for line in lines.split(b"\n")[:-1] if line.strip()]
    return {_name(row): row for row in map(json.loads, whole)}


def _name(row: Row) -> str:
    taught = {column: value for column, value in row.items() if column not in BESIDE}
    return sha256(json.dumps(taught, sort_keys=True).encode()).hexdigest()[:16]


def profile(rows: Iterable[Mapping[str, Any]]) -> Profile:
    """Counts by feature: lengths in powers of two, who said it, whether there were tools."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        for feature, value in _features(row).items():
            found.setdefault(feature, Counter())[value] += 1
    return {feature: dict(sorted(counts.items())) for feature, counts in sorted(found.items())}


def psi(old: Profile, new: Profile) -> tuple[float, str]:
    """The largest index of all features, and that feature; 0 where one side has no rows."""
    found = [(_index(old[feature], new[feature]), feature) for feature in old.keys() & new.keys()]
    return max(found, default=(0.0, ""))


def _index(old: Mapping[str, int], new: Mapping[str, int]) -> float:
    bins = old.keys() | new.keys()
    total = 0.0
    for name in bins:
        was, now = (
            (counts.get(name, 0) + SMOOTHING) / (sum(counts.values()) + SMOOTHING * len(bins))
            for counts in (old, new)
        )
        total += (now - was) * math.log(now / was)
    return total


def _features(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "prompt": _size(row.get("prompt")),
        "turns": str(len(row.get("prompt") or [])),
        "chosen": _size(row.get("chosen")),
        "rejected": _size(row.get("rejected")),
        "source": str(row.get("source")),
        "tools": str(bool(row.get("tools"))),
    }


def _size(messages: Any) -> str:
    """Characters of all messages, as a power of two."""
    length = sum(len(str(message.get("content") or "")) for message in messages or [])
    return str(max(1, length).bit_length())
