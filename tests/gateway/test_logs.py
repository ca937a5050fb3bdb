"""Log lines."""

from __future__ import annotations

import logging

from gateway.logs import Facts


def line(message: str, **facts: object) -> str:
    record = logging.makeLogRecord({"name": "gateway", "levelname": "INFO", "msg": message, **facts})
    return Facts("%(levelname)s %(name)s: %(message)s").format(record)


def test_the_event_comes_first_and_then_its_facts() -> None:
    assert line("request", route="/health", ms=1.5) == "INFO gateway: request route=/health ms=1.5"
    assert line("started") == "INFO gateway: started"


def test_a_traceback_stays_below_the_facts() -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        told = line("failed", code=3, exc_info=(ValueError, error, error.__traceback__))
    assert told.splitlines()[0] == "INFO gateway: failed code=3"
    assert told.splitlines()[-1] == "ValueError: x"
