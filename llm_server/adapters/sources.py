"""Copies of what adapters were made from, named by content: an edit that puts another engine in place makes
its own files out of them, wherever the originals are by then. One for each version that is loaded, and gone
with it.
"""

import logging
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from llm_server.adapters.source import CONFIG, FILES, WEIGHTS, Source, read_source
from llm_server.convert.files import discard_parts
from llm_server.errors import AdapterRefused

log = logging.getLogger(__name__)


class Sources:
    """A folder that all engines of one model share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if folder.is_dir():
            discard_parts(folder)

    def keep(self, source: Source) -> None:
        """Copy it, unless it is there. A disk that takes nothing is told of, and harms nobody: the original
        is read when it is needed.
        """
        target = self._place(source)
        if target.exists():
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            begun = TemporaryDirectory(dir=self._folder, prefix=".", suffix=f".{os.getpid()}.part")
            with begun as scratch:
                copy = _copied(source.path, Path(scratch) / target.name)
                if read_source(copy).digest == source.digest:
                    copy.replace(target)
                else:
                    log.warning("%s changed while it was copied, no copy is kept", source.path)
        except (OSError, AdapterRefused) as error:
            log.warning("no copy of %s is kept: %s", source.path, error)

    def find(self, digest: str) -> Path | None:
        """The copy of a content."""
        stem = digest.removeprefix("sha256:")
        places = (self._folder / (stem + suffix) for suffix in ("", *FILES))
        return next((place for place in places if place.exists()), None)

    def drop(self, digest: str) -> None:
        """Nobody needs this content any more."""
        found = self.find(digest)
        if found is not None:
            _remove(found)

    def _place(self, source: Source) -> Path:
        stem = source.digest.removeprefix("sha256:")
        return self._folder / (stem if source.path.is_dir() else stem + source.path.suffix)


def _copied(path: Path, target: Path) -> Path:
    if path.is_dir():
        target.mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(path / name, target / name)
    else:
        shutil.copyfile(path, target)
    return target


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
