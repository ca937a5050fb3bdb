"""`python -m rlhf dataset ...` as a child: what a file makes it do, it does to itself alone.

It gets no secret, a limit on its memory and on its time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from gateway.errors import BadRequest, TooLarge

ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 3000
SECONDS = 300.0


async def dataset(*arguments: str) -> Any:
    """What a verb with `--json` found. Raises as `run`."""
    return json.loads((await run(*arguments)).splitlines()[-1])


async def run(*arguments: str) -> str:
    """What the verb printed.

    Raises BadRequest with its own words, TooLarge where it took too long or too much.
    """
    command = [sys.executable, "-P", "-m", "rlhf", "dataset", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError as error:
        raise TooLarge(f"Reading the file took over {SECONDS:g} s; split it into several.") from error
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
