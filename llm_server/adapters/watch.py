"""A folder that is watched: what is put there is loaded, what is taken away is unloaded.

Each PEFT folder, .gguf file and bank (.safetensors) is an adapter named after it. A folder counts when its
configuration is there, which is copied last or renamed into place; what is refused stays listed with its
reason.
"""

import asyncio
import contextlib
import logging
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, awatch

from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.source import CONFIG, FILES, WEIGHTS
from llm_server.errors import LlmServerError, PreparationFailed

log = logging.getLogger(__name__)
GLANCE_MS = 500
"""Milliseconds between two looks at which manager serves."""


def make_folder(folder: Path) -> None:
    """So that it can be watched. PreparationFailed names the setting."""
    try:
        folder.expanduser().mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PreparationFailed(
            f"LLM_ADAPTERS is {folder}, which is no folder and cannot be made one: {reason}. Name a folder."
        ) from error


def adapters_in(folder: Path) -> dict[str, Path]:
    """Name to path. What cannot be looked into, as `lost+found`, is no adapter."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        with contextlib.suppress(OSError):
            whole = path.is_dir() and (path / CONFIG).is_file() and (path / WEIGHTS).is_file()
            if whole or (path.is_file() and path.suffix in FILES):
                found[path.stem if path.is_file() else path.name] = path
    return found


Current = Callable[[], AdapterManager | None]
"""The manager that serves now: an edit of the models may put another in its place."""


async def watch(folder: Path, current: Current, stop: asyncio.Event) -> None:
    """Follow the folder until `stop`. Other content is a new version, made `stable` when it is ready.

    While the folder is gone its adapters stay: a volume that is mounted again, or a folder that is replaced,
    shall stop nobody. What is missing when it is back is unloaded.
    """
    known: dict[str, Path] = {}
    told = False
    while not stop.is_set():
        if _identity(folder) is not None:
            told = False
            await _watch_one(folder, known, current, stop)
            continue
        if not told:
            log.error("LLM_ADAPTERS is gone: %s is no folder. Its adapters stay until it is back.", folder)
        told = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), GLANCE_MS / 1000)


async def _watch_one(folder: Path, known: dict[str, Path], current: Current, stop: asyncio.Event) -> None:
    """Until `stop`, or until another folder is there, or none."""
    manager: AdapterManager | None = None
    watched, unreadable = _identity(folder), False
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
    try:
        async for change in changes:
            if _identity(folder) != watched or _removed(folder, change):
                return
            before, manager = manager, current()
            if manager is not before and before is not None:
                known.clear()
            if manager is not None and (change or unreadable or manager is not before):
                unreadable = not await _follow(folder, known, manager, quiet=unreadable)
    except FileNotFoundError:
        # It has gone before the watcher stood.
        return


def _removed(folder: Path, changes: Iterable[tuple[Change, str]]) -> bool:
    """Whether the folder itself was: one that is made in its place may get the same number."""
    gone = (Path(path).absolute() for kind, path in changes if kind is Change.deleted)
    return folder.absolute() in gone


def _identity(folder: Path) -> tuple[int, int] | None:
    """None where there is no folder: the same path may mean another one later."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


async def _follow(folder: Path, known: dict[str, Path], manager: AdapterManager, *, quiet: bool) -> bool:
    """Whether the folder could be read; the log tells of it where it could before."""
    try:
        there = await asyncio.to_thread(adapters_in, folder)
    except OSError as error:
        if not quiet:
            log.error("LLM_ADAPTERS cannot be read: %s. Its adapters stay as they are.", error)
        return False
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
            break
    return True
