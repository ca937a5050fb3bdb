"""Which adapters a request means: by the model's name, or by fields of the request."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_server.adapters.manager import AdapterManager, Part
from llm_server.engine.blend import BASE, Blend
from llm_server.errors import BadRequest, Conflict

MOST = 4
"""Adapters of one request."""
SCALES = (-4.0, 4.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An adapter as a request names it."""

    name: str
    ref: str = ""
    scale: float | None = None
    """None: the adapter's own."""
    place: int | None = None
    """llama-server's way: its number in the list of adapters."""


def wanted_by_name(text: str) -> Wanted:
    """`polite`, `polite@canary`, `polite@sha256:1a2b`."""
    name, _, ref = text.partition("@")
    return Wanted(name, ref)


class Selection:
    """The versions of one request, found once, so that its choices do not differ."""

    def __init__(self, manager: AdapterManager, wanted: Sequence[Wanted]) -> None:
        """NotFound for a name that is not there, BadRequest for too many or for a scale out of bounds."""
        if len(wanted) > MOST:
            raise BadRequest(f"At most {MOST} adapters a request, not {len(wanted)}.", param="adapters")
        self._manager, self._wanted = manager, tuple(wanted)
        self.parts = self._find()

    @property
    def label(self) -> str:
        """`polite@sha256:1a2b3c4d5e6f`, with scales where they are not one."""
        return "+".join(
            f"{version.name}@{version.short}" + ("" if scale == 1 else f"*{scale:g}")
            for version, scale in self.parts
        )

    def ensure(self) -> None:
        """See to it that they are in the memory. Waits; call it in a thread."""
        self._manager.ensure([version for version, _ in self.parts])

    def lend(self) -> Blend:
        """Count a use for one sequence; `release` gives it back. Conflict where a version has just gone for
        good (clients try again).
        """
        for _ in range(2):
            lent = self._manager.lend(self.parts) if self.parts else BASE
            if lent is not None:
                return lent
            self.parts = self._find()
        gone = Conflict("The adapter has just been unloaded. Try again.", code="adapter_unloaded")
        gone.retry_after = 0.1
        raise gone

    def release(self) -> None:
        """One use less."""
        self._manager.store.release([version for version, _ in self.parts])

    def _find(self) -> tuple[Part, ...]:
        store = self._manager.store
        parts = []
        for one in self._wanted:
            name = one.name if one.place is None else self._numbered(one.place)
            version = store.find(name, one.ref)
            scale = store.adapter(name).scale if one.scale is None else one.scale
            if not SCALES[0] <= scale <= SCALES[1]:
                raise BadRequest(
                    f"The scale {scale} is outside {SCALES[0]} to {SCALES[1]}.", param="adapters"
                )
            parts.append((version, scale))
        return tuple(parts)

    def _numbered(self, place: int) -> str:
        names = self._manager.store.names()
        if place >= len(names):
            raise BadRequest(f"There is no adapter number {place}; there are {len(names)}.", param="lora")
        return names[place]
