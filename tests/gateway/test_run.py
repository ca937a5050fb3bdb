"""Leaving an answer: its reader is let go although the agent does not hear at once that it is over."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from gateway.chat import run


async def test_an_agent_that_will_not_end_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "GRACE_SECONDS", 0.05)
    release, ended = asyncio.Event(), asyncio.Event()

    async def stubborn() -> AsyncGenerator[str, None]:
        try:
            yield "one"
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
        finally:
            ended.set()

    events = run.until(stubborn(), asyncio.Event())
    assert await anext(events) == "one"
    reading = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(reading, 10)
    assert not ended.is_set()
    release.set()
    await asyncio.wait_for(ended.wait(), 10)
