"""What a trial works on: a folder of documents and a database, with the questions about them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from tests.trial.questions import (
    DatabaseQuestion,
    DocumentQuestion,
    database_questions,
    document_questions,
)

DEMO = Path(__file__).parents[2] / "gateway" / "demo"


@dataclass(frozen=True)
class Suite:
    """One corpus, one database, their projects and their questions."""

    documents_project: str
    documents: Path
    documents_title: str
    document_questions: list[DocumentQuestion]
    database_project: str
    database_name: str
    database: Path
    database_title: str
    database_questions: list[DatabaseQuestion]

    def page(self, name: str) -> str:
        """The text of the page that the gateway calls `name`; empty where there is none."""
        path = self.documents / Path(name).name
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def right_rows(self, question: DatabaseQuestion) -> list[tuple[object, ...]]:
        """The right query's rows from SQLite itself, past the gateway."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            return connection.execute(question.sql).fetchall()


def given(data: Path) -> Suite:
    """The handbook and the record shop in `data`; FileNotFoundError names what is missing."""
    documents, database = data / "handbook", data / "chinook" / "chinook.sqlite"
    for path in (documents, database):
        if not path.exists():
            needs = "needs handbook/ and chinook/chinook.sqlite; without DATA the demo's own are taken"
            raise FileNotFoundError(f"{path} is missing: the folder in DATA {needs}")
    return Suite(
        documents_project="handbook",
        documents=documents.resolve(),
        documents_title="Staff handbook",
        document_questions=document_questions("handbook"),
        database_project="chinook",
        database_name="chinook",
        database=database.resolve(),
        database_title="Record shop (Chinook)",
        database_questions=database_questions("chinook"),
    )


def demo(work: Path) -> Suite:
    """The demo's documents and shop, both in one project; the database file is made in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    database = (work / "shop.sqlite").resolve()
    database.unlink(missing_ok=True)
    connection = sqlite3.connect(database)
    connection.executescript((DEMO / "shop.sql").read_text(encoding="utf-8"))
    connection.close()
    return Suite(
        documents_project="trial",
        documents=DEMO / "documents",
        documents_title="Demo handbook",
        document_questions=document_questions("demo-documents"),
        database_project="trial",
        database_name="shop",
        database=database,
        database_title="Demo shop",
        database_questions=database_questions("demo-database"),
    )
