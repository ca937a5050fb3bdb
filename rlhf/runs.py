"""The folder of a training run: its rows, its checkpoints, its result, what that was made of."""

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlhf.data.folder import refuse_withdrawn
from rlhf.data.ready import refuse_unready
from rlhf.errors import TrainingError
from rlhf.recipe import Common
from rlhf.registry import file_sha256, folder_digest, weights_of, write
from rlhf.sources import commit, sources_sha256

FILES = ("train.jsonl", "held_out.jsonl")
WHOLE = ("trainer_state.json", "optimizer.pt", "scheduler.pt")
"""Files of a checkpoint beside its weights; the first is written last."""
CODE = ("loopyard", "torch", "transformers", "trl", "peft", "sentence-transformers", "scikit-learn")


def paths(dataset: Path) -> list[Path]:
    """Where a dataset's rows are: to train on, held out."""
    return [dataset / name for name in FILES]


def data_files(dataset: Path, method: str) -> list[Path]:
    """Those that are there, and may be trained on by a method.

    Raises:
        TrainingError: there are no rows to train on.
        Leak, DatasetError, BadRecords: as `refuse_unready`.
    """
    refuse_withdrawn(dataset)
    files = [path for path in paths(dataset) if path.is_file()]
    if dataset / FILES[0] not in files:
        raise TrainingError(
            f"{dataset} has no {FILES[0]}: build a dataset first (python -m rlhf dataset build)"
        )
    refuse_unready(dataset, method)
    return files


def record(method: str, result: str, recipe: Common, files: list[Path], base: Path) -> dict[str, Any]:
    """What the result was made of."""
    return {
        "method": method,
        "result": result,
        "dataset": str(files[0].parent.absolute()),
        "data": {file.name: file_sha256(file) for file in files},
        "base": {"path": str(base), "sha256": weights_of(base)},
        "code": code_versions(),
        "recipe": recipe.model_dump(mode="json"),
    }


def code_versions() -> dict[str, str]:
    """Versions of what computes, and of our own sources: their hash and, where there is one, the commit."""
    found = {"sources": f"sha256:{sources_sha256()}"}
    if known := commit():
        found["commit"] = known
    for name in CODE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def forget_other_runs(run: Path, inputs: list[Any]) -> str:
    """Delete checkpoints of other data or another recipe: going on from them would be neither run. What names
    this one.
    """
    key, file = hashlib.sha256(json.dumps(inputs).encode()).hexdigest(), run / "inputs.json"
    if run.exists() and (not file.is_file() or json.loads(file.read_text()) != {"key": key}):
        shutil.rmtree(run)
    run.mkdir(exist_ok=True)
    write(file, {"key": key})
    return key


def last_checkpoint(run: Path) -> str | None:
    """The newest whole checkpoint; those that a kill left half written are deleted."""
    found = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        if is_whole(path):
            return str(path)
        shutil.rmtree(path)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Whether all of a checkpoint was written: its state comes last and can be read."""
    try:
        json.loads((checkpoint / WHOLE[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    weights = any(checkpoint.glob("*.safetensors"))
    return weights and all((checkpoint / name).is_file() for name in WHOLE)


def whole_folder(folder: Path, fill: Callable[[Path], object]) -> str:
    """Write a folder, whole or not at all; its digest."""
    part = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    fill(part)
    (part / "README.md").unlink(missing_ok=True)
    (part / "training_args.bin").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder_digest(folder)
