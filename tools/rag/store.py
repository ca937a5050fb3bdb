"""The document store of one project: SQLite with texts, passages and the lexical index.

A document is published by one transaction, so readers see a version of it whole or not at all. What is in
the vector store counts only for passages that stand here; `pending` remembers vectors that were being
written, so that a process that died in between leaves nothing behind for good.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.errors import StorageError, UnknownDocument
from tools.rag import lexical
from tools.rag.chunks import Chunk
from tools.rag.text import Extract, Heading

FORMAT = 1
"""Of the tables below; kept in `user_version`."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS project (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS documents (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, title TEXT NOT NULL, media_type TEXT NOT NULL,
  content_hash TEXT NOT NULL, bytes INTEGER NOT NULL, characters INTEGER NOT NULL, pages INTEGER,
  language TEXT NOT NULL, generation INTEGER NOT NULL, dense INTEGER NOT NULL, embedder TEXT,
  text TEXT NOT NULL, published_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')));
CREATE TABLE IF NOT EXISTS pages (
  document_id TEXT NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
  PRIMARY KEY (document_id, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS headings (
  document_id TEXT NOT NULL, start INTEGER NOT NULL, level INTEGER NOT NULL, title TEXT NOT NULL,
  PRIMARY KEY (document_id, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (
  id INTEGER PRIMARY KEY, document_id TEXT NOT NULL, position INTEGER NOT NULL, page INTEGER, section TEXT,
  start INTEGER NOT NULL, stop INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_by_document ON chunks (document_id, position);
CREATE TABLE IF NOT EXISTS pending (
  document_id TEXT NOT NULL, generation INTEGER NOT NULL, PRIMARY KEY (document_id, generation));
"""


@dataclass(frozen=True)
class Version:
    """One version of a document, ready to be published."""

    document_id: str
    name: str
    media_type: str
    content_hash: str
    bytes: int
    language: str
    extract: Extract
    chunks: Sequence[Chunk]
    title: str
    dense: bool
    """Whether the embedder knows the language."""


@dataclass(frozen=True)
class Document:
    """A published document."""

    id: str
    name: str
    title: str
    media_type: str
    content_hash: str
    bytes: int
    characters: int
    pages: int | None
    language: str
    generation: int
    dense: bool
    embedder: str | None
    chunks: int
    published_at: str

    @property
    def state(self) -> str:
        """`ready`, or `awaiting-embeddings` while the dense index lacks it."""
        return "awaiting-embeddings" if self.dense and self.embedder is None else "ready"


@dataclass(frozen=True)
class Passage:
    """A published passage, as a search shows it."""

    id: int
    document_id: str
    name: str
    title: str
    generation: int
    position: int
    page: int | None
    section: str | None
    start: int
    end: int
    text: str
    embedder: str | None


class Store:
    """One project's documents. Every method opens a connection of its own, so threads may share a Store."""

    def __init__(self, path: Path, project: str) -> None:
        """Open or create the project's file; raises `StorageError`."""
        self._path = path
        self._project = project
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._connected() as connection:
                self._prepare(connection)
        except OSError as error:
            raise StorageError(f"{path.parent} cannot be written: {error.strerror}.") from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise StorageError(f"{self._path} has format {found}, this version knows {FORMAT}. Upgrade.")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA + lexical.SCHEMA)
        connection.execute("INSERT OR IGNORE INTO project VALUES (?)", (self._project,))
        connection.execute(f"PRAGMA user_version = {FORMAT}")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30.0, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            yield connection
        except sqlite3.OperationalError as error:
            raise StorageError(_disk(error)) from error
        finally:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    # --- publishing ------------------------------------------------------------------------------

    def begin(self, document_id: str) -> int:
        """A new generation number for a document, remembered as pending until it is published."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT max(g) FROM (SELECT generation AS g FROM documents WHERE id = :id"
                " UNION ALL SELECT generation FROM pending WHERE document_id = :id)",
                {"id": document_id},
            ).fetchone()
            generation = int(row[0] or 0) + 1
            connection.execute("INSERT INTO pending VALUES (?, ?)", (document_id, generation))
            return generation

    def publish(self, version: Version, generation: int, embedder: str | None) -> None:
        """Replace the document by this version in one transaction."""
        with self._transaction() as connection:
            _left_over(connection, version.document_id)
            _remove(connection, version.document_id)
            _insert(connection, version, generation, embedder)
            for position, chunk in enumerate(version.chunks):
                _insert_chunk(connection, version, position, chunk)
            connection.execute(
                "DELETE FROM pending WHERE document_id = ? AND generation = ?",
                (version.document_id, generation),
            )

    def embedded(self, document_id: str, generation: int, embedder: str) -> None:
        """Note that the vectors of a published generation are complete."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE documents SET embedder = ? WHERE id = ? AND generation = ?",
                (embedder, document_id, generation),
            )

    def delete(self, document_id: str) -> None:
        """Remove a document; raises `UnknownDocument`."""
        with self._transaction() as connection:
            if not _left_over(connection, document_id):
                raise UnknownDocument(f"There is no document {document_id} in this project.")
            _remove(connection, document_id)

    def pending(self) -> list[tuple[str, int]]:
        """Generations whose vectors may be in the vector store without a published document."""
        with self._connected() as connection:
            rows = connection.execute("SELECT document_id, generation FROM pending").fetchall()
            return [(row["document_id"], row["generation"]) for row in rows]

    def settled(self, document_id: str, generation: int) -> None:
        """Forget a pending generation: its vectors are gone."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM pending WHERE document_id = ? AND generation = ?", (document_id, generation)
            )

    # --- reading ---------------------------------------------------------------------------------

    def documents(self) -> list[Document]:
        """All published documents by name."""
        with self._connected() as connection:
            return [_document(row) for row in connection.execute(f"{DOCUMENT} ORDER BY d.name, d.id")]

    def document(self, document_id: str) -> Document | None:
        """One published document."""
        with self._connected() as connection:
            row = connection.execute(f"{DOCUMENT} WHERE d.id = ?", (document_id,)).fetchone()
            return _document(row) if row is not None else None

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        """Published passages by their ids."""
        marks = ",".join("?" * len(ids))
        with self._connected() as connection:
            rows = connection.execute(f"{PASSAGE} WHERE c.id IN ({marks})", tuple(ids))
            return {row["id"]: Passage(**row) for row in rows}

    def passages_at(self, places: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int, int], Passage]:
        """Published passages by document, generation and position; what is not published is left out."""
        found: dict[tuple[str, int, int], Passage] = {}
        with self._connected() as connection:
            for place in places:
                row = connection.execute(
                    f"{PASSAGE} WHERE c.document_id = ? AND d.generation = ? AND c.position = ?", place
                ).fetchone()
                if row is not None:
                    found[place] = Passage(**row)
        return found

    def passages_of(self, document_id: str) -> list[Passage]:
        """All passages of a document in its order."""
        with self._connected() as connection:
            rows = connection.execute(f"{PASSAGE} WHERE d.id = ? ORDER BY c.position", (document_id,))
            return [Passage(**row) for row in rows]

    def passages_after(self, document_id: str, position: int, limit: int) -> list[Passage]:
        """Passages of a document behind a position, in its order."""
        with self._connected() as connection:
            rows = connection.execute(
                f"{PASSAGE} WHERE d.id = ? AND c.position > ? ORDER BY c.position LIMIT ?",
                (document_id, position, limit),
            )
            return [Passage(**row) for row in rows]

    def match(self, text: str, limit: int) -> list[tuple[int, float]]:
        """Ids and BM25 scores of the best passages for a question, best first."""
        with self._connected() as connection:
            return lexical.match(connection, text, limit)

    def slice(self, document_id: str, start: int, end: int) -> str:
        """A slice of a document's text."""
        with self._connected() as connection:
            row = connection.execute(
                "SELECT substr(text, ?, ?) FROM documents WHERE id = ?", (start + 1, end - start, document_id)
            ).fetchone()
            return str(row[0]) if row is not None else ""

    def place(self, document_id: str, offset: int) -> tuple[int | None, str | None]:
        """Page number and heading path at an offset."""
        with self._connected() as connection:
            page = connection.execute(
                "SELECT number FROM pages WHERE document_id = ? AND start <= ? ORDER BY start DESC LIMIT 1",
                (document_id, offset),
            ).fetchone()
            headings = connection.execute(
                "SELECT start, level, title FROM headings WHERE document_id = ? AND start <= ? ORDER BY 1",
                (document_id, offset),
            ).fetchall()
        return (page["number"] if page else None), _path([Heading(*row) for row in headings])


DOCUMENT = """
SELECT d.id, d.name, d.title, d.media_type, d.content_hash, d.bytes, d.characters, d.pages, d.language,
       d.generation, d.dense, d.embedder, d.published_at,
       (SELECT count(*) FROM chunks AS c WHERE c.document_id = d.id) AS chunks
FROM documents AS d"""
PASSAGE = """
SELECT c.id, c.document_id, d.name, d.title, d.generation, c.position, c.page, c.section,
       c.start, c.stop AS "end", c.text, d.embedder
FROM chunks AS c JOIN documents AS d ON d.id = c.document_id"""


def project_of(path: Path) -> str | None:
    """The project whose documents a file holds; None where it was never finished."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            row = connection.execute("SELECT name FROM project").fetchone()
        except sqlite3.OperationalError:
            return None
    return str(row[0]) if row is not None else None


def _document(row: sqlite3.Row) -> Document:
    values = dict(row)
    return Document(**{**values, "dense": bool(values["dense"])})


def _path(headings: list[Heading]) -> str | None:
    path: list[Heading] = []
    for heading in headings:
        path = [*(outer for outer in path if outer.level < heading.level), heading]
    return " > ".join(heading.title for heading in path) or None


def _left_over(connection: sqlite3.Connection, document_id: str) -> bool:
    """Until its vectors are gone too, a generation that goes is known as left over."""
    row = connection.execute("SELECT generation FROM documents WHERE id = ?", (document_id,)).fetchone()
    if row is not None:
        connection.execute("INSERT OR IGNORE INTO pending VALUES (?, ?)", (document_id, row["generation"]))
    return row is not None


def _remove(connection: sqlite3.Connection, document_id: str) -> None:
    lexical.remove(connection, document_id)
    connection.execute("DELETE FROM chunks WHERE document_id = ?", (document_id,))
    connection.execute("DELETE FROM pages WHERE document_id = ?", (document_id,))
    connection.execute("DELETE FROM headings WHERE document_id = ?", (document_id,))
    connection.execute("DELETE FROM documents WHERE id = ?", (document_id,))


def _insert(connection: sqlite3.Connection, version: Version, generation: int, embedder: str | None) -> None:
    extract = version.extract
    connection.execute(
        "INSERT INTO documents (id, name, title, media_type, content_hash, bytes, characters, pages,"
        " language, generation, dense, embedder, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            version.document_id,
            version.name,
            version.title,
            version.media_type,
            version.content_hash,
            version.bytes,
            len(extract.text),
            len(extract.pages) or None,
            version.language,
            generation,
            version.dense,
            embedder,
            extract.text,
        ),
    )
    pages = [(version.document_id, page.number, page.start, page.end) for page in extract.pages]
    connection.executemany("INSERT INTO pages VALUES (?, ?, ?, ?)", pages)
    connection.executemany(
        "INSERT OR IGNORE INTO headings VALUES (?, ?, ?, ?)",
        [(version.document_id, h.start, h.level, h.title) for h in extract.headings],
    )


def _insert_chunk(connection: sqlite3.Connection, version: Version, position: int, chunk: Chunk) -> None:
    text = version.extract.text[chunk.start : chunk.end]
    cursor = connection.execute(
        "INSERT INTO chunks (document_id, position, page, section, start, stop, text)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (version.document_id, position, chunk.page, chunk.section, chunk.start, chunk.end, text),
    )
    assert cursor.lastrowid is not None
    title = f"{version.title} {version.extract.keywords}"
    lexical.insert(connection, cursor.lastrowid, title, chunk.section or "", text)


def _disk(error: sqlite3.OperationalError) -> str:
    if "full" in str(error):
        return "The disk is full; nothing of the document was stored. Free some space and send it again."
    return f"The document store cannot be used: {error}. What was stored before is untouched."
