"""The process around the application: a socket, signals, draining."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
import uvloop

from llm_server.app import create_app
from llm_server.config.source import SettingsSource
from llm_server.errors import LlmServerError
from llm_server.settings import Settings

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Ends in order on SIGTERM and SIGINT; uvicorn's own raises the signal again, so that no exit status
    is 0. SIGHUP follows the files of models and keys.
    """

    def __init__(self, config: uvicorn.Config, follow: Callable[[], None]) -> None:
        super().__init__(config)
        self._follow = follow

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals while serving."""
        handlers = {
            signal.SIGTERM: self.handle_exit,
            signal.SIGINT: self.handle_exit,
            signal.SIGHUP: self._reload,
        }
        before = {which: signal.signal(which, handler) for which, handler in handlers.items()}
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    def _reload(self, number: int, frame: FrameType | None) -> None:
        """A thread waits for the models; a signal's handler must not."""
        threading.Thread(target=self._follow, name="reload", daemon=True).start()


def run(settings: Settings, source: SettingsSource | None = None) -> int:
    """Serve until a signal. 0 after an ordered end, 1 when a model cannot be loaded, 2 when the key file is
    wrong, 3 when the port is taken.
    """
    # Read when llama.cpp's OpenMP is loaded, which is later. Threads that sleep at every barrier make a step
    # twice as long; threads that spin for one that has been descheduled, 25 times. This is a short spin.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        listener = _listen(settings)
    except OSError as error:
        sys.stderr.write(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Set LLM_PORT.\n"
        )
        return 3
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        text = error.message if isinstance(error, LlmServerError) else repr(error)
        log.error("the model cannot be loaded: %s", text)
        failures.append(error)
        server.should_exit = True

    try:
        application = create_app(settings, on_failure=failed, source=source)
    except LlmServerError as error:
        listener.close()
        sys.stderr.write(f"{error.message}\n")
        return 2
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    server = _Server(config, application.state.follow)
    log.info("listening on http://%s:%s", settings.host, listener.getsockname()[1])
    uvloop.run(server.serve(sockets=[listener]))
    return 1 if failures else 0


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it on, a kept connection
    # waits some 40 ms for the peer's delayed acknowledgement (measured).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    listener.listen(128)
    listener.setblocking(False)
    return listener
