"""What an OpenAI client reads: the footer with the sources, and how a history that comes back loses it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

HEAD = "\n\n---\n**Sources**\n"


def footer(sources: Iterable[dict[str, Any]]) -> str:
    """Markdown, one line a passage; empty where nothing was cited."""
    lines = list(dict.fromkeys(_line(source) for source in sources))
    return HEAD + "\n".join(lines) if lines else ""


def without_footer(answer: str) -> str:
    return answer.split(HEAD, 1)[0]


def _line(source: dict[str, Any]) -> str:
    page = f"page {source['page']}" if source.get("page") else None
    place = source.get("section") or page
    where = f", {place}" if place else ""
    doubt = "" if source["verified"] else " (the quoted words were not found there)"
    return f"- [{source['n']}] {source['document']}{where}{doubt}"
