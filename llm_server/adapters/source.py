"""What a path holds: a PEFT folder, a GGUF LoRA or a bank, named by a hash of its content."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llm_server.convert.files import file_sha256
from llm_server.errors import AdapterRefused

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
IDLE = frozenset({"base_model_name_or_path", "inference_mode", "revision", "peft_version", "auto_mapping"})
"""Fields of a PEFT configuration that change no number."""
MAX_BYTES = 4 << 30
Kind = Literal["peft", "gguf", "bank"]
FILES: dict[str, Kind] = {".gguf": "gguf", ".safetensors": "bank"}
"""Suffix of a file to what it is."""


@dataclass(frozen=True, slots=True)
class Source:
    """An adapter on disk."""

    kind: Kind
    path: Path
    digest: str
    """`sha256:` and 64 hex digits over configuration and tensors."""
    bytes: int


def read_source(path: Path, sha256: str | None = None) -> Source:
    """Find out what is there and hash it.

    AdapterRefused: not_found, unreadable, unsafe_format, unknown_format, too_large, bad_config,
    checksum_mismatch.

    `sha256` (hex, with or without the prefix) is the hash that the caller expects, of the weight file or of
    the whole adapter.
    """
    path = _expanded(path)
    try:
        source, weights = _found(path)
    except OSError as error:
        # For one: its folder may be looked into and the file may not be read.
        raise AdapterRefused(
            f"{path} cannot be read: {error.strerror}.", param="source", code="unreadable"
        ) from error
    wanted = (sha256 or "").removeprefix("sha256:").lower()
    if wanted and wanted not in (weights, source.digest.removeprefix("sha256:")):
        raise AdapterRefused(
            f"{path} has the hash {weights}, not {wanted}: it is damaged or not what was meant.",
            param="sha256",
            code="checksum_mismatch",
        )
    return source


def _found(path: Path) -> tuple[Source, str]:
    """What is there, and the hash of its weight file. OSError, AdapterRefused."""
    if path.is_dir():
        return _peft(path)
    if path.is_file() and path.suffix in FILES:
        _refuse_large(path)
        digest = file_sha256(path)
        return Source(FILES[path.suffix], path, f"sha256:{digest}", path.stat().st_size), digest
    if path.exists():
        raise AdapterRefused(
            f"{path} is no PEFT folder, .gguf file or bank (.safetensors).",
            param="source",
            code="unknown_format",
        )
    raise AdapterRefused(f"There is nothing at {path}.", param="source", code="not_found")


def _expanded(path: Path) -> Path:
    """`~` is the home of a user; whether there is one, and such a name, is found out here."""
    try:
        path = path.expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise AdapterRefused(f"There is nothing at {path}: {why}", param="source", code="not_found") from None
    return path


def read_config(folder: Path) -> dict[str, Any]:
    """A PEFT folder's configuration. AdapterRefused: bad_config."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterRefused(f"{folder / CONFIG} cannot be read: {error}.", code="bad_config") from error
    if not isinstance(config, dict):
        raise AdapterRefused(f"{folder / CONFIG} is not an object.", code="bad_config")
    return config


def _peft(folder: Path) -> tuple[Source, str]:
    weights = folder / WEIGHTS
    if not (folder / CONFIG).is_file():
        raise AdapterRefused(f"{folder} has no {CONFIG}: it is not a PEFT adapter.", code="unknown_format")
    if not weights.is_file():
        if any(folder.glob("adapter_model.bin*")):
            raise AdapterRefused(
                f"{folder} has pickled weights (.bin), which can run code. Save it with safe_serialization.",
                code="unsafe_format",
            )
        raise AdapterRefused(f"{folder} has no {WEIGHTS}.", code="not_found")
    _refuse_large(weights)
    config = {key: value for key, value in read_config(folder).items() if key not in IDLE}
    of_weights = file_sha256(weights)
    whole = hashlib.sha256(json.dumps(config, sort_keys=True).encode() + of_weights.encode()).hexdigest()
    return Source("peft", folder, f"sha256:{whole}", weights.stat().st_size), of_weights


def _refuse_large(file: Path) -> None:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise AdapterRefused(f"{file} has {size:,} bytes, more than {MAX_BYTES:,}.", code="too_large")
