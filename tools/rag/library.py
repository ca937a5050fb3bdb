"""Everything that the rag server keeps: a document store per project, the vector store, the embedder."""

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass

from tools.errors import EmbeddingsUnavailable
from tools.rag.embedder import Embedder
from tools.rag.owner import Owner
from tools.rag.store import Store, project_of
from tools.rag.vectors import ProjectVectors, Vectors
from tools.settings import Settings
from tools.threads import in_thread

logger = logging.getLogger(__name__)

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
DATABASE = "documents.db"


@dataclass(frozen=True)
class Shelf:
    """One project's documents."""

    project: str
    store: Store
    lock: asyncio.Lock
    """Held while a document of the project is written."""


class Library:
    """Opens the data folder; `close` it. One per process, one process per folder."""

    embedder_language = "en"
    """The only language that the default embedder knows."""

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        """Take the folder; raises `OwnedElsewhere` or `StorageError`. Blocking."""
        self.settings = settings
        self.embedder = embedder
        self._folder = settings.data / "rag"
        self._owner = Owner(settings.data)
        self._vectors = Vectors(self._folder / "vectors")
        self._shelves: dict[str, Shelf] = {}
        self._collections: dict[str, ProjectVectors] = {}
        self._probe: list[float] | None = None

    async def shelf(self, project: str) -> Shelf:
        """The project's documents, made on first use."""
        found = self._shelves.get(project)
        if found is None:
            store = await in_thread(Store, self._folder / folder_name(project) / DATABASE, project)
            # Two first calls may have met here; the one that came first stays.
            found = self._shelves.setdefault(project, Shelf(project, store, asyncio.Lock()))
            async with found.lock:
                await in_thread(self.sweep, found)
        return found

    async def vectors(self, project: str) -> ProjectVectors:
        """The project's vectors of the current embedder; raises `EmbeddingsUnavailable`."""
        if self._probe is None:
            self._probe = await self.embedder.probe()
        if project not in self._collections:
            self._collections[project] = await in_thread(
                self._vectors.collection, project, self.identity(), self._probe
            )
        return self._collections[project]

    def forget_embedder(self) -> None:
        """Ask for the probe again, because another model may be behind the address now."""
        self._probe = None
        self._collections.clear()

    def identity(self) -> str:
        """The current embedder; raises `EmbeddingsUnavailable` before it was ever reached."""
        if self._probe is None:
            raise EmbeddingsUnavailable("The embeddings service was not reached yet.")
        return self.embedder.identity(len(self._probe))

    def sweep(self, shelf: Shelf) -> None:
        """Remove vectors that no published document needs. Blocking."""
        for document_id, generation in shelf.store.pending():
            self._vectors.sweep(shelf.project, document_id, generation)
            shelf.store.settled(document_id, generation)

    def shelves(self) -> list[Shelf]:
        """The projects that are open."""
        return list(self._shelves.values())

    async def open_known(self) -> None:
        """Open every project that has documents."""
        for path in sorted(self._folder.glob(f"*/{DATABASE}")):
            project = await in_thread(project_of, path)
            if project is not None:
                await self.shelf(project)

    def close(self) -> None:
        """Let go of the folder."""
        self._owner.release()


def folder_name(project: str) -> str:
    """A folder for a project: its own id where that is a plain name, else a hash of it."""
    if PLAIN_NAME.fullmatch(project):
        return project
    return f"x-{hashlib.sha256(project.encode()).hexdigest()[:32]}"
