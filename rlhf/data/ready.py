"""Whether training may begin with a folder of rows: of the kind that it reads, whole, and without leaks.

What was found to be clean once is not looked through again: an empty file beside the folder, named by the
content, says so.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from rlhf.data.folder import HELD_OUT, MANIFEST, TRAIN, verify_split
from rlhf.data.kinds import RowKind, read_by
from rlhf.data.near import THRESHOLD
from rlhf.data.split import refuse_crossing
from rlhf.errors import DatasetError
from rlhf.records import canonical, scan_shape
from rlhf.registry import file_sha256

VERIFIED = ".verified"
RULES = 1
"""Another number where the rules change: then everything is looked through again."""


def refuse_unready(folder: Path, method: str) -> None:
    """Refuse a folder of rows that a method must not train on. A folder that was made by hand is compared by
    prompt, session and user; in one that was built users may cross if that was asked for.

    Raises:
        Leak: rows that belong together are on both sides; names some.
        BadRecords: rows that cannot be read.
        DatasetError: it was changed, or holds rows of another kind.
    """
    kind, built = read_by(method), (folder / MANIFEST).is_file()
    if built:
        _refuse_other_kind(folder, kind, method)
    elif not (folder / HELD_OUT).is_file():
        return
    mark = folder.parent / VERIFIED / _content(folder, kind)
    if mark.is_file():
        return
    if built:
        verify_split(folder)
    else:
        train, held_out = (scan_shape(folder / name, kind.row).whole() for name in (TRAIN, HELD_OUT))
        refuse_crossing(folder, train, held_out)
    _remember(mark)


def _refuse_other_kind(folder: Path, kind: RowKind, method: str) -> None:
    try:
        found: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder} is no whole dataset: {error}") from error
    held = found.get("kind") if isinstance(found, dict) else None
    if held == kind.name:
        return
    remedy = f"; make them with `dataset derive {folder} --to {kind.name}`" if held == "preference" else ""
    raise DatasetError(
        f"{folder} holds rows of the kind {held}, and {method} trains on {kind.name} ({kind.called})"
        f"{remedy if kind.name in ('kto', 'sft') else ''}"
    )


def _content(folder: Path, kind: RowKind) -> str:
    files = {name: folder / name for name in (MANIFEST, TRAIN, HELD_OUT)}
    hashes = {name: file_sha256(path) for name, path in files.items() if path.is_file()}
    return sha256(canonical([RULES, THRESHOLD, kind.name, hashes])).hexdigest()


def _remember(mark: Path) -> None:
    try:
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
    except OSError:
        # Where nothing can be written it is looked through again next time.
        return
