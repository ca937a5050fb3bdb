"""Kinds of steps for tests: cheap, deterministic, and honest about how often they ran."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from rlhf.errors import DatasetError
from rlhf.pipelines.kinds import Kind, Parameters, Work

PLUGIN = "tests.rlhf.pipelines.writing:register"


class Write(Parameters):
    """`ledger`: a file that receives a line for each start, part and end; `parts`: files to write."""

    ledger: str
    name: str
    parts: int = 3
    seconds: float = 0.0
    """Of work for each part."""


def part_of(name: str, number: int, before: str) -> str:
    """What a part says: a hash that takes some work."""
    digest = f"{name} {number} {before}"
    for _ in range(200):
        digest = sha256(digest.encode()).hexdigest()
    return digest


def note(ledger: str, line: str) -> None:
    """A line that several processes may write at once."""
    with Path(ledger).open("a") as file:
        file.write(line + "\n")


def write(work: Work) -> dict[str, Any]:
    """Write files one after the other."""
    given: Write = work.parameters
    before = "".join(Path(value["path"]).read_text() for _, value in sorted(work.inputs.items()))
    note(given.ledger, f"start {given.name}")
    parts = []
    for number in range(given.parts):
        time.sleep(given.seconds)
        parts.append(part_of(given.name, number, before))
        note(given.ledger, f"part {given.name} {number}")
        work.tell(f"wrote part {number}")
        work.advance((number + 1) / given.parts, f"part {number + 1} of {given.parts}", 10.0, 0.1)
    (work.folder / "whole").write_text("".join(parts))
    note(given.ledger, f"end {given.name}")
    return {"text": {"path": "whole"}}


class Meet(Parameters):
    """`files`: the one to make, and those to wait for."""

    makes: str
    waits_for: str = ""
    pid: str = ""


def meet(work: Work) -> dict[str, Any]:
    """Make a file, then wait for another; with `pid`, start a grandchild and write both numbers there."""
    given: Meet = work.parameters
    if given.pid:
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        Path(given.pid).write_text(f"{os.getpid()} {grandchild.pid}")
    (work.folder / "half").write_text("not finished")
    Path(given.makes).write_text("here")
    while given.waits_for and not Path(given.waits_for).exists():
        time.sleep(0.02)
    (work.folder / "whole").write_text(given.makes)
    return {"text": {"path": "whole"}}


class Trouble(Parameters):
    """`kind`: what goes wrong; `ledger`: who counts."""

    kind: str
    ledger: str
    passes_after: int = 10_000


def trouble(work: Work) -> dict[str, Any]:
    """Fail as asked, until it has failed often enough."""
    given: Trouble = work.parameters
    note(given.ledger, f"{time.time()}")
    (work.folder / "half").write_text("not finished")
    if len(Path(given.ledger).read_text().splitlines()) > given.passes_after:
        (work.folder / "whole").write_text("passed")
        return {"text": {"path": "whole"}}
    if given.kind == "disk":
        # The device that answers every write with ENOSPC.
        Path("/dev/full").write_text("x" * 100_000)
    if given.kind == "memory":
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] < 2**31
        bytearray(2**31)
    if given.kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if given.kind == "rows":
        raise DatasetError("row 7 has no prompt")
    raise RuntimeError("the server hiccuped")


class Nothing(Parameters):
    """Nothing is needed."""


def promise(work: Work) -> dict[str, Any]:
    """Promise a file that is not there."""
    return {"text": {"path": "whole"}}


def register(add: Callable[[Kind], None]) -> None:
    """The plugin."""
    text = {"text": "text"}
    add(Kind("write", write, Write, {"a": "text", "b": "text"}, frozenset("ab"), text))
    add(Kind("meet", meet, Meet, {"a": "text"}, frozenset("a"), text))
    add(Kind("trouble", trouble, Trouble, {}, outputs=text))
    add(Kind("promise", promise, Nothing, outputs=text))
