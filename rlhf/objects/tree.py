"""What a folder consists of: names, sizes and hashes. It names the folder's objects, and is written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from re import fullmatch, search
from typing import Self

from rlhf.errors import ObjectError
from rlhf.records import canonical
from rlhf.registry import file_sha256

FORMAT = 1
FILES = 20_000
"""Most that a folder may have."""
BYTES = 16 << 20
"""Most that its list may take."""


@dataclass(frozen=True)
class Leaf:
    """One file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Tree:
    """A folder's files, by their path below it."""

    files: Mapping[str, Leaf]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Every file is read; what a link leads to is no part of the folder. OSError."""
        found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        return cls(
            {
                path.relative_to(folder).as_posix(): Leaf(file_sha256(path), path.stat().st_size)
                for path in found
            }
        )

    @classmethod
    def read(cls, content: bytes, where: str) -> Self:
        """As `written`; whoever wrote it may not be us. ObjectError."""
        try:
            plain = json.loads(content)
            files = {str(n): Leaf(str(f["sha256"]), int(f["bytes"])) for n, f in plain["files"].items()}
            known = plain["format"] == FORMAT
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ObjectError(f"{where} does not list the files of a folder") from error
        wrong = [name for name, leaf in files.items() if not (_inside(name) and _possible(leaf))]
        if wrong:
            raise ObjectError(f"{where} was altered: it lists {wrong[0]!r}")
        if not known or len(files) > FILES:
            raise ObjectError(f"{where} is of another format than {FORMAT}, or lists over {FILES:,} files")
        return cls(files)

    def written(self) -> bytes:
        """Equal folders give equal bytes."""
        files = {name: {"bytes": leaf.bytes, "sha256": leaf.sha256} for name, leaf in self.files.items()}
        return canonical({"format": FORMAT, "files": files})

    @property
    def contents(self) -> dict[str, str]:
        """Hash to a path that has it: each content once."""
        return {leaf.sha256: name for name, leaf in self.files.items()}

    @property
    def hashes(self) -> frozenset[str]:
        """Of all contents."""
        return frozenset(self.contents)


def _inside(name: str) -> bool:
    """Whether a path leads to a file below the folder, whatever the system."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and not search(r"[\x00-\x1f\\\ud800-\udfff]", name)
    return bool(parts) and plain and not {"/", ".", ".."} & set(parts)


def _possible(leaf: Leaf) -> bool:
    return bool(fullmatch("[0-9a-f]{64}", leaf.sha256)) and leaf.bytes >= 0
