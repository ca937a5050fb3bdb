"""What is known about an adapter: a name, immutable versions named by content, aliases that move."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.probe import Effect
from llm_server.engine.blend import Resident

STABLE, CANARY, PREVIOUS = "stable", "canary", "previous"
ALIASES = (STABLE, CANARY, PREVIOUS)
SHORT = 12
"""Hex digits of a version's name for people."""


class State(StrEnum):
    """Where a version stands."""

    LOADING = "loading"
    READY = "ready"
    EVICTED = "evicted"
    """Validated and on disk; the next use loads it again."""
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(slots=True)
class Version:
    """One content of an adapter. The store changes it, under its lock."""

    id: str
    """`sha256:` and 64 hex digits."""
    name: str
    source: str
    kind: str
    created: float
    state: State = State.LOADING
    error: dict[str, Any] | None = None
    file: Path | None = None
    """In the backend's own format."""
    facts: Facts | None = None
    effect: Effect | None = None
    resident: Resident | None = None
    inflight: int = 0
    """Sequences that use it."""
    hits: int = 0
    last_used: float = 0.0

    @property
    def short(self) -> str:
        """`sha256:1a2b3c4d5e6f`."""
        return self.id[: len("sha256:") + SHORT]

    def card(self) -> dict[str, Any]:
        """For the API."""
        facts = self.facts
        return {
            "id": self.id,
            "state": self.state,
            "source": self.source,
            "format": self.kind,
            "created": int(self.created),
            "rank": facts.rank if facts else None,
            "alpha": facts.alpha if facts else None,
            "targets": list(facts.targets) if facts else [],
            "bytes": self.resident.bytes if self.resident else 0,
            "inflight": self.inflight,
            "hits": self.hits,
            "last_used": int(self.last_used) or None,
            "effect": {"change": self.effect.change, "divergence": self.effect.divergence}
            if self.effect
            else None,
            "error": self.error,
        }


@dataclass(slots=True)
class Adapter:
    """A name with its versions."""

    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    """Alias to version id."""
    scale: float = 1.0
    pinned: bool = False

    def card(self, base: str) -> dict[str, Any]:
        """For the API."""
        return {
            "id": f"{base}:{self.name}",
            "object": "adapter",
            "name": self.name,
            "base": base,
            "aliases": dict(self.aliases),
            "scale": self.scale,
            "pinned": self.pinned,
            "versions": [version.card() for version in self.versions.values()],
        }
