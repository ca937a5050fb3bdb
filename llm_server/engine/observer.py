"""What an engine tells about itself."""

from llm_server.engine.scheduler import Scheduler
from llm_server.engine.sequence import Sequence


class Observer:
    """Metrics override it. Called in the engine's thread, but for `of`."""

    def of(self, model: str) -> "Observer":
        """The one that the engine of a model tells."""
        return self

    def step(self, scheduler: Scheduler) -> None:
        """After every step, and when a sequence has left."""

    def token(self, sequence: Sequence, now: float) -> None:
        """After every token."""

    def drafted(self, offered: int, taken: int) -> None:
        """After every draft."""

    def finished(self, sequence: Sequence, reason: str) -> None:
        """When a sequence ends; `reason` is `error` where it failed."""
