"""What passes between a client and the server in one request, noted down as it passes.

Nothing is read here: a record is a list of bytes and a few times, so that who is traced does not wait for it.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from llm_server.engine.sequence import Delta, Event, Failed, Finished

BOUND = 512 << 10
"""Bytes of a body that are kept; a trace shows no more of it."""


@dataclass(slots=True)
class Body:
    """The first bytes of a body."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    cut: bool = False

    def add(self, part: bytes) -> None:
        """The next bytes; from the first piece on that does not fit, nothing more is kept."""
        self.cut = self.cut or self.size + len(part) > BOUND
        if not self.cut:
            self.parts.append(part)
            self.size += len(part)

    def read(self) -> bytes:
        """What was kept."""
        return b"".join(self.parts)


@dataclass(slots=True)
class Record:
    """One request. Times are seconds since 1970."""

    path: str
    headers: dict[str, str]
    started: float = field(default_factory=time.time)
    ended: float = 0.0
    first_token: float | None = None
    """When the first token came out of the engine, or the first bytes of a stream from another server."""
    status: int = 0
    request_id: str = ""
    key: str = ""
    """Name of the caller's key."""
    whole: bool = False
    """Whether the answer was sent to its end; a client may leave before."""
    asked: Body = field(default_factory=Body)
    answered: Body = field(default_factory=Body)
    computed_here: bool = False
    prompt: int = 0
    completion: int = 0
    cached: int = 0

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return self.asked.size + self.answered.size

    def hear(self, index: int, event: Event) -> None:
        """What the engine said to choice `index`; a prompt counts once, however many choices it has."""
        match event:
            case Delta():
                self.first_token = self.first_token or time.time()
            case Finished(_, usage):
                self.completion += usage.completion
                if index == 0:
                    self.prompt += usage.prompt
                    self.cached += usage.cached
            case Failed():
                pass


CURRENT: ContextVar[Record | None] = ContextVar("record", default=None)
"""The record of the request that is being answered; None where it is not traced."""
