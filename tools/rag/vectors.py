"""The dense index: Chroma embedded, one collection per project and embedder.

Chroma is never served (its server has an open pre-auth hole) and never embeds on its own (it would download
a model): vectors go in and out. Ids say which passage a vector belongs to; the document store decides
whether that passage is published.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromadb
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError, NotFoundError

from tools.errors import EmbeddingsUnavailable, StorageError
from tools.rag.embedder import SAME_FROM, cosine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Near:
    """A vector near to a question: its passage, and the cosine."""

    document_id: str
    generation: int
    position: int
    score: float


class Vectors:
    """All collections of a data folder. Blocking; one call at a time."""

    def __init__(self, folder: Path) -> None:
        """Open or create the folder; raises `StorageError`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._client = chromadb.PersistentClient(
                str(folder), settings=ChromaSettings(anonymized_telemetry=False)
            )
        except (ChromaError, ValueError) as error:
            raise StorageError(f"The vector store in {folder} cannot be opened: {error}") from error

    def collection(self, project: str, embedder: str, probe: Sequence[float]) -> "ProjectVectors":
        """The project's vectors; raises `EmbeddingsUnavailable` where the embedder's weights changed."""
        name = f"p-{hashlib.sha256(project.encode()).hexdigest()[:32]}-{embedder}"
        with self._lock, _storing():
            found = self._client.get_or_create_collection(
                name,
                embedding_function=None,
                configuration={"hnsw": {"space": "cosine"}},
                metadata={"project": project, "embedder": embedder, "probe": json.dumps(list(probe))},
            )
        known = json.loads(str((found.metadata or {}).get("probe") or "[]"))
        if known and cosine(known, probe) < SAME_FROM:
            raise EmbeddingsUnavailable(
                "The embedding model has the same name but other weights than the index. Give it a name of "
                "its own (TOOLS_EMBEDDING_MODEL), so that documents are embedded again."
            )
        return ProjectVectors(found, self._lock)

    def sweep(self, project: str, document_id: str, generation: int) -> None:
        """Remove the vectors of one generation from every collection of the project."""
        prefix = f"p-{hashlib.sha256(project.encode()).hexdigest()[:32]}-"
        with self._lock, _storing():
            for found in self._client.list_collections():
                if found.name.startswith(prefix):
                    found.delete(where=_of(document_id, generation))


class ProjectVectors:
    """The vectors of one project and embedder."""

    def __init__(self, collection: Collection, lock: threading.Lock) -> None:
        self._collection = collection
        self._lock = lock

    def add(self, document_id: str, generation: int, first: int, vectors: Sequence[Sequence[float]]) -> None:
        """Store the vectors of the passages `first`, `first` + 1, ... of a generation."""
        if not vectors:
            return
        positions = range(first, first + len(vectors))
        metadata: Any = [
            {"document": document_id, "generation": generation, "position": p} for p in positions
        ]
        values: Any = [list(vector) for vector in vectors]
        with self._lock, _storing():
            self._collection.upsert(
                ids=[f"{document_id}:{generation}:{position}" for position in positions],
                embeddings=values,
                metadatas=metadata,
            )

    def nearest(self, vector: Sequence[float], count: int) -> list[Near]:
        """The nearest vectors, best first."""
        query: Any = [list(vector)]
        with self._lock:
            try:
                found = self._collection.query(
                    query_embeddings=query, n_results=count, include=["metadatas", "distances"]
                )
            except NotFoundError:
                return []
        rows = zip((found["metadatas"] or [[]])[0], (found["distances"] or [[]])[0], strict=True)
        return [_near(metadata, distance) for metadata, distance in rows]


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except (ChromaError, OSError) as error:
        raise StorageError(
            "The vector store cannot be written; the disk may be full. Nothing was published."
        ) from error


def _near(metadata: Any, distance: float) -> Near:
    return Near(metadata["document"], metadata["generation"], metadata["position"], 1.0 - distance)


def _of(document_id: str, generation: int) -> Any:
    return {"$and": [{"document": document_id}, {"generation": generation}]}
