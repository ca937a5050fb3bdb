"""How much a key may ask for: requests at a time, requests a minute."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from llm_server.errors import TooManyRequests
from llm_server.keys import Caller


class Quota:
    """Counts in this process; only the event loop's thread calls it."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._minutes = MovingWindowRateLimiter(MemoryStorage())

    @contextmanager
    def admit(self, caller: Caller) -> Iterator[None]:
        """One request, from its arrival to the end of its answer. TooManyRequests, with Retry-After."""
        if caller.max_concurrent is not None and self._running[caller.digest] >= caller.max_concurrent:
            raise TooManyRequests(
                f"The key {caller.name!r} has {caller.max_concurrent} requests running, which is its limit.",
                code="concurrency_limit",
                retry_after=1.0,
            )
        self._count(caller)
        self._running[caller.digest] += 1
        try:
            yield
        finally:
            self._running[caller.digest] -= 1

    def _count(self, caller: Caller) -> None:
        if caller.requests_per_minute is None:
            return
        limit = RateLimitItemPerMinute(caller.requests_per_minute)
        if not self._minutes.hit(limit, caller.digest):
            reset = self._minutes.get_window_stats(limit, caller.digest).reset_time
            raise TooManyRequests(
                f"The key {caller.name!r} may make {caller.requests_per_minute} requests a minute.",
                retry_after=max(0.1, reset - time.time()),
            )
