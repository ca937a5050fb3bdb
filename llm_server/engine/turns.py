"""Which group steps next, where a backend cannot compute different adapters in one batch.

Groups take turns in the order in which they were last served, so that nobody starves and a newcomer waits
for one turn of each of the others. A turn is a few steps long: changing adapters makes the next decode about
a millisecond longer. Every stream gets a token a step, so that equal turns are equal streams; a step with a
large part of a prompt in it is a turn of its own.
"""

from collections.abc import Iterable

from llm_server.engine.sequence import CacheKey

STEPS = 4
"""Steps of a turn."""
LARGE = 64
"""Tokens from which on a step is a whole turn."""


class Turns:
    """Least recently served first."""

    def __init__(self, steps: int = STEPS) -> None:
        self._steps = steps
        self._served: dict[CacheKey, int] = {}
        self._clock = 0
        self._current: CacheKey | None = None
        self._left = 0

    def choose(self, groups: Iterable[CacheKey]) -> CacheKey | None:
        """The group of the next step; None when there is none."""
        waiting = set(groups)
        self._served = {key: at for key, at in self._served.items() if key in waiting}
        if self._left > 0 and self._current in waiting:
            return self._current
        self._current = min(waiting, key=lambda key: self._served.get(key, -1), default=None)
        self._left = self._steps
        return self._current

    def charge(self, tokens: int) -> None:
        """The chosen group has computed `tokens`."""
        self._clock += 1
        self._left = self._left - 1 if tokens < LARGE else 0
        if self._current is not None:
            self._served[self._current] = self._clock
