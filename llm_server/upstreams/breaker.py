"""When to leave a server alone: after failures in a row, until a single request has found it well again.

Somebody who only looks at a server counts as well: one that is found down twice is left alone before a
request has failed there, and one that was out of reach is used again as soon as it is found up. Of a server
that was reached and failed a look says nothing: a request has to.
"""

import time
from collections.abc import Callable

FAILURES = 5
"""In a row; then the breaker opens."""
FOUND_DOWN = 2
"""Looks in a row that open the breaker."""
REST_SECONDS = 10.0
"""After so long one request may look whether the server is back."""


class Breaker:
    """`closed`: all may pass. `open`: nobody. `half_open`: one is on its way to look. For one event loop."""

    def __init__(
        self,
        failures: int = FAILURES,
        rest_seconds: float = REST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._rest, self._clock = failures, rest_seconds, clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False
        self._found_down = 0
        self._unreached = False
        """Whether it was out of reach, for requests or for who looked, when the breaker opened."""

    @property
    def state(self) -> str:
        """In one word."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._probing else "open"

    @property
    def lets_pass(self) -> bool:
        """Whether a request may be sent now."""
        if self._opened_at is None:
            return True
        return not self._probing and self._clock() - self._opened_at >= self._rest

    def begin(self) -> None:
        """A request is sent; through an open breaker it is the one that looks."""
        self._probing = self._opened_at is not None

    def succeeded(self) -> None:
        """The server has answered."""
        self._failures, self._opened_at, self._probing, self._found_down = 0, None, False, 0

    def failed(self, *, reached: bool = True) -> None:
        """It has not; `reached`: it was there."""
        self._failures += 1
        if self._probing or self._failures >= self._limit:
            self._open(unreached=not reached)

    def found_down(self) -> None:
        """Somebody has looked, and nobody was there."""
        self._found_down += 1
        if self._found_down >= FOUND_DOWN and not self._probing:
            self._open(unreached=True)

    def found_up(self) -> None:
        """Somebody has looked, and it is there."""
        self._found_down = 0
        if self._opened_at is not None and self._unreached:
            self.succeeded()

    def _open(self, *, unreached: bool) -> None:
        self._opened_at, self._probing, self._unreached = self._clock(), False, unreached

    def abandoned(self) -> None:
        """The client left before the server said anything."""
        self._probing = False
