"""A small tools service: the model-facing tools over a handful of passages and a real SQLite database."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.tools import ToolResult
from pydantic import Field

PASSAGES = [
    (
        "leave.md",
        "Sick leave",
        "Employees accrue 4 hours of sick leave every pay period. Unused hours carry over.",
    ),
    ("leave.md", "Annual leave", "Annual leave is approved by the supervisor before it begins."),
    ("travel.md", "Meals", "Meals on official travel are paid per diem, not by receipt."),
]
SPAN = Field(json_schema_extra={"x-span": True})


@dataclass
class ToolServer:
    """`calls` keeps (name, arguments)."""

    database: Path
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    blind: bool = False
    """Whether cells of the database cannot be looked up."""

    def __post_init__(self) -> None:
        with sqlite3.connect(self.database) as connection:
            connection.executescript(
                "CREATE TABLE Artist(ArtistId INTEGER PRIMARY KEY, Name TEXT);"
                "CREATE TABLE Album(AlbumId INTEGER PRIMARY KEY, Title TEXT, ArtistId REFERENCES Artist);"
                "INSERT INTO Artist VALUES (1, 'Bach'), (2, 'Satie');"
                "INSERT INTO Album VALUES (1, 'Suites', 1), (2, 'Partitas', 1), (3, 'Gnossiennes', 2);"
            )
        connection.close()

    def mcp(self, **options: Any) -> FastMCP[Any]:
        server: FastMCP[Any] = FastMCP("tools", **options)
        for tool in (self.rag_search, self.rag_documents, self.sql_query, self.sql_describe, self.sql_values):
            server.tool(tool, output_schema=None)
        return server

    async def rag_search(self, query: Annotated[str, SPAN], top_k: int = 5) -> ToolResult:
        """Search the project's documents for passages that answer a question."""
        self.calls.append(("rag_search", {"query": query}))
        wanted = set(re.findall(r"\w{4,}", query.lower()))
        found = [p for p in PASSAGES if wanted & set(re.findall(r"\w{4,}", f"{p[1]} {p[2]}".lower()))][:top_k]
        hits = [_hit(n, *passage) for n, passage in enumerate(found, 1)]
        lines = [f"[{hit['n']}] {hit['document']} > {hit['section']}\n{hit['text']}" for hit in hits]
        text = "\n\n".join(lines) or "No passage matches."
        return ToolResult(
            content=text, structured_content={"hits": hits, "mode": "lexical", "language": "en"}
        )

    async def rag_documents(self) -> str:
        """List the project's documents."""
        return "leave.md (pages 1)\ntravel.md (pages 1)"

    async def sql_query(self, sql: str, database: str | None = None) -> ToolResult:
        """Run one read-only SELECT statement on the project's database."""
        self.calls.append(("sql_query", {"sql": sql, "database": database}))
        connection = sqlite3.connect(self.database)
        try:
            cursor = connection.execute(sql)
        except sqlite3.Error as error:
            raise ToolError(f"{error}. Tables: Artist, Album.") from error
        else:
            columns = [column[0] for column in cursor.description]
            rows = [list(row) for row in cursor.fetchall()]
        finally:
            connection.close()
        lines = [" | ".join(columns), *(" | ".join(map(str, row)) for row in rows)]
        text = "\n".join([*lines, f"({len(rows)} row{'' if len(rows) == 1 else 's'})"])
        table = {"columns": columns, "rows": rows, "row_count": len(rows), "truncated": False, "ms": 1.0}
        return ToolResult(content=text, structured_content={"database": "music", "sql": sql, **table})

    async def sql_describe(self, table: Annotated[str | None, SPAN] = None) -> ToolResult:
        """Show the tables and columns of the project's database."""
        self.calls.append(("sql_describe", {"table": table}))
        artist = _table("Artist", ["ArtistId", "Name"], [])
        keys = [{"column": "ArtistId", "references": "Artist.ArtistId"}]
        album = _table("Album", ["AlbumId", "Title", "ArtistId"], keys)
        databases = [{"name": "music", "dialect": "sqlite", "tables": [album, artist]}]
        return ToolResult(content="Album(...)", structured_content={"databases": databases})

    async def sql_values(self, text: str) -> ToolResult:
        """Find the cells of the project's database that a text names."""
        self.calls.append(("sql_values", {"text": text}))
        if self.blind:
            raise ToolError("The database does not answer.")
        with closing(sqlite3.connect(self.database)) as connection:
            names = [name for (name,) in connection.execute("SELECT Name FROM Artist")]
        cells = [name for name in names if name.lower() in text.lower()]
        named = [{"database": "music", "table": "Artist", "column": "Name", "cells": cells}] if cells else []
        return ToolResult(content="Artist.Name", structured_content={"named": named})


def _hit(n: int, document: str, section: str, text: str) -> dict[str, Any]:
    return {
        "n": n,
        "document": document,
        "document_id": f"id-{document}",
        "title": document,
        "page": None,
        "section": section,
        "text": text,
        "start": 100 * n,
        "end": 100 * n + len(text),
        "score": 1.0 / n,
        "scores": {"dense": None, "bm25": 1.0, "rrf": 0.1},
    }


def _table(name: str, columns: list[str], keys: list[dict[str, str]]) -> dict[str, Any]:
    described = [{"name": c, "type": "TEXT", "nullable": True, "primary_key": False} for c in columns]
    return {"name": name, "columns": described, "foreign_keys": keys, "rows": None}
