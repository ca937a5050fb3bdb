"""A transformers folder to a folder that the ONNX Runtime engine serves."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from llm_server.backends.onnx_manifest import MANIFEST
from llm_server.convert.files import content_hash
from llm_server.errors import PreparationFailed

INPUTS = ("*.safetensors", "*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt")
BUILDS = {
    "fp32": ("fp32", "cpu"),
    "int8": ("fp32", "cpu"),
    "int4": ("fp32", "cpu"),
    "fp16": ("fp16", "cuda"),
}
"""Precision to what the model builder makes; quantising comes after it, so that adapters stay in floats."""
LAYOUT = "2"
"""Changes when the graphs do: folders made before are made anew."""


def prepare_onnx(source: Path, name: str, data: Path, precision: str) -> Path:
    """The folder of a transformers folder under `data`, made unless one of the same content is there.

    PreparationFailed where it cannot be: the text has the builder's own reason.
    """
    digest = _digest(source, precision)
    target = data / f"{name.replace('/', '--')}-{precision}-{digest}-{LAYOUT}.onnx"
    publish_folder(target, MANIFEST, lambda part: _make(source, part, precision, digest))
    return target


def folder_to_onnx(source: Path, target: Path, precision: str) -> None:
    """The same in a folder of the caller's choice. PreparationFailed."""
    digest = _digest(source, precision)
    publish_folder(target, MANIFEST, lambda part: _make(source, part, precision, digest))


def _digest(source: Path, precision: str) -> str:
    """Of the transformers folder; adapters name it as their base."""
    if precision not in BUILDS:
        raise PreparationFailed(f"{precision!r} is not a precision of ONNX models: {', '.join(BUILDS)}.")
    if not (source / "config.json").is_file():
        raise PreparationFailed(f"{source} has no config.json: it is not a transformers model.")
    return folder_digest(source)


def folder_digest(source: Path) -> str:
    """What adapters for ONNX Runtime name their base by."""
    return content_hash({path for pattern in INPUTS for path in source.glob(pattern)})


def publish_folder(target: Path, last: str, make: Callable[[Path], None]) -> None:
    """Let `make` fill a folder beside its place, and rename it when it is whole. Does nothing where the file
    `last` is there already. PreparationFailed for a full disk.
    """
    if (target / last).is_file():
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        make(part)
        if not (target / last).is_file():
            part.replace(target)
    except OSError as error:
        raise PreparationFailed(f"Cannot write {target}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _make(source: Path, part: Path, precision: str, digest: str) -> None:
    built = part / "built"
    kind, provider = BUILDS[precision]
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(built)]
    # One matrix a module, as adapters know them; the default packs queries, keys and values into one.
    options = ["-p", kind, "-e", provider, "-c", str(part / "cache"), "--extra_options", "fuse_qkv=false"]
    run_program([*builder, *options])
    finish = [sys.executable, "-m", "llm_server.convert.onnx_build", str(built), str(source), str(part)]
    run_program([*finish, precision, digest])
    shutil.rmtree(built)
    shutil.rmtree(part / "cache", ignore_errors=True)


def run_program(command: list[str]) -> None:
    """A process of its own, which looks for nothing on the hub. PreparationFailed with its last words."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PreparationFailed(f"The conversion failed ({done.returncode}): {' '.join(lines[-2:])[-600:]}")
