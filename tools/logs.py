"""Log lines: time, level, place, event, then its facts as `name=value`. Contents are never among them."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class Facts(logging.Formatter):
    """Appends what was given in `extra=`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        facts = [f"{name}={value}" for name, value in vars(record).items() if name not in _OWN]
        return " ".join([super().format(record), *facts])


def configure() -> None:
    """One handler on stderr: stdout belongs to MCP over stdio."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Facts(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # FastMCP and sqlglot quote arguments and statements in their warnings, and httpx every request.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    fastmcp = logging.getLogger("fastmcp")
    fastmcp.handlers.clear()
    fastmcp.setLevel(logging.ERROR)
    fastmcp.propagate = True
