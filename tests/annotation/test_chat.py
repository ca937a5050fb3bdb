"""From a real chat, by way of its trace, to a row: what the model saw, not what the user typed."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from annotation.pairs import Mined, read
from annotation.traces import Traces
from rlhf.records import parse
from tests.gateway.conftest import QUOTE, fill
from tests.gateway.service import until
from tests.gateway.traces.conftest import trace_store
from tests.gateway.traces.test_chat_traces import SICK, chatting


async def test_a_corrected_answer_is_a_row_with_its_lineage(tmp_path: Path) -> None:
    async with trace_store(tmp_path) as store, chatting(tmp_path, store.url) as gateway:
        await fill(gateway)
        start = (await gateway.chat(SICK))[0][1]
        await gateway.chat("Hello")
        given = {"message_id": start["message_id"], "thumb": "down", "correction": "Six weeks."}
        (await gateway.client.post("/api/v1/feedback", json=given)).raise_for_status()

        def mined(project: str) -> Mined:
            with closing(Traces(store.url, store.key.public, store.key.secret)) as traces:
                return read(traces, project=project)

        async def complete() -> Mined | None:
            found = await asyncio.to_thread(mined, "demo")
            return found if found.rows and found.alone else None

        found = await until(complete, 60)
        elsewhere = await asyncio.to_thread(mined, "another")
    (row,) = found.rows
    assert [message.content for message in (*row.chosen, *row.rejected)] == ["Six weeks.", QUOTE]
    assert row.prompt[0].role == "system"
    # What the search found was before the model when it answered.
    passages = [message.content or "" for message in row.prompt if message.role == "tool"]
    assert any("sick" in text.lower() for text in passages)
    assert row.rejected_trace is not None
    assert row.rejected_trace.trace_id == start["trace_id"]
    assert row.session == start["conversation_id"]
    assert parse(row.line()) == row
    assert [one.answer[0].content for one in found.alone] == ["You said: Hello"]
    assert elsewhere == Mined()
