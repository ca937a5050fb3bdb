"""The document store: places in a text, and formats of other versions."""

import sqlite3
from pathlib import Path

import pytest

from tools.errors import StorageError
from tools.rag.chunks import split
from tools.rag.store import Store, Version, project_of
from tools.rag.text import Builder, Extract


def version(extract: Extract, document_id: str = "d") -> Version:
    return Version(
        document_id=document_id,
        name="a.pdf",
        media_type="application/pdf",
        content_hash="h",
        bytes=1,
        language="en",
        extract=extract,
        chunks=split(extract),
        title="A",
        dense=False,
    )


def two_pages() -> Extract:
    builder = Builder()
    builder.heading(1, "Travel")
    builder.page(1, "Book a flight. Naïve 🛫 travellers wait.")
    builder.heading(2, "Receipts")
    builder.page(2, "Keep every receipt.")
    return builder.build()


def test_places_and_slices_are_those_of_the_text(tmp_path: Path) -> None:
    store = Store(tmp_path / "d.db", "p")
    extract = two_pages()
    store.publish(version(extract), store.begin("d"), None)
    for passage in store.passages_of("d"):
        assert passage.text == extract.text[passage.start : passage.end]
        assert store.slice("d", passage.start, passage.end) == passage.text
        assert store.place("d", passage.start) == (passage.page, passage.section)
    assert [(p.page, p.section) for p in store.passages_of("d")] == [(1, "Travel"), (2, "Travel > Receipts")]


def test_a_version_is_published_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "d.db", "p")
    store.publish(version(two_pages()), store.begin("d"), None)
    broken = version(two_pages())
    object.__setattr__(broken, "title", object())
    with pytest.raises(sqlite3.Error):
        store.publish(broken, store.begin("d"), None)
    assert [(d.id, d.generation, d.chunks) for d in store.documents()] == [("d", 1, 2)]
    assert store.match("receipt", 5) != []
    assert ("d", 2) in store.pending()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "d.db", "p")
    connection = sqlite3.connect(tmp_path / "d.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="format 99, this version knows 1"):
        Store(tmp_path / "d.db", "p")


def test_a_file_knows_its_project(tmp_path: Path) -> None:
    Store(tmp_path / "d.db", "team: α")
    assert project_of(tmp_path / "d.db") == "team: α"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Store(tmp_path / "file" / "d.db", "p")
