"""Finishing what was published without vectors, as soon as the embeddings service answers again."""

import asyncio
import logging

from tools.errors import EmbeddingsUnavailable, ToolsError
from tools.rag.ingest import embed_later
from tools.rag.library import Library

logger = logging.getLogger(__name__)


async def forever(library: Library) -> None:
    """Try every `retry_seconds` until cancelled; a failure is logged and tried again."""
    await library.open_known()
    while True:
        try:
            done = await once(library)
            if done:
                logger.info("embedded what was waiting", extra={"documents": done})
        except EmbeddingsUnavailable as error:
            logger.info("no embeddings for waiting documents yet", extra={"reason": str(error)})
        except ToolsError as error:
            logger.warning("waiting documents could not be embedded", extra={"reason": str(error)})
        await asyncio.sleep(library.settings.retry_seconds)


async def once(library: Library) -> int:
    """Embed what waits in every project; how many documents."""
    return sum([await embed_later(library, shelf) for shelf in library.shelves()])
