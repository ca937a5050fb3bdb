"""The job `check`: are the prepared models still what they were when they were first seen?

A prepared model has the hash of what it was made from in its name, so under one name there is only one
right content. It is recorded at first sight in DATA/jobs/models.json and compared from then on.
"""

import hashlib
import json
from pathlib import Path
from typing import TypedDict

from dbos import DBOS

from rlhf.errors import CheckFailed
from rlhf.jobs import Kind

CHUNK = 2**20


class Checked(TypedDict):
    """A model file. `known`: it was recorded before; `good`: its content is the recorded one."""

    name: str
    bytes: int
    sha256: str
    known: bool
    good: bool


@DBOS.workflow(name=Kind.CHECK.value)
def check(models: str, record: str) -> list[Checked]:
    """Compare every file below a models folder with the record, one recorded step a file.

    Raises:
        CheckFailed: there are no models, or some have changed; names them and the remedy.
    """
    checked = [check_file(models, name, wanted) for name, wanted in list_files(models, record)]
    if damaged := [entry["name"] for entry in checked if not entry["good"]]:
        remedy = f"delete them in {models}, and `python -m llm_server prepare` makes them again"
        raise CheckFailed(f"changed since they were made: {', '.join(damaged)}; {remedy}")
    remember(record, {entry["name"]: entry["sha256"] for entry in checked})
    return checked


@DBOS.step()
def list_files(models: str, record: str) -> list[tuple[str, str | None]]:
    """Names of the model files and their recorded SHA-256, None for one that was never seen."""
    folder = Path(models)
    names = sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in {".gguf", ".onnx"}
    )
    if not names:
        raise CheckFailed(f"{models} holds no models: `python -m llm_server prepare` makes them")
    known = json.loads(Path(record).read_text()) if Path(record).exists() else {}
    return [(name, known.get(name)) for name in names]


@DBOS.step()
def check_file(models: str, name: str, wanted: str | None) -> Checked:
    """Hash one file."""
    path = Path(models) / name
    found = sha256(path)
    return {
        "name": name,
        "bytes": path.stat().st_size,
        "sha256": found,
        "known": wanted is not None,
        "good": wanted in (None, found),
    }


@DBOS.step()
def remember(record: str, hashes: dict[str, str]) -> None:
    """Replace the record; files that are gone are forgotten."""
    partial = Path(record).with_suffix(".partial")
    partial.write_text(json.dumps(hashes, indent=1))
    partial.replace(record)


def sha256(path: Path) -> str:
    """Digest of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
