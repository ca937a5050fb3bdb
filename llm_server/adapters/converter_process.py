"""The warm converter: `python converter_process.py SCRIPTS`, a JSON job a line in, a JSON answer a line out.

A program of its own because the scripts bring their own `gguf` package. The parent imports what every
conversion needs and stays single-threaded; a fork does the work.
"""

import errno
import importlib
import io
import json
import os
import runpy
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

SCRIPT = "convert_lora_to_gguf.py"


def main() -> None:
    """Import, then serve until the input ends. Whoever decodes meanwhile goes first: threads that compute
    together wait for the one that has lost its processor.
    """
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)
    folder = sys.argv[1]
    sys.path[:0] = [folder, f"{folder}/gguf-py"]
    sys.path = [entry for entry in sys.path if entry != str(Path(__file__).resolve().parent)]
    for name in ("torch", "transformers", "safetensors.torch", "conversion.base", "gguf"):
        importlib.import_module(name)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(f"{folder}/{SCRIPT}", json.loads(line))) + "\n")
        sys.stdout.flush()


def run(script: str, job: dict[str, Any]) -> dict[str, Any]:
    """One conversion in a fork: its exit status and the end of what it said."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os._exit(work(script, job, said))
        _, status = os.waitpid(child, 0)
        said.seek(0)
        text = said.read()[-2000:].decode(errors="replace")
    return {"status": os.waitstatus_to_exitcode(status), "said": " ".join(text.split())}


def work(script: str, job: dict[str, Any], said: Any) -> int:
    """The child: run the script with its output kept."""
    text = io.StringIO()
    sys.argv = [script, "--base", job["base"], "--outtype", "f16", "--outfile", job["target"], job["adapter"]]
    code = 0
    try:
        with redirect_stdout(text), redirect_stderr(text):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = int(end.code or 0) if isinstance(end.code, int | None) else 1
    except BaseException as error:
        text.write(f"{type(error).__name__}: {error}")
        code = os.EX_IOERR if _is_full(error) else 1
    said.write(text.getvalue().encode())
    said.flush()
    return code


def _is_full(error: BaseException) -> bool:
    """Whether the disk takes no more. numpy tells by the number of items that it could write."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, OSError) and (error.errno in numbers or " requested and " in str(error))


if __name__ == "__main__":
    main()
