"""Taking a document in: read, split, embed, publish; and what is left for later."""

import base64
import binascii
import hashlib
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.errors import EmbeddingsUnavailable, StorageError, UnreadableDocument
from tools.rag.analysis import language
from tools.rag.chunks import Chunk, split
from tools.rag.library import Library, Shelf
from tools.rag.parse import kind_of, parse
from tools.rag.store import Document, Version
from tools.rag.text import Extract
from tools.settings import MEBIBYTE
from tools.threads import in_thread

logger = logging.getLogger(__name__)

PIPELINE = "1"
"""Raised when parsing or splitting changes, so that the same content is taken in anew."""

Progress = Callable[[int, int, str], Awaitable[None]]
"""Done, total, and the phase: parsing, embedding or publishing."""


@dataclass(frozen=True)
class Source:
    """What a caller hands in: a name, and a file under the uploads folder or the content itself."""

    document_id: str
    name: str
    media_type: str = ""
    path: str = ""
    content_base64: str = ""


@dataclass(frozen=True)
class Outcome:
    """A published document, and whether it was there already."""

    document: Document
    unchanged: bool


async def ingest(library: Library, project: str, source: Source, progress: Progress) -> Outcome:
    """Publish a document; raises `UnreadableDocument` or `StorageError` and stores nothing then."""
    kind = kind_of(source.name, source.media_type)
    shelf = await library.shelf(project)
    async with shelf.lock, _as_file(library, source) as path:
        content_hash = await in_thread(_hash, path, kind)
        known = await in_thread(shelf.store.document, source.document_id)
        if known is not None and known.content_hash == content_hash and known.name == source.name:
            return Outcome(known, unchanged=True)
        await progress(0, 0, "parsing")
        extract = await parse(path, kind, library.settings.parse_seconds)
        version = await in_thread(_version, source, kind, path, content_hash, extract, library)
        await _publish(library, shelf, version, progress)
        document = await in_thread(shelf.store.document, source.document_id)
    assert document is not None
    logger.info("ingested", extra={"project": project, "document": document.id, "chunks": document.chunks})
    return Outcome(document, unchanged=False)


async def delete(library: Library, project: str, document_id: str) -> None:
    """Remove a document with its vectors; raises `UnknownDocument`."""
    shelf = await library.shelf(project)
    async with shelf.lock:
        await in_thread(shelf.store.delete, document_id)
        await in_thread(library.sweep, shelf)


async def embed_later(library: Library, shelf: Shelf) -> int:
    """Embed what has no vectors of the current embedder; how many documents.

    Raises `EmbeddingsUnavailable`.
    """
    documents = [d for d in await in_thread(shelf.store.documents) if d.dense]
    if not documents:
        return 0
    await library.vectors(shelf.project)
    waiting = [document.id for document in documents if document.embedder != library.identity()]
    for document_id in waiting:
        async with shelf.lock:
            await _embed_published(library, shelf, document_id)
    return len(waiting)


async def _embed_published(library: Library, shelf: Shelf, document_id: str) -> None:
    passages = await in_thread(shelf.store.passages_of, document_id)
    if not passages:
        return
    generation = passages[0].generation
    texts = [dense_text(p.title, p.section, p.text) for p in passages]
    await _embed(library, shelf, document_id, generation, texts, _silent)
    await in_thread(shelf.store.embedded, document_id, generation, library.identity())


def dense_text(title: str, section: str | None, text: str) -> str:
    """What is embedded of a passage: where it stands says what it is about."""
    return "\n".join(part for part in (title, section, text) if part)


async def _publish(library: Library, shelf: Shelf, version: Version, progress: Progress) -> None:
    generation = await in_thread(shelf.store.begin, version.document_id)
    try:
        embedder = await _vectors(library, shelf, version, generation, progress)
        await in_thread(shelf.store.publish, version, generation, embedder)
    finally:
        # Published or not, what is pending now is left over: an older version, or this one that failed.
        await in_thread(_sweep, library, shelf)


def _sweep(library: Library, shelf: Shelf) -> None:
    try:
        library.sweep(shelf)
    except StorageError as error:
        # It stays pending and is swept at the next occasion; the outcome of the ingest is what counts.
        logger.warning("left-over vectors stay for now", extra={"reason": str(error)})


async def _vectors(
    library: Library, shelf: Shelf, version: Version, generation: int, progress: Progress
) -> str | None:
    if not version.dense:
        return None
    texts = [
        dense_text(version.title, c.section, version.extract.text[c.start : c.end]) for c in version.chunks
    ]
    try:
        await _embed(library, shelf, version.document_id, generation, texts, progress)
        return library.identity()
    except EmbeddingsUnavailable as error:
        logger.warning(
            "published without vectors", extra={"document": version.document_id, "reason": str(error)}
        )
        return None


async def _embed(
    library: Library,
    shelf: Shelf,
    document_id: str,
    generation: int,
    texts: Sequence[str],
    progress: Progress,
) -> None:
    vectors = await library.vectors(shelf.project)
    size = library.embedder.batch
    for first in range(0, len(texts), size):
        await progress(first, len(texts), "embedding")
        batch = await library.embedder.embed(texts[first : first + size])
        await in_thread(vectors.add, document_id, generation, first, batch)
    await progress(len(texts), len(texts), "publishing")


async def _silent(done: int, total: int, phase: str) -> None:
    """Nobody waits for this work."""


def _version(
    source: Source, kind: str, path: Path, content_hash: str, extract: Extract, library: Library
) -> Version:
    chunks: list[Chunk] = split(extract)
    tongue = language(extract.text)
    return Version(
        document_id=source.document_id,
        name=source.name,
        media_type=source.media_type or kind,
        content_hash=content_hash,
        bytes=path.stat().st_size,
        language=tongue,
        extract=extract,
        chunks=chunks,
        title=extract.title or Path(source.name).stem,
        dense=tongue == library.embedder_language,
    )


def _hash(path: Path, kind: str) -> str:
    digest = hashlib.sha256(f"{PIPELINE}:{kind}:".encode())
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            digest.update(block)
    return digest.hexdigest()


# --- where the bytes come from -------------------------------------------------------------------


@asynccontextmanager
async def _as_file(library: Library, source: Source) -> AsyncIterator[Path]:
    if source.path and source.content_base64:
        raise UnreadableDocument("Give either path or content_base64, not both.")
    if source.path:
        path = _below_uploads(library, source.path)
        _check_size(path.stat().st_size, library.settings.max_document_bytes)
        yield path
        return
    raw = _decoded(source.content_base64, library.settings.max_document_bytes)
    with _temporary(library.settings.data, raw, Path(source.name).suffix) as path:
        yield path


def _below_uploads(library: Library, given: str) -> Path:
    uploads = library.settings.uploads
    if uploads is None:
        raise UnreadableDocument("No folder of uploads is set (TOOLS_UPLOADS); send content_base64.")
    try:
        path = Path(given).resolve(strict=True)
        inside = path.is_relative_to(uploads.resolve(strict=True))
    except (OSError, RuntimeError, ValueError):
        inside = False
    if not inside or not path.is_file():
        raise UnreadableDocument("The path is no file in the folder of uploads (TOOLS_UPLOADS).")
    return path


def _decoded(content: str, limit: int) -> bytes:
    _check_size(len(content) * 3 // 4, limit)
    try:
        raw = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableDocument("content_base64 is not base64.") from error
    _check_size(len(raw), limit)
    return raw


def _check_size(size: int, limit: int) -> None:
    if size == 0:
        raise UnreadableDocument("The document is empty.")
    if size > limit:
        raise UnreadableDocument(
            f"The document has {size / MEBIBYTE:.1f} MB, more than {limit / MEBIBYTE:g} MB. Split it."
        )


class _temporary:
    """A file with the content, below the data folder, gone after use."""

    def __init__(self, data: Path, raw: bytes, suffix: str) -> None:
        self._data, self._raw, self._suffix = data, raw, suffix

    def __enter__(self) -> Path:
        folder = self._data / "incoming"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, suffix=self._suffix, delete=False) as file:
                self._path = Path(file.name)
                file.write(self._raw)
        except OSError as error:
            raise StorageError(f"The document cannot be stored: {error.strerror}.") from error
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
