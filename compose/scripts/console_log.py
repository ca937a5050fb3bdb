"""What the set-up scripts say: one line a step, with the time it took (standard library only)."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SPINNER = "|/-\\"


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and say how many seconds it took."""
    started = time.monotonic()
    say(f"==> {title}")
    yield
    say(f"    done in {time.monotonic() - started:.1f} s")


def run_logged(title: str, command: Sequence[str], log: Path, *, env: dict[str, str] | None = None) -> None:
    """Run a long command, its output in `log`, with a line that shows time and the newest output.

    Raises:
        SystemExit: the command failed; the end of its log is printed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    env = (env or dict(os.environ)) | {"NO_COLOR": "1"}
    with step(title), log.open("w") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env=env)
        watcher = threading.Thread(target=_watch, args=(process, log), daemon=True)
        watcher.start()
        code = process.wait()
        watcher.join(timeout=2)
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SystemExit(f"{title}: failed (exit {code}). The end of {log}:\n{tail}")


def _watch(process: subprocess.Popen[bytes], log: Path) -> None:
    """Show progress: a live line on a terminal, a line every half minute in a log."""
    started, tick, terminal = time.monotonic(), 0, sys.stdout.isatty()
    while process.poll() is None:
        time.sleep(0.5 if terminal else 1)
        tick += 1
        seconds = int(time.monotonic() - started)
        if terminal:
            width = shutil.get_terminal_size().columns - 2
            line = f"    {SPINNER[tick % 4]} {seconds // 60}:{seconds % 60:02d}  {_newest_line(log)}"
            sys.stdout.write("\r" + line[:width].ljust(width))
            sys.stdout.flush()
        elif tick % 30 == 0:
            say(f"    {seconds // 60}:{seconds % 60:02d}  {_newest_line(log)[:100]}")
    if terminal:
        sys.stdout.write("\r" + " " * (shutil.get_terminal_size().columns - 2) + "\r")


def _newest_line(log: Path) -> str:
    """The last complete line that a command wrote."""
    with log.open("rb") as source:
        source.seek(0, 2)
        source.seek(max(0, source.tell() - 2000))
        lines = source.read().decode(errors="replace").splitlines()
    return lines[-1].strip() if lines else ""
