"""A backend that breaks on purpose."""

from collections.abc import Sequence

from llm_server.backends.echo import EchoBackend
from llm_server.engine.backend import Chunk
from llm_server.errors import EngineFailure

LAST_WORDS = b"boom"


class FailingBackend(EchoBackend):
    """The echo, until it has said `boom`."""

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """EngineFailure for a batch with a sequence that has just said it."""
        for chunk in chunks:
            said = [*self._held.get(chunk.slot, []), *chunk.tokens][-len(LAST_WORDS) :]
            if len(chunk.tokens) == 1 and said == list(LAST_WORDS):
                raise EngineFailure("The device is gone.")
        return super().decode(chunks)
