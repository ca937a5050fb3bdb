"""A log line carries the facts of its event."""

import logging

from tools.logs import FORMAT, Facts


def test_facts_follow_the_event() -> None:
    record = logging.LogRecord("tools.rag", logging.INFO, "f.py", 1, "ingested", None, None)
    record.project = "p1"
    record.chunks = 3
    assert Facts(FORMAT).format(record).endswith("INFO tools.rag ingested project=p1 chunks=3")
