"""Files that are watched for edits."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from watchfiles import awatch

SETTLE_MS = 20
"""An edit is over when nothing has changed for so long."""
MOST_MS = 100
"""An edit is looked at after so long in any case."""


async def follow_files(files: Sequence[Path | None], reload: Callable[[], None], stop: asyncio.Event) -> None:
    """Call `reload` in a thread after every edit, until `stop`.

    Folders are watched, not files: editors write another file and rename it, and Kubernetes turns a link
    beside it around.
    """
    folders = {file.expanduser().absolute().parent for file in files if file is not None}
    if not folders:
        return
    # The models took their time to load: the files may say something else by now.
    before = _content(files)
    await asyncio.to_thread(reload)
    watching = awatch(
        *folders,
        stop_event=stop,
        recursive=False,
        watch_filter=None,
        step=SETTLE_MS,
        debounce=MOST_MS,
        rust_timeout=1000,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    # A look at each timeout too, for an edit before the watch began.
    async for _ in watching:
        now = await asyncio.to_thread(_content, files)
        if now != before:
            before = now
            await asyncio.to_thread(reload)


def _content(files: Sequence[Path | None]) -> list[bytes | None]:
    """What the files say; None where one is not there, as between two steps of an editor."""
    found: list[bytes | None] = []
    for file in files:
        try:
            found.append(None if file is None else file.read_bytes())
        except OSError:
            found.append(None)
    return found
