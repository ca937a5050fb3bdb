"""From a setting to a file that the engine can load: found, downloaded, converted, whichever it takes."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from llm_server.backends.onnx_manifest import MANIFEST
from llm_server.convert import tokenizer
from llm_server.convert.attention import check_window
from llm_server.convert.converter import converter_folder
from llm_server.convert.files import content_hash, publish
from llm_server.convert.gguf import convert_folder
from llm_server.convert.hub import download
from llm_server.convert.minilm import MAX_TOKENS, minilm_folder
from llm_server.convert.minilm import MODEL_ID as MINILM_ID
from llm_server.convert.onnx_encoder import prepare_encoder
from llm_server.convert.onnx_folder import prepare_onnx
from llm_server.convert.sentence import Sentence, read_sentence
from llm_server.errors import PreparationFailed
from llm_server.settings import STARTER

log = logging.getLogger(__name__)

STARTER_FOLDER = Path(__file__).resolve().parents[2] / "rlhf" / "starter" / "model"
STARTER_ID = "loopyard-starter"
INPUTS = ("*.safetensors", "*.json", "*.jinja", "vocab.txt", "*.model", "merges.txt")
KINDS = ("f32", "f16", "q8_0", "q4_k_m")
Progress = Callable[[str], None]
"""Told what begins, in words for people."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that can be loaded."""

    id: str
    path: Path
    tokenizer: Path | None = None
    """tokenizer.json, where the model's own is used."""
    folder: Path | None = None
    """The transformers folder that it was made from."""


def prepare_chat(model: str, data: Path, quantisation: str, progress: Progress = log.info) -> Prepared:
    """The chat model of setting `model` for llama.cpp. PreparationFailed says what is missing."""
    name, found = _find(model, data, progress)
    if found.is_file():
        return Prepared(name, found)
    return _from_folder(found, name, data, quantisation, progress)


def prepare_onnx_chat(
    model: str, data: Path, precision: str, progress: Progress = log.info, context: int | None = None
) -> Prepared:
    """The chat model of setting `model` for ONNX Runtime, for sequences of `context` tokens. A folder that
    `convert` has made for ONNX Runtime is taken as it is.

    PreparationFailed says what is missing, or why it cannot be.
    """
    name, found = _find(model, data, progress)
    if found.is_file():
        raise PreparationFailed(f"ONNX Runtime needs a transformers folder or a hub name, not {found.name}.")
    if (found / MANIFEST).is_file():
        return Prepared(name, found)
    file = found / "config.json"
    check_window(json.loads(file.read_text()) if file.is_file() else {}, context)
    progress(f"Preparing {name} for ONNX Runtime")
    return Prepared(name, prepare_onnx(found, name, data, precision), folder=found)


def _find(model: str, data: Path, progress: Progress) -> tuple[str, Path]:
    """Id of the model, and its .gguf file or transformers folder."""
    return local_chat(model) or (model, download(model, data / "hub", progress))


def transformers_folder(model: str, data: Path, progress: Progress = log.info) -> Path:
    """The transformers folder of a setting: `starter`, a folder, or a name on the hub. PreparationFailed."""
    _, found = _find(model, data, progress)
    if not (found / "config.json").is_file():
        raise PreparationFailed(f"{found} has no config.json: it is not a transformers model.")
    return found


def local_chat(model: str) -> tuple[str, Path] | None:
    """Id and place of a model on this disk, None for a name on the hub. PreparationFailed where a path leads
    nowhere.
    """
    if model == STARTER:
        if not (STARTER_FOLDER / "config.json").is_file():
            raise PreparationFailed(
                f"The starter model is not at {STARTER_FOLDER}. Set LLM_MODEL to another model."
            )
        return STARTER_ID, STARTER_FOLDER
    path = Path(model).expanduser()
    if path.is_file():
        return path.stem.lower(), path
    if path.is_dir():
        return path.resolve().name.lower(), path
    missing_file = path.suffix == ".gguf" and ":" not in model
    if missing_file or path.is_absolute() or model.startswith("."):
        raise PreparationFailed(f"There is no model at {path}.")
    return None


def prepare_embedder(data: Path, progress: Progress = log.info) -> Prepared:
    """The embedded embedding model, as f16."""
    folder = minilm_folder()
    prepared = _from_folder(folder, MINILM_ID, data, "f16", progress)
    return Prepared(MINILM_ID, prepared.path, folder / "tokenizer.json")


def prepare_onnx_embedder(data: Path, progress: Progress = log.info) -> Prepared:
    """The embedded embedding model for ONNX Runtime."""
    progress(f"Preparing {MINILM_ID} for ONNX Runtime")
    folder = minilm_folder()
    return Prepared(MINILM_ID, prepare_encoder(folder, MINILM_ID, data, "mean", MAX_TOKENS), folder=folder)


def prepare_sentence(
    model: str, data: Path, wanted: Sentence, progress: Progress = log.info
) -> tuple[Prepared, Sentence]:
    """A sentence-embedding model for ONNX Runtime, out of a transformers folder or from the hub, and how it
    makes vectors. PreparationFailed.
    """
    name, found = (MINILM_ID, minilm_folder()) if model == MINILM_ID else _find(model, data, progress)
    if found.is_file():
        raise PreparationFailed(
            f"An embedding model is a transformers folder or a hub name, not {found.name}."
        )
    if model == MINILM_ID:
        wanted = replace(wanted, max_tokens=wanted.max_tokens or MAX_TOKENS)
    sentence = read_sentence(found, wanted)
    progress(f"Preparing {name} for ONNX Runtime")
    path = prepare_encoder(found, name, data, sentence.head, sentence.max_tokens or 0)
    return Prepared(name, path, folder=found), sentence


def prepare_classifier(model: str, data: Path, progress: Progress = log.info) -> Prepared:
    """A sequence classifier for ONNX Runtime, out of a transformers folder or from the hub."""
    name, found = _find(model, data, progress)
    if found.is_file():
        raise PreparationFailed(f"A classifier is a transformers folder or a hub name, not {found.name}.")
    progress(f"Preparing {name} for ONNX Runtime")
    return Prepared(name, prepare_encoder(found, name, data, "scores"), folder=found)


def _from_folder(folder: Path, name: str, data: Path, kind: str, progress: Progress) -> Prepared:
    """The GGUF of a transformers folder, made unless one of the same content is there."""
    inputs = {path for pattern in INPUTS for path in folder.glob(pattern)}
    digest = content_hash(inputs, kind, tokenizer.kind(folder), converter_folder().name)
    target = data / f"{name.replace('/', '--')}-{kind}-{digest}.gguf"
    if not target.is_file():
        progress(f"Converting {name} to {target.name}")
        folder_to_gguf(folder, target, kind)
    return Prepared(name, target, folder=folder)


def folder_to_gguf(folder: Path, target: Path, kind: str) -> None:
    """Write a model as GGUF; `kind` is f32, f16, q8_0 or q4_k_m. PreparationFailed."""
    if not (folder / "config.json").is_file():
        raise PreparationFailed(f"{folder} has no config.json: it is not a transformers model.")
    if kind not in KINDS:
        raise PreparationFailed(f"`{kind}` is no kind of weights; there are {', '.join(KINDS)}.")
    publish(target, lambda part: convert_folder(folder, part, kind))
