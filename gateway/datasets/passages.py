"""The passages of a project's documents as JSON lines, from the document store of the tools service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway.context import operator
from gateway.documents.service import Documents
from gateway.documents.store import Document
from gateway.errors import BadRequest, UpstreamFailed
from gateway.hop import Hop, result_text
from gateway.projects.store import Project

AT_ONCE = 200
MOST = 20_000
"""Passages of one dataset."""


async def passages_of(hop: Hop, documents: Documents, project: Project, wanted: Sequence[str]) -> bytes:
    """JSON lines: `document`, `name`, `title`, `page`, `section`, `chunk`, `text`; document by document.

    Raises BadRequest where a document is not there or not taken in yet, or there is nothing to ask about.
    """
    lines: list[str] = []
    for document in _chosen(await documents.of(project.id), wanted):
        async for passage in _passages(hop, project, document):
            lines.append(json.dumps({**passage, "name": document.name}, ensure_ascii=False) + "\n")
            if len(lines) > MOST:
                raise BadRequest(
                    f"The documents have more than {MOST:,} passages; name some of them.", param="documents"
                )
    if not lines:
        raise BadRequest("The documents of this project have no passages yet.", param="documents")
    return "".join(lines).encode()


def _chosen(there: Sequence[Document], wanted: Sequence[str]) -> list[Document]:
    readable = [one for one in there if one.chunks]
    if not wanted:
        return readable
    found = []
    for reference in dict.fromkeys(wanted):
        one = next((document for document in there if reference in (document.id, document.name)), None)
        if one is None or not one.chunks:
            known = ", ".join(document.name for document in readable) or "none"
            why = "is not in this project" if one is None else f"is {one.state}, and has no passages"
            raise BadRequest(
                f"The document {reference!r} {why}. Documents with passages: {known}.", param="documents"
            )
        found.append(one)
    return found


async def _passages(hop: Hop, project: Project, document: Document) -> AsyncIterator[dict[str, Any]]:
    after = -1
    while True:
        asked = {"document_id": document.id, "after": after, "limit": AT_ONCE}
        result = await hop.call(operator(project.id), "rag_chunks", asked)
        if result.is_error:
            raise UpstreamFailed(result_text(result))
        chunks = (result.structured_content or {}).get("chunks", [])
        for chunk in chunks:
            yield chunk
        if len(chunks) < AT_ONCE:
            return
        after = chunks[-1]["chunk"]
