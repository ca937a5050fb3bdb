"""Outputs of steps, kept under the hash of what they were made from.

OBJECTS/steps/KEY/ is complete as soon as it exists; OBJECTS/steps/.KEY.partial is being made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlhf.errors import StepFailed
from rlhf.objects.depots import Depots
from rlhf.registry import file_sha256, write

RECORD = "step.json"
DIGITS = 32


def key_of(
    kind: str, code: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any], beside: Any = None
) -> str:
    """Hash of everything that a result depends on; where an input lies is no part of it."""
    content = [kind, code, parameters, {port: _identity(value) for port, value in inputs.items()}, beside]
    whole = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()[:DIGITS]


def folders(objects: Path, key: str) -> tuple[Path, Path]:
    """The finished folder and the partial one."""
    return objects / "steps" / key, objects / "steps" / f".{key}.partial"


def recorded(folder: Path, here: Callable[[Path], Path] = lambda path: path) -> dict[str, Any] | None:
    """The outputs of a finished step, paths made absolute; None where it is not there. One whose content is
    not what it was is deleted. `here`: where a path of another machine is on this one.
    """
    try:
        outputs: dict[str, Any] = json.loads((folder / RECORD).read_text())["outputs"]
    except FileNotFoundError:
        return None
    found = {port: _absolute(folder, value, here) for port, value in outputs.items()}
    if all(map(_intact, found.values())):
        return found
    shutil.rmtree(folder)
    return None


def kept(folder: Path, depots: Depots) -> dict[str, Any] | None:
    """The outputs of a step that was finished here or on another machine, kept for the others; None where it
    was not. ObjectError.
    """
    depots.artifacts.bring(folder)
    found = recorded(folder, depots.here)
    # The same step may have been done elsewhere in the meantime: one result is everybody's.
    theirs = found is not None and depots.artifacts.keep(folder)
    return recorded(folder, depots.here) if theirs else found


def publish(partial: Path, folder: Path, outputs: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Make a partial folder the finished one, whole or not at all. StepFailed where an output is missing."""
    signed = {port: _signed(partial, port, value) for port, value in outputs.items()}
    write(partial / RECORD, {"outputs": signed, **facts})
    partial.replace(folder)
    with _opened(folder.parent) as parent:
        os.fsync(parent)


def content_sha256(path: Path) -> str:
    """Hash of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return f"sha256:{file_sha256(path)}"
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()}\0{file_sha256(file)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _signed(partial: Path, port: str, value: Any) -> Any:
    if not _is_file(value):
        return value
    path = partial / value["path"]
    if not path.exists():
        raise StepFailed(f"the output `{port}` names {value['path']}, which the step has not made")
    content = content_sha256(path)
    # A kind may name what it made otherwise, such as an adapter by what llm_server calls it.
    return {"digest": content, **value, "content": content}


def _intact(value: Any) -> bool:
    """Whether what an absolute path leads to is what it was."""
    if not _is_file(value):
        return True
    path = Path(value["path"])
    return path.exists() and content_sha256(path) == str(value["content"])


def _absolute(folder: Path, value: Any, here: Callable[[Path], Path]) -> Any:
    return {**value, "path": str(here((folder / value["path"]).absolute()))} if _is_file(value) else value


def _identity(value: Any) -> Any:
    return value.get("digest") or value if _is_file(value) else value


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("path"), str)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)
