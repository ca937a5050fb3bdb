"""The lexical index: two FTS5 tables inside the document store, so that they are published with it.

`words` holds stemmed words, `grams` trigrams for scripts without reliable word ends; a query goes to the one
that its own script asks for.
"""

import sqlite3

from tools.rag.analysis import folded, grams_query, needs_grams, words_query

SCHEMA = """
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
  title, section, body, tokenize = "porter unicode61 remove_diacritics 2");
CREATE VIRTUAL TABLE IF NOT EXISTS grams USING fts5(title, section, body, tokenize = "trigram");
"""
MATCH = {
    "words": "SELECT rowid, bm25(words) AS score FROM words WHERE words MATCH ? ORDER BY score LIMIT ?",
    "grams": "SELECT rowid, bm25(grams) AS score FROM grams WHERE grams MATCH ? ORDER BY score LIMIT ?",
}
REMOVE = (
    "DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE document_id = ?)",
    "DELETE FROM grams WHERE rowid IN (SELECT id FROM chunks WHERE document_id = ?)",
)


def insert(connection: sqlite3.Connection, chunk: int, title: str, section: str, body: str) -> None:
    """Add a passage under its id."""
    row = (chunk, title, section, body)
    connection.execute("INSERT INTO words (rowid, title, section, body) VALUES (?, ?, ?, ?)", row)
    if needs_grams(body):
        row = (chunk, folded(title), folded(section), folded(body))
        connection.execute("INSERT INTO grams (rowid, title, section, body) VALUES (?, ?, ?, ?)", row)


def remove(connection: sqlite3.Connection, document_id: str) -> None:
    """Take the passages of a document out; call it before the passages themselves go."""
    for statement in REMOVE:
        connection.execute(statement, (document_id,))


def match(connection: sqlite3.Connection, text: str, limit: int) -> list[tuple[int, float]]:
    """Ids and BM25 scores of the best passages for a question, best first; a higher score is better."""
    table, query = ("grams", grams_query(text)) if needs_grams(text) else ("words", words_query(text))
    if not query:
        return []
    return [(row["rowid"], -row["score"]) for row in connection.execute(MATCH[table], (query, limit))]
