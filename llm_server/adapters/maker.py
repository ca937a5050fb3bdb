"""What reads, checks, converts and tries adapters, seen from the server: a program beside it.

All of that is Python and arithmetic for tens of milliseconds, and whoever decodes would wait for the
interpreter's lock meanwhile. The program has a lock of its own, and takes what time decoding leaves.
"""

import sys
from pathlib import Path
from typing import Any, Literal

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.line_process import LineProcess
from llm_server.adapters.probe import Effect
from llm_server.adapters.source import Source
from llm_server.errors import AdapterRefused, PreparationFailed

Kind = Literal["llama_cpp", "onnx"]
PROGRAM = "llm_server.adapters.maker_process"
ROOT = Path(__file__).resolve().parents[2]


class Maker:
    """For one base model; the program starts with its first adapter."""

    def __init__(self, kind: Kind, path: Path, folder: Path | None) -> None:
        """`path`: what is served; `folder`: the transformers folder that it was made from."""
        # Not with -m: a folder of the same name where the server was started must not be taken for ours.
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {PROGRAM} import main; main()"
        places = [str(path.absolute()), "" if folder is None else str(folder.absolute())]
        self._process = LineProcess(lambda: [sys.executable, "-P", "-c", code, kind, *places])

    def make(self, source: Source, target: Path) -> Facts:
        """Write `target` in the engine's format. AdapterRefused, PreparationFailed."""
        found = self._ask({"make": str(source.path), "digest": source.digest, "target": str(target)})
        return Facts(**{**found, "targets": tuple(found["targets"])})

    def probe(self, file: Path) -> Effect:
        """What an adapter that was made changes. AdapterRefused."""
        return Effect(**self._ask({"probe": str(file)}))

    def close(self) -> None:
        """End the program."""
        self._process.close()

    def _ask(self, job: dict[str, str]) -> dict[str, Any]:
        answer = self._process.ask(job)
        if answer is None:
            raise AdapterRefused(
                "The adapter could not be loaded: the process that checks it ended.", code="load_failed"
            )
        if "refused" in answer:
            raise AdapterRefused(**answer["refused"])
        if "failed" in answer:
            raise PreparationFailed(answer["failed"])
        done: dict[str, Any] = answer["done"]
        return done
