"""PEFT folders to GGUF LoRA through llama.cpp's own script, in a converter process that stays warm.

Importing torch and the script's packages takes seconds; the converter imports once and forks a child for
every adapter, which writes the file and is gone. A crash of the child is a refusal and nothing more.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from llm_server.adapters.check_peft import B_END
from llm_server.adapters.line_process import LineProcess
from llm_server.adapters.source import CONFIG, WEIGHTS, read_config
from llm_server.convert.converter import fetch_converter
from llm_server.convert.files import publish
from llm_server.convert.onnx_adapter import read_tensors
from llm_server.errors import AdapterRefused, PreparationFailed

PROGRAM = Path(__file__).with_name("converter_process.py")


class Converter:
    """Started at the first adapter; one conversion at a time."""

    def __init__(self) -> None:
        self._process = LineProcess(lambda: [sys.executable, str(PROGRAM), str(fetch_converter())])

    def convert(self, folder: Path, base: Path, target: Path) -> None:
        """Write `target`. AdapterRefused (not_convertible) with the script's last words; PreparationFailed
        where the disk is full.
        """
        with tempfile.TemporaryDirectory(prefix="adapter-") as scratch:
            staged = _staged(folder, Path(scratch))
            job = {"adapter": str(staged), "base": str(base), "target": str(target)}
            answer = self._process.ask(job) or {"said": "the converter process ended"}
        if answer.get("status") == os.EX_IOERR:
            raise PreparationFailed(f"Cannot write {target}: {answer['said'][-400:]}")
        if answer.get("status") != 0 or not target.is_file():
            raise AdapterRefused(
                f"llama.cpp's converter does not take {folder.name}: {answer.get('said', '')[-400:]}",
                code="not_convertible",
            )

    def close(self) -> None:
        """End the process."""
        self._process.close()


def lora_to_gguf(source: Path, target: Path, base: Path) -> None:
    """Write a PEFT folder as a GGUF LoRA; `base` is its model's transformers folder. AdapterRefused,
    PreparationFailed.
    """
    converter = Converter()
    try:
        publish(target, lambda part: converter.convert(source, base, part))
    finally:
        converter.close()


def _staged(folder: Path, scratch: Path) -> Path:
    """The folder as the script reads it: it knows nothing of rank-stabilised scaling (alpha by root r)."""
    config = read_config(folder)
    stabilised, rank = config.get("use_rslora"), int(config["r"])
    if stabilised:
        config["lora_alpha"] = float(config["lora_alpha"]) * rank**0.5
        config["use_rslora"] = False
    (scratch / CONFIG).write_text(json.dumps(config))
    if stabilised and config.get("rank_pattern"):
        _write_stabilised(folder / WEIGHTS, scratch / WEIGHTS, rank)
    else:
        (scratch / WEIGHTS).symlink_to((folder / WEIGHTS).resolve())
    return scratch


def _write_stabilised(source: Path, target: Path, rank: int) -> None:
    """llama.cpp divides one alpha by each module's rank n: B makes alpha / root n of alpha * root r / n."""
    tensors = read_tensors(source)
    for name, tensor in tensors.items():
        if name.endswith(B_END):
            tensors[name] = tensor * np.float32((tensor.shape[1] / rank) ** 0.5)
    save_file(tensors, target, {"format": "pt"})
