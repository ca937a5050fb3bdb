"""The document part of the trial: is the right page found, and does the answer quote it word for word?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.trial.client import Gateway, Turn
from tests.trial.questions import DocumentQuestion
from tests.trial.suite import Suite
from tests.trial.tables import shorten, table
from tests.trial.text import holds, quotations

AGENT = "general"
DEPTH = 10
"""Hits asked for; a page further down counts as not found."""
TOP = 3


@dataclass(frozen=True)
class DocumentResult:
    """One question: what the search found and what the agent cited."""

    question: DocumentQuestion
    found: list[str]
    """Documents of the hits, best first."""
    rank: int
    """Rank of the first right page from 1; 0 where none of the hits is one."""
    turn: Turn
    cited: list[str]
    """Documents of the sources whose quote stands in their page."""
    unfounded: list[str]
    """Quotes of the sources or of the answer that stand in no cited page."""

    @property
    def in_top(self) -> bool:
        """Whether a right page is among the first three hits."""
        return 1 <= self.rank <= TOP

    @property
    def founded(self) -> bool:
        """Whether the answer cites at least one page, and every quoted word is in a cited one."""
        return bool(self.cited) and not self.unfounded

    @property
    def right_page(self) -> bool:
        """Whether one of the cited pages is a right one."""
        return any(name in self.question.pages for name in self.cited)

    @property
    def evidence(self) -> bool:
        """Whether the answer has the expected piece word for word."""
        return holds(self.turn.answer, self.question.evidence)


def ask_documents(
    gateway: Gateway, suite: Suite, done: Callable[[DocumentResult], None]
) -> list[DocumentResult]:
    """Searches and asks every question; `done` hears of each result as it comes."""
    results = []
    for question in suite.document_questions:
        found = search(gateway, suite, question)
        turn = gateway.chat(suite.documents_project, AGENT, question.question)
        results.append(judge(question, found, turn, suite.page))
        done(results[-1])
    return results


def search(gateway: Gateway, suite: Suite, question: DocumentQuestion) -> list[str]:
    """Documents of the hits for the question as it stands, best first."""
    arguments = {"query": question.question, "top_k": DEPTH}
    hits = gateway.tool("rag_search", arguments, suite.documents_project)["hits"]
    return [Path(hit["document"]).name for hit in hits]


def search_table(gateway: Gateway, suite: Suite, questions: Sequence[DocumentQuestion]) -> str:
    """The ranks of the right pages without any answers, for choosing how the search works."""
    found = [(question, search(gateway, suite, question)) for question in questions]
    ranks = [rank_of(names, question.pages) for question, names in found]
    rows = [
        (question.question, rank or f"not in {DEPTH}", ", ".join(dict.fromkeys(names[:TOP])))
        for (question, names), rank in zip(found, ranks, strict=True)
    ]
    top = sum(1 <= rank <= TOP for rank in ranks)
    line = (
        f"right page in the first {TOP}: {top} of {len(ranks)}; mean reciprocal rank {mean_of(ranks):.3f}\n"
    )
    return table(["question", "rank of the right page", "first hits"], rows) + "\n" + line


def judge(
    question: DocumentQuestion, found: Sequence[str], turn: Turn, page: Callable[[str], str]
) -> DocumentResult:
    """Holds one search and one answer against the pages themselves."""
    sources = [(Path(source["document"]).name, source.get("quote") or "") for source in turn.sources]
    pages = {name: page(name) for name, _ in sources}
    cited = [name for name, quote in sources if holds(pages[name], quote)]
    unfounded = [quote for name, quote in sources if not holds(pages[name], quote)]
    unfounded += [
        quote for quote in quotations(turn.answer) if not any(holds(text, quote) for text in pages.values())
    ]
    return DocumentResult(question, list(found), rank_of(found, question.pages), turn, cited, unfounded)


def rank_of(found: Sequence[str], pages: Sequence[str]) -> int:
    """Rank from 1 of the first name in `found` that is one of `pages`; 0 for none."""
    return next((rank for rank, name in enumerate(found, start=1) if name in pages), 0)


def mean_of(ranks: Sequence[int]) -> float:
    """Mean reciprocal rank: the mean of 1/rank, 0 for a page that was not found (Voorhees, TREC-8, 1999)."""
    return sum(1 / rank for rank in ranks if rank) / len(ranks)


def document_table(results: Sequence[DocumentResult]) -> str:
    """One row a question, misses included."""
    head = [
        "question",
        "rank of the right page",
        "cited",
        "quote in page",
        "right page",
        "evidence",
        "s",
        "answer",
    ]
    return table(head, (_row(result) for result in results))


def _row(result: DocumentResult) -> list[object]:
    return [
        result.question.question,
        result.rank or f"not in {DEPTH}",
        ", ".join(dict.fromkeys(result.cited)) or "none",
        result.founded,
        result.right_page,
        result.evidence,
        round(result.turn.seconds, 1),
        shorten(result.turn.error or result.turn.answer),
    ]
