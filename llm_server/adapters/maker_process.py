"""The program of `maker.py`: KIND MODEL FOLDER, a JSON job a line in, a JSON answer a line out."""

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.probe import Effect
from llm_server.adapters.source import Source, read_source
from llm_server.errors import AdapterRefused, LlmServerError

log = logging.getLogger(__name__)


class Making(Protocol):
    """`LlamaMaker`, or `OnnxMaker`, whose adapters are tried where the graph is."""

    def make(self, source: Source, target: Path) -> Facts:
        """Check an adapter and write it in the engine's own format."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


def main() -> None:
    """Serve until the input ends."""
    # Libraries write to the standard output; the answers go to what it was before.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    kind, path, folder = sys.argv[1:]
    maker = _maker(kind, Path(path), Path(folder) if folder else None)
    _yield()
    try:
        for line in sys.stdin:
            answers.write(json.dumps(_answer(maker, json.loads(line))) + "\n")
            answers.flush()
    finally:
        maker.close()


def _maker(kind: str, path: Path, folder: Path | None) -> Making:
    if kind == "onnx":
        from llm_server.adapters.onnx_maker import OnnxMaker

        return OnnxMaker(path, folder)
    from llm_server.adapters.llama_maker import LlamaMaker

    return LlamaMaker(path, folder)


def _yield() -> None:
    """Take what decoding leaves. A low priority is not enough: threads that compute together wait at every
    barrier for the one that waits for a processor.
    """
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def _answer(maker: Making, job: dict[str, str]) -> dict[str, Any]:
    try:
        return {"done": asdict(_work(maker, job))}
    except AdapterRefused as error:
        return {"refused": {"message": error.message, "param": error.param, "code": error.code}}
    except LlmServerError as error:
        return {"failed": error.message}
    except OSError as error:
        return {"failed": f"Cannot write {job.get('target')}: {error.strerror or error}."}
    except Exception as error:
        log.exception("an adapter could not be made")
        message = f"The adapter could not be loaded: {error}"
        return {"refused": {"message": message, "param": None, "code": "load_failed"}}


def _work(maker: Making, job: dict[str, str]) -> Facts | Effect:
    if "probe" in job:
        from llm_server.adapters.llama_maker import LlamaMaker

        if not isinstance(maker, LlamaMaker):
            raise TypeError("adapters of this engine are tried where its graph is")
        return maker.probe(Path(job["probe"]))
    path = Path(job["make"])
    source = read_source(path)
    if source.digest != job["digest"]:
        raise AdapterRefused(f"{path} changed while it was read.", code="checksum_mismatch")
    return maker.make(source, Path(job["target"]))
