"""Documents on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from gateway.documents.store import Document


class Progress(BaseModel):
    """Steps of the ingestion (chunks, mostly)."""

    done: int
    total: int


class DocumentOut(BaseModel):
    id: str
    name: str
    media_type: str
    bytes: int
    state: str
    error: str | None
    progress: Progress
    pages: int | None
    chunks: int | None
    created_at: datetime


class PassageOut(BaseModel):
    """A passage with what stands around it."""

    name: str
    page: int | None
    section: str | None
    text: str
    before: str
    after: str


def document_out(row: Document) -> DocumentOut:
    return DocumentOut(
        id=row.id,
        name=row.name,
        media_type=row.media_type,
        bytes=row.bytes,
        state=row.state,
        error=row.error,
        progress=Progress(done=row.done, total=row.total),
        pages=row.pages,
        chunks=row.chunks,
        created_at=row.created_at,
    )
