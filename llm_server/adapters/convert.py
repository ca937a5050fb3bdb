"""PEFT folders to GGUF LoRA through llama.cpp's own script, in a converter process that stays warm.

Importing torch and the script's packages takes seconds; the converter imports once and forks a child for
every adapter, which writes the file and is gone. A crash of the child is a refusal and nothing more.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from llm_server.adapters.source import CONFIG, WEIGHTS, read_config
from llm_server.convert.converter import fetch_converter
from llm_server.convert.files import publish
from llm_server.convert.prepare import folder_to_gguf
from llm_server.errors import AdapterRefused, PreparationFailed

PROGRAM = Path(__file__).with_name("converter_process.py")
SECONDS = 300
"""A conversion that takes longer is ended."""


class Converter:
    """Started at the first adapter; one conversion at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def convert(self, folder: Path, base: Path, target: Path) -> None:
        """Write `target`. AdapterRefused (not_convertible) with the script's last words; PreparationFailed
        where the disk is full.
        """
        with tempfile.TemporaryDirectory(prefix="adapter-") as scratch, self._lock:
            staged = _staged(folder, Path(scratch))
            answer = self._ask({"adapter": str(staged), "base": str(base), "target": str(target)})
        if answer.get("status") == os.EX_IOERR:
            raise PreparationFailed(f"Cannot write {target}: {answer['said'][-400:]}")
        if answer.get("status") != 0 or not target.is_file():
            raise AdapterRefused(
                f"llama.cpp's converter does not take {folder.name}: {answer.get('said', '')[-400:]}",
                code="not_convertible",
            )

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.terminate()
        process.wait(10)

    def _ask(self, job: dict[str, str]) -> dict[str, Any]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise PreparationFailed("The converter process has no pipes.")
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self._stop()
            return {"status": -1, "said": "the converter process ended"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, str(PROGRAM), str(fetch_converter())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        return self._process


def convert_any(source: Path, target: Path, kind: str, base: Path | None) -> None:
    """A model folder or a LoRA folder to a GGUF file. PreparationFailed or AdapterRefused."""
    if not (source / CONFIG).is_file():
        folder_to_gguf(source, target, kind)
        return
    if base is None:
        raise PreparationFailed(f"{source} is a LoRA adapter: name its base model's folder with --base.")
    converter = Converter()
    try:
        publish(target, lambda part: converter.convert(source, base, part))
    finally:
        converter.close()


def _staged(folder: Path, scratch: Path) -> Path:
    """The folder as the script reads it: it knows nothing of rank-stabilised scaling (alpha by root r)."""
    config = read_config(folder)
    if config.get("use_rslora"):
        config["lora_alpha"] = float(config["lora_alpha"]) * float(config["r"]) ** 0.5
        config["use_rslora"] = False
    (scratch / CONFIG).write_text(json.dumps(config))
    (scratch / WEIGHTS).symlink_to((folder / WEIGHTS).resolve())
    return scratch
