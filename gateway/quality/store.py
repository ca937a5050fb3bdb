"""What answered before a version went live, kept as counts: traces of that time may be gone later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.quality.measures import Share
from rlhf.records import write_atomically


@dataclass
class Baseline:
    """Of one version."""

    began: str
    slow_from: float | None
    shares: dict[str, Share]


@dataclass
class Kept:
    """Of one name: baselines by digest, and versions that were rolled back by themselves."""

    baselines: dict[str, Baseline] = field(default_factory=dict)
    rolled_back: list[str] = field(default_factory=list)


def load(folder: Path, name: str) -> Kept:
    """Empty where nothing is kept."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Kept()
    baselines = {
        digest: Baseline(
            one["began"],
            one["slow_from"],
            {measure: Share(**share) for measure, share in one["shares"].items()},
        )
        for digest, one in found["baselines"].items()
    }
    return Kept(baselines, found["rolled_back"])


def save(folder: Path, name: str, kept: Kept) -> None:
    """Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.json", [json.dumps(asdict(kept)).encode()])
