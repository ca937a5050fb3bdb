"""Log lines: the event first, then its facts as name=value."""

from __future__ import annotations

import logging

_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
QUIET = ("httpx", "httpx2", "mcp", "alembic", "fastmcp")
"""Libraries whose news are ours to tell."""


class Facts(logging.Formatter):
    """Adds what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = [f"{name}={value}" for name, value in vars(record).items() if name not in _OWN]
        line, *rest = super().format(record).split("\n", 1)
        return "\n".join([" ".join([line, *facts]), *rest])


def configure(level: int = logging.INFO) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Facts("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    # fastmcp brings a handler of its own, with colours and boxes that a log file cannot use.
    fastmcp = logging.getLogger("fastmcp")
    fastmcp.handlers.clear()
    fastmcp.propagate = True
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
