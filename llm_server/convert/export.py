"""What `convert` writes: GGUF files, folders for ONNX Runtime, adapters for either, merged models."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llm_server.adapters.base import Base, vocabulary_hash
from llm_server.adapters.check_peft import check_base, check_finite
from llm_server.adapters.convert import lora_to_gguf
from llm_server.adapters.onnx_maker import OnnxMaker
from llm_server.adapters.source import CONFIG, WEIGHTS, read_config, read_source
from llm_server.backends.onnx_manifest import MANIFEST
from llm_server.convert.attention import check_window
from llm_server.convert.files import file_sha256
from llm_server.convert.modelfile import write_modelfile
from llm_server.convert.onnx_folder import folder_to_onnx, publish_folder, run_program
from llm_server.convert.prepare import KINDS, Progress, folder_to_gguf
from llm_server.errors import PreparationFailed

LORA, BANK, FOLDER, ONNX = "f16", "bank", "transformers", "onnx-"
PRECISIONS = ("fp32", "int8", "int4", "fp16")
EVERY = (*KINDS, *(ONNX + precision for precision in PRECISIONS), BANK, FOLDER)


@dataclass(frozen=True, slots=True)
class Export:
    """One conversion. `source` is a transformers folder, or a LoRA of any format."""

    source: Path
    target: Path
    kind: str | None = None
    """One of `EVERY`; None is q8_0 for a model, f16 for a LoRA, or a bank where it is to be .safetensors."""
    base: Path | None = None
    """Of a LoRA: its transformers folder, or for a bank the folder that ONNX Runtime serves."""
    merge: Path | None = None
    """A PEFT folder that is added to the model's weights before."""
    modelfile: bool = False
    """Write a Modelfile of Ollama beside the GGUF file."""


def export(wanted: Export, tell: Progress) -> list[Path]:
    """What was written, whole or not at all. PreparationFailed or AdapterRefused, with the remedy."""
    if wanted.kind is not None and wanted.kind not in EVERY:
        raise PreparationFailed(f"`{wanted.kind}` is no kind of weights; there are {', '.join(EVERY)}.")
    if wanted.source.is_file() or (wanted.source / CONFIG).is_file():
        return _adapter(wanted, tell)
    if not (wanted.source / "config.json").is_file():
        raise PreparationFailed(f"{wanted.source} has no config.json: it is not a transformers model.")
    return _model(wanted, wanted.kind or "q8_0", tell)


def _model(wanted: Export, kind: str, tell: Progress) -> list[Path]:
    onnx, whole = kind.startswith(ONNX), kind == FOLDER
    if kind == BANK:
        raise PreparationFailed(f"{wanted.source} is a model: --to {BANK} is for LoRA adapters.")
    if whole and wanted.merge is None:
        raise PreparationFailed(
            f"{wanted.source} is a transformers folder already: name a LoRA with --merge."
        )
    if wanted.modelfile and (onnx or whole):
        raise PreparationFailed(f"Ollama reads GGUF files, not {kind}: leave --modelfile out.")
    if (onnx or whole) and wanted.target.exists():
        raise PreparationFailed(f"{wanted.target} is there already: remove it, or name another folder.")
    if whole and wanted.merge is not None:
        tell(f"Merging {wanted.merge.name} into {wanted.source.name}")
        publish_folder(wanted.target, "config.json", _merging(wanted.source, wanted.merge))
        return [wanted.target]
    with _merged(wanted, tell) as folder:
        tell(f"Converting {folder.name} to {wanted.target.name}")
        if onnx:
            check_window(json.loads((folder / "config.json").read_text(encoding="utf-8")), None)
            folder_to_onnx(folder, wanted.target, kind.removeprefix(ONNX))
            return [wanted.target]
        folder_to_gguf(folder, wanted.target, kind)
        return [wanted.target, *([write_modelfile(folder, wanted.target)] if wanted.modelfile else [])]


def _adapter(wanted: Export, tell: Progress) -> list[Path]:
    source, base = wanted.source, wanted.base
    kind = wanted.kind or (BANK if wanted.target.suffix == ".safetensors" else LORA)
    if wanted.merge is not None:
        raise PreparationFailed(f"{source} is a LoRA adapter: name its base first, and it after --merge.")
    if kind not in (LORA, BANK):
        raise PreparationFailed(
            f"{source} is a LoRA adapter: --to {LORA} writes it for llama.cpp, --to {BANK} for ONNX Runtime; "
            f"for {kind} name its base first, and it after --merge."
        )
    if base is None:
        raise PreparationFailed(f"{source} is a LoRA adapter: name its base model's folder with --base.")
    tell(f"Converting {source.name} to {wanted.target.name}")
    if kind == BANK:
        return [_bank(wanted, base)]
    if source.is_file():
        raise PreparationFailed(f"{source} is no PEFT folder: it can be written as a {BANK} only.")
    lora_to_gguf(source, wanted.target, base)
    return [wanted.target, *(_with_base(wanted, base, tell) if wanted.modelfile else [])]


def _bank(wanted: Export, base: Path) -> Path:
    if wanted.modelfile:
        raise PreparationFailed(f"Ollama reads GGUF files, not a {BANK}: leave --modelfile out.")
    if not (base / MANIFEST).is_file():
        raise PreparationFailed(
            f"{base} is no folder for ONNX Runtime, whose graph a {BANK} has to fit: make one with "
            f"`convert {base} FOLDER --to onnx-int8`, and name it with --base."
        )
    OnnxMaker(base, None).make(read_source(wanted.source), wanted.target)
    return wanted.target


def _with_base(wanted: Export, base: Path, tell: Progress) -> Iterator[Path]:
    """The base beside its LoRA, and a Modelfile that names both."""
    model = wanted.target.with_name(f"{base.resolve().name}-q8_0.gguf")
    if model == wanted.target:
        raise PreparationFailed(f"{model.name} is what the base will be called: name another file.")
    tell(f"Converting {base.name} to {model.name}")
    folder_to_gguf(base, model, "q8_0")
    yield model
    yield write_modelfile(base, model, wanted.target)


@contextmanager
def _merged(wanted: Export, tell: Progress) -> Iterator[Path]:
    """The folder to convert: the model's own, or one with the LoRA merged, for as long as it is needed."""
    if wanted.merge is None:
        yield wanted.source
        return
    tell(f"Merging {wanted.merge.name} into {wanted.source.name}")
    try:
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=wanted.target.parent, prefix=".merged-")
    except OSError as error:
        raise PreparationFailed(f"Cannot write {wanted.target}: {error.strerror or error}.") from error
    with scratch:
        # The folder's name becomes the model's name in a GGUF file.
        folder = Path(scratch.name) / f"{wanted.source.resolve().name}-{wanted.merge.resolve().name}"
        publish_folder(folder, "config.json", _merging(wanted.source, wanted.merge))
        yield folder


def _merging(base: Path, adapter: Path) -> Callable[[Path], None]:
    """What writes the merged folder. AdapterRefused for an adapter that was trained for another base, or that
    holds what must not be read.
    """
    source = read_source(adapter)
    if source.kind != "peft":
        raise PreparationFailed(f"{adapter} is no PEFT folder: only those can be merged.")
    weights = frozenset(file_sha256(file) for file in sorted(base.glob("*.safetensors")))
    check_base(read_config(adapter), Base("", {}, 0, base, weights, vocabulary_hash(base)))
    check_finite(adapter / WEIGHTS)
    program = [sys.executable, "-m", "llm_server.convert.merge", str(base), str(adapter)]
    return lambda part: run_program([*program, str(part)])
