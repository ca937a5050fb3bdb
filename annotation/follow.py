"""Follow a project: Label Studio's webhooks wake us, and what is missed is made up for by looking anyway.

Label Studio sends a webhook once, with a short limit, and forgets it if that fails. So a webhook is only a
reason to look early: the export is what counts, and it is asked at least every `EVERY` seconds.
"""

import hmac
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from annotation.errors import LabelStudioError, RecordError
from annotation.label_studio import LabelStudio
from annotation.pull import Pulled, pull
from annotation.record import Record

PATH = "/loopyard/annotations"
EVERY = 20.0
GATHER = 0.5
"""Seconds that are waited after a webhook, because people and imports save several at a time."""
LIMIT = 1 << 20
_log = logging.getLogger(__name__)


class Doorbell:
    """An HTTP server whose only message is "something changed"; `url` is where it listens."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.secret = secrets.token_hex(16)
        self.rung = threading.Event()
        self._server = ThreadingHTTPServer((host, port), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}{PATH}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bell = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "0")
                self.rfile.read(min(int(length) if length.isdigit() else 0, LIMIT))
                given = self.headers.get("X-Loopyard-Secret", "")
                known = self.path == PATH and hmac.compare_digest(given.encode(), bell.secret.encode())
                if known:
                    bell.rung.set()
                self.send_response(204 if known else 404)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                _log.debug("webhook", extra={"path": self.path})

        return Handler


@contextmanager
def webhook(studio: LabelStudio, project: int, bell: Doorbell, url: str = "") -> Iterator[None]:
    """Have Label Studio ring the bell while this lasts.

    Args:
        url: the bell's address as Label Studio sees it, where that is another one.
    """
    studio.set_webhook(project, url or bell.url, bell.secret)
    try:
        yield
    finally:
        try:
            studio.drop_webhooks(project, PATH)
        except LabelStudioError as error:
            _log.warning("the webhook stays", extra={"error": str(error)})


def follow(
    studio: LabelStudio,
    record: Record,
    title: str,
    bell: Doorbell,
    told: Callable[[Pulled | Exception], None],
    stop: threading.Event,
    every: float = EVERY,
) -> None:
    """Pull at once, at every ring, and every `every` seconds, until `stop` is set.

    A Label Studio that is away for a while, or a disk that is full, is told and tried again.
    """
    while not stop.is_set():
        bell.rung.clear()
        try:
            told(pull(studio, record, title))
        except (LabelStudioError, RecordError) as error:
            told(error)
        _wait(bell.rung, stop, every)


def _wait(rung: threading.Event, stop: threading.Event, seconds: float) -> None:
    waited = 0.0
    while waited < seconds and not stop.is_set():
        if rung.wait(0.25):
            stop.wait(GATHER)
            return
        waited += 0.25
