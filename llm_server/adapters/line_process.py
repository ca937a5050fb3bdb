"""A program beside the server that is asked by lines of JSON."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

SECONDS = 300
"""An answer that takes longer is not waited for: the program is ended."""


class LineProcess:
    """Started at the first question; one question at a time. It ends by itself when its input does."""

    def __init__(self, command: Callable[[], Sequence[str]]) -> None:
        """`command` is asked for when the program is started."""
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; None where the program has ended instead."""
        with self._lock:
            return self._ask(question)

    def close(self) -> None:
        """End the program."""
        with self._lock:
            self._stop()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the program has no pipes")
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self._stop()
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._process = subprocess.Popen(
                list(self._command()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process

    def _stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # it has ended, and takes nothing more
                    pipe.close()
        process.terminate()
        process.wait(10)
