"""Where the gateway's own runs are traced to."""

from __future__ import annotations

import logging

from gateway.settings import Settings
from gateway.traces.keys import read_key_file
from graphs.prices import Prices
from graphs.spool import Sink
from graphs.tracing import Tracing

_log = logging.getLogger(__name__)


def sink_of(settings: Settings) -> Sink | None:
    """The Langfuse server of the settings, else the embedded store, else nothing."""
    if settings.langfuse_host:
        secret = settings.langfuse_secret_key.get_secret_value()
        return Sink(settings.langfuse_host, settings.langfuse_public_key, secret, own=False)
    if not settings.traces_url:
        return None
    file = settings.data.absolute() / "langfuse-keys.json"
    try:
        pair = read_key_file(file)[0]
    except (OSError, ValueError, IndexError) as error:
        _log.warning(
            "chats are not traced, there are no keys", extra={"file": str(file), "error": str(error)}
        )
        return None
    return Sink(settings.traces_url, pair.public, pair.secret)


def open_tracing(settings: Settings) -> Tracing | None:
    sink = sink_of(settings)
    return (
        Tracing(sink, settings.data.absolute() / "run" / "spool", Prices(settings.prices)) if sink else None
    )
