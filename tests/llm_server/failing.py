"""A backend that breaks on purpose."""

from collections.abc import Sequence

from llm_server.backends.echo import EchoBackend
from llm_server.engine.backend import Chunk
from llm_server.errors import EngineFailure

LAST_WORDS = b"boom"


class FailingBackend(EchoBackend):
    """The echo, until it has said `boom`."""

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """EngineFailure for a batch with a sequence that has just said it, or is about to."""
        for chunk in chunks:
            said = bytes(
                t % 256 for t in [*self._held.get(chunk.slot, [])[1 - len(LAST_WORDS) :], *chunk.tokens]
            )
            deciding = len(chunk.tokens) == 1 or chunk.wanted > 1
            if deciding and LAST_WORDS in said:
                raise EngineFailure("The device is gone.")
        return super().decode(chunks)
