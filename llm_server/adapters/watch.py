"""A folder that is watched: what is put there is loaded, what is taken away is unloaded.

Each PEFT folder, .gguf file and bank (.safetensors) is an adapter named after it. A folder counts when its
configuration is there, which is copied last or renamed into place; what is refused stays listed with its
reason.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.source import CONFIG, FILES, WEIGHTS
from llm_server.errors import LlmServerError

log = logging.getLogger(__name__)
GLANCE_MS = 500
"""Milliseconds between two looks at which manager serves."""


def adapters_in(folder: Path) -> dict[str, Path]:
    """Name to path."""
    found = {}
    for path in sorted(folder.iterdir()):
        whole = path.is_dir() and (path / CONFIG).is_file() and (path / WEIGHTS).is_file()
        if not path.name.startswith(".") and (whole or (path.is_file() and path.suffix in FILES)):
            found[path.stem if path.is_file() else path.name] = path
    return found


Current = Callable[[], AdapterManager | None]
"""The manager that serves now: an edit of the models may put another in its place."""


async def watch(folder: Path, current: Current, stop: asyncio.Event) -> None:
    """Follow the folder until `stop`. Other content is a new version, made `stable` when it is ready."""
    known: dict[str, Path] = {}
    manager: AdapterManager | None = None
    # The first look comes after the watcher stands: what is put there in between would be missed for good.
    # It wakes up by itself for that look, and to see whether another manager serves.
    changes = awatch(
        folder,
        stop_event=stop,
        debounce=200,
        rust_timeout=GLANCE_MS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    async for change in changes:
        before, manager = manager, current()
        if manager is not before:
            known.clear()
        if manager is not None and (change or manager is not before):
            await _follow(folder, known, manager)


async def _follow(folder: Path, known: dict[str, Path], manager: AdapterManager) -> None:
    there = await asyncio.to_thread(adapters_in, folder)
    for name in [name for name in known if name not in there]:
        del known[name]
        try:
            manager.unload(name)
        except LlmServerError as error:
            log.warning("not unloaded: %s", error.message)
    for name, path in there.items():
        known[name] = path
        try:
            _, future = await asyncio.to_thread(manager.load, name, path, None, True)
            await asyncio.wrap_future(future)
        except LlmServerError as error:
            log.warning("%s is not loaded: %s", path, error.message)
        except RuntimeError:
            # It was replaced and closed meanwhile; the next look finds the one that serves.
            return
