"""Names of people and places, where the operator has put a spaCy model on the machine: none is downloaded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from rlhf.data.findings import Finding
from rlhf.data.light import TRAINERS, without
from rlhf.errors import SettingsError

KINDS = {"PERSON": "PERSON", "PER": "PERSON", "GPE": "PLACE", "LOC": "PLACE"}
"""Labels of spaCy's models."""
# Names are found without these.
_UNUSED = ("tagger", "parser", "lemmatizer", "attribute_ruler", "morphologizer")
# spaCy refuses texts over 1,000,000 characters, and needs some 1 GB for 100,000.
_PIECE = re.compile(r".{1,20000}(?:\s|\Z)|.{1,20000}", re.DOTALL)
_REMEDY = "set RLHF_PII_MODEL to the folder of a spaCy model or to an installed one's name, or leave it empty"


def model_folder(model: str) -> Path:
    """Folder of a model that is named by its path or package. SettingsError where there is none."""
    folder = Path(model)
    if not folder.is_dir() and model.isidentifier() and (found := find_spec(model)):
        folder = Path(next(iter(found.submodule_search_locations or ()), model))
    if not (folder / "meta.json").is_file():
        raise SettingsError(f"RLHF_PII_MODEL={model}: there is no spaCy model (no meta.json); {_REMEDY}")
    return folder


def described(model: str) -> str:
    """Language, name and version of a model. SettingsError."""
    try:
        meta = json.loads((model_folder(model) / "meta.json").read_text(encoding="utf-8"))
        return f"{meta['lang']}_{meta['name']} {meta['version']}"
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SettingsError(f"RLHF_PII_MODEL={model}: its meta.json makes no sense: {error}") from error


def search_names(model: str) -> Callable[[str], Iterator[Finding]]:
    """Finds PERSON and PLACE. SettingsError where the model cannot be loaded."""
    with without(*TRAINERS):
        import spacy
    try:
        read = spacy.load(model, exclude=_UNUSED)
    except (OSError, ValueError, ImportError) as error:
        raise SettingsError(f"RLHF_PII_MODEL={model} cannot be loaded: {error}") from error

    def search(text: str) -> Iterator[Finding]:
        for piece in _PIECE.finditer(text):
            for entity in read(piece.group()).ents:
                if kind := KINDS.get(entity.label_):
                    at = piece.start()
                    yield Finding(kind, at + entity.start_char, at + entity.end_char, 0.85)

    return search
