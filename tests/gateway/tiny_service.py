"""A real little service for the supervisor's tests: `python tiny_service.py PORT [BEHAVIOUR ...]`.

Behaviours: `slow` (ready after half a second), `stubborn` (ignores SIGTERM), `family` (has a child, and a
child in a session of its own), `broken` (ends at once with status 3). GET /hang makes it stop answering.
"""

import http.server
import signal
import subprocess
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /health."""

    begun = time.monotonic()
    slow = False
    hanging = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/hang":
            self.hanging.set()
        elif self.hanging.is_set():
            time.sleep(60)
        ready = not self.slow or time.monotonic() - self.begun > 0.5
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


def sleeper(new_session: bool) -> None:
    """Start a descendant that would sleep for ever."""
    code = "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=new_session)


def main() -> None:
    """Behave as told."""
    port, behaviours = int(sys.argv[1]), sys.argv[2:]
    print(f"tiny service on {port}", flush=True)
    if "broken" in behaviours:
        print("there is no model here", flush=True)
        sys.exit(3)
    if "stubborn" in behaviours:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "family" in behaviours:
        sleeper(new_session=False)
        sleeper(new_session=True)
    Handler.slow = "slow" in behaviours
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
