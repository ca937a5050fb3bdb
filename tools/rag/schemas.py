"""The shapes of the rag server's answers, and the text of each for a model."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, Field

from tools.rag.ingest import Outcome
from tools.rag.search import Findings, Found, best_score
from tools.rag.store import Document, Store

State = Literal["ready", "awaiting-embeddings"]


class Scores(BaseModel):
    """Where a hit comes from."""

    dense: float | None = Field(description="Cosine; null where the dense leg did not find it.")
    bm25: float | None = Field(description="BM25; null where the lexical leg did not find it.")
    rrf: float = Field(description="Reciprocal rank fusion of both.")


class Hit(BaseModel):
    """A passage, with the place where it stands."""

    n: int = Field(description="Number to cite it by.")
    document: str
    document_id: str
    title: str
    page: int | None
    section: str | None
    text: str
    start: int = Field(description="Offset in the document's text.")
    end: int
    score: float = Field(description="Fused score, 1 is first in every leg.")
    scores: Scores

    @classmethod
    def of(cls, n: int, found: Found, best: float) -> Self:
        """The hit for a found passage; `best` is the highest score that could be had."""
        passage = found.passage
        return cls(
            n=n,
            document=passage.name,
            document_id=passage.document_id,
            title=passage.title,
            page=passage.page,
            section=passage.section,
            text=passage.text,
            start=passage.start,
            end=passage.end,
            score=round(found.rrf / best, 4),
            scores=Scores(
                dense=None if found.dense is None else round(found.dense, 4),
                bm25=None if found.bm25 is None else round(found.bm25, 4),
                rrf=round(found.rrf, 6),
            ),
        )

    def line(self) -> str:
        """`[n] document > section` and the passage below."""
        place = self.section or (f"page {self.page}" if self.page is not None else "")
        return f"[{self.n}] {self.document}{f' > {place}' if place else ''}\n{self.text}"


class SearchResult(BaseModel):
    """The passages that a search found."""

    hits: list[Hit]
    mode: Literal["hybrid", "lexical"]
    language: str = Field(description="ISO 639-1 code that the question was taken for.")

    @classmethod
    def of(cls, findings: Findings) -> Self:
        """The wire form of what was found."""
        best = best_score(findings.mode)
        hits = [Hit.of(n, found, best) for n, found in enumerate(findings.found, start=1)]
        return cls(hits=hits, mode=findings.mode, language=findings.language)

    def text(self) -> str:
        """The passages as a model reads them."""
        return "\n\n".join(hit.line() for hit in self.hits) or "No passage matches."


class DocumentItem(BaseModel):
    """One published document."""

    document_id: str
    name: str
    title: str
    media_type: str
    bytes: int
    characters: int
    pages: int | None
    chunks: int
    language: str
    state: State
    published_at: str

    @classmethod
    def of(cls, document: Document) -> Self:
        """The wire form of a document."""
        return cls(
            document_id=document.id,
            **{name: getattr(document, name) for name in cls.model_fields if name != "document_id"},
        )


class DocumentList(BaseModel):
    """All published documents of the project."""

    documents: list[DocumentItem]

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Self:
        """The wire form of a list of documents."""
        return cls(documents=[DocumentItem.of(document) for document in documents])

    def text(self) -> str:
        """One line a document."""
        lines = (f"{d.name} (pages {d.pages})" if d.pages else d.name for d in self.documents)
        return "\n".join(lines) or "The project has no documents."


class Ingested(DocumentItem):
    """A document that was taken in."""

    unchanged: bool = Field(description="True when the same content was there already.")

    @classmethod
    def of(cls, outcome: Outcome) -> Self:  # type: ignore[override]  # an outcome is what this one is made of
        """The wire form of an outcome."""
        return cls(unchanged=outcome.unchanged, **DocumentItem.of(outcome.document).model_dump())

    def text(self) -> str:
        """One line for a log."""
        return f"{self.name}: {self.chunks} passages, {self.state}{', unchanged' if self.unchanged else ''}"


class Deleted(BaseModel):
    """A document that is gone."""

    document_id: str


class PageText(BaseModel):
    """A part of a document's text."""

    name: str
    page: int | None
    section: str | None
    text: str = Field(description="The part from `start` to `end`.")
    before: str = Field(description="What stands before it.")
    after: str = Field(description="What stands behind it.")
    start: int
    end: int
    total: int = Field(description="Characters of the whole document.")

    @classmethod
    def read(cls, store: Store, document_id: str, start: int, end: int, around: int) -> Self | None:
        """The part of the document, None where there is no such document. Blocking."""
        document = store.document(document_id)
        if document is None:
            return None
        start = min(start, document.characters)
        end = max(start, min(end, document.characters))
        page, section = store.place(document_id, start)
        return cls(
            name=document.name,
            page=page,
            section=section,
            text=store.slice(document_id, start, end),
            before=store.slice(document_id, max(0, start - around), start),
            after=store.slice(document_id, end, end + around),
            start=start,
            end=end,
            total=document.characters,
        )


class ChunkItem(BaseModel):
    """A passage of a document."""

    document: str = Field(description="Id of the document.")
    title: str
    page: int | None
    section: str | None = Field(description="Headings that it stands under, the outermost first.")
    chunk: int = Field(description="Its place in the document, from 0.")
    text: str


class Chunks(BaseModel):
    """Passages of a document in its order."""

    chunks: list[ChunkItem]

    @classmethod
    def read(cls, store: Store, document_id: str, after: int, limit: int) -> Self | None:
        """Those behind a place; None where there is no such document."""
        if store.document(document_id) is None:
            return None
        found = store.passages_after(document_id, after, limit)
        return cls(
            chunks=[
                ChunkItem(
                    document=document_id,
                    title=passage.title or passage.name,
                    page=passage.page,
                    section=passage.section,
                    chunk=passage.position,
                    text=passage.text,
                )
                for passage in found
            ]
        )

    def text(self) -> str:
        """The passages with their places."""
        return "\n\n".join(f"{chunk.chunk}: {chunk.text}" for chunk in self.chunks) or "No more passages."
