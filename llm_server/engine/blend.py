"""The adapters of a sequence and how much of each: what a step depends on besides weights and tokens."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Resident:
    """An adapter in a backend's memory."""

    digest: bytes
    """Hash of its content: the same tensors have the same digest, however they are called."""
    handle: Any
    """The backend's own."""
    bytes: int
    """Memory that it takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """Adapters added together, each with a scale; none of them is the base alone."""

    parts: tuple[tuple[Resident, float], ...] = ()
    digest: bytes = b""
    """Hash of contents and scales; empty for the base."""


BASE = Blend()


def blend(parts: Iterable[tuple[Resident, float]]) -> Blend:
    """A blend in one canonical order: one adapter named twice counts once with both scales, a scale of zero
    is left out.
    """
    scales: dict[bytes, tuple[Resident, float]] = {}
    for resident, scale in parts:
        before = scales.get(resident.digest, (resident, 0.0))[1]
        scales[resident.digest] = (resident, before + scale)
    kept = tuple(scales[digest] for digest in sorted(scales) if scales[digest][1])
    if not kept:
        return BASE
    text = b"|".join(b"%b*%b" % (resident.digest, repr(scale).encode()) for resident, scale in kept)
    return Blend(kept, hashlib.blake2b(text, digest_size=16).digest())
