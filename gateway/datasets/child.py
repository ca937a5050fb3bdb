"""`python -m rlhf ...` as a child: what a file makes it do, it does to itself alone.

It gets no secret, a limit on its memory and on its time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import BadRequest, TooLarge

ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 3000
SECONDS = 300.0
FORGETTING_SECONDS = 540.0
"""For reading every dataset."""
PASSED = ("RLHF_PII_REGIONS", "RLHF_PII_MODEL")
"""What personal data are has to mean the same here and in the worker."""


async def dataset(*arguments: str) -> Any:
    """What a verb with `--json` found. Raises as `run`."""
    return json.loads((await run("dataset", *arguments)).splitlines()[-1])


async def forget(user: str, traces: Iterable[str], root: Path) -> Any:
    """What `python -m rlhf forget` did below a folder. Raises as `run`."""
    options = ("--json", f"--memory={MEGABYTES}", "--traces=-", "--", user, str(root))
    said = await run("forget", *options, given="\n".join(traces), seconds=FORGETTING_SECONDS)
    return json.loads(said.splitlines()[-1])


async def run(
    *arguments: str, given: str = "", seconds: float = SECONDS, env: Mapping[str, str] | None = None
) -> str:
    """What the verb printed; `given` is its standard input, `env` more of its environment.

    Raises BadRequest with its own words, TooLarge where it took too long or too much.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "rlhf", *arguments),
        env={
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            **{name: os.environ[name] for name in PASSED if name in os.environ},
            **(env or {}),
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(given.encode()), seconds)
    except TimeoutError as error:
        raise TooLarge(f"Reading the file took over {seconds:g} s; split it into several.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not out.strip():
        lines = err.decode(errors="replace").strip().splitlines()
        if (process.returncode or 0) < 0 or (lines and "MemoryError" in lines[-1]):
            raise TooLarge("Reading the file took more memory than it may; split it into several.")
        raise BadRequest("\n".join(lines) or "The file cannot be read.", param="file")
    return out.decode()
