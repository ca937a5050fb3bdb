"""Where folders are kept that are whole or not there: on this machine alone, or in a bucket of several.

In a bucket NAME/tree.json lists a folder's files, NAME/SHA256 are their contents. The list is written last
and removed first, so that half a folder is none. A local copy is what trainers, servers and downloads read;
a note of it, in MARKS, says as what it was kept.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from rlhf.errors import ObjectError, RlhfError, StoreAway, StoreChanged
from rlhf.objects.bucket import Bucket
from rlhf.objects.tree import BYTES, Leaf, Tree
from rlhf.records import write_atomically
from rlhf.registry import write

LIST = "tree.json"
SIGN = "loopyard.json"
"""An object that is never dropped: a random id that whoever keeps first writes. A bucket that an operator has
emptied, or made anew for other machines, must not empty this one."""
SIGNED = ".sign"
"""Beside the notes: the id of the bucket that they are about."""
ARRIVING = ".arriving"
ATTEMPTS = 3
"""At a file whose stream breaks off."""


class Depot(Protocol):
    """Folders below `root`, each known by its path there."""

    @property
    def root(self) -> Path:
        """On this machine."""

    def keep(self, folder: Path, *, changed: bool = False) -> bool:
        """Keep a whole local folder; `changed`: in the place of what is kept. ObjectError, and nothing is.

        True: another machine has kept it before, and the local copy is now what that one made.
        """

    def bring(self, folder: Path) -> bool:
        """Let a folder be on this machine; whether it is. ObjectError."""

    def drop(self, folder: Path) -> None:
        """Keep it no longer; the local copy is the caller's. ObjectError."""

    def settle(self, *, everything: bool = False) -> None:
        """Let local copies be what is kept now; `everything`: also what is not here yet. ObjectError."""

    def held(self) -> set[str]:
        """Names of the local copies of what is kept."""

    def kept(self) -> Mapping[str, str]:
        """Name to tag of everything that is kept elsewhere than here. ObjectError."""


@dataclass(frozen=True)
class LocalDepot:
    """A folder is kept where it lies."""

    root: Path

    def keep(self, folder: Path, *, changed: bool = False) -> bool:
        """It lies there already."""
        return False

    def bring(self, folder: Path) -> bool:
        """Whether it is there."""
        return folder.is_dir()

    def drop(self, folder: Path) -> None:
        """The caller deletes it."""

    def settle(self, *, everything: bool = False) -> None:
        """Nobody else has any."""

    def held(self) -> set[str]:
        """None is a copy."""
        return set()

    def kept(self) -> Mapping[str, str]:
        """Nothing."""
        return {}


@dataclass(frozen=True)
class BucketDepot:
    """Kept in a bucket, with local copies.

    Attributes:
        marks: folder of the notes.
        fits: refuses a folder whose content is not what its name says; RlhfError.
        above: keys begin with it.
    """

    root: Path
    bucket: Bucket
    marks: Path
    fits: Callable[[Path, str], None]
    above: str = ""

    def keep(self, folder: Path, *, changed: bool = False) -> bool:
        """Contents first, the list last. Where another machine was first, theirs is what is kept."""
        name = self._name(folder)
        if self._mark(name).is_file() and not changed:
            return False
        tree, before = Tree.of(folder), self._listed(name)
        if before and (before[0] == tree or not changed):
            return self._follow(name, tree, *before)
        old = before[0].hashes if before else frozenset()
        for sha256, path in tree.contents.items():
            if sha256 not in old:
                self.bucket.send(self._key(name, sha256), folder / path)
        try:
            tag = self._publish(name, tree, before[1] if before else "")
        except StoreChanged:
            return self._give_way(name, tree, changed)
        self.bucket.remove([self._key(name, sha256) for sha256 in old - tree.hashes])
        self._remember(name, tag)
        return False

    def _publish(self, name: str, tree: Tree, tag: str) -> str:
        """Write the list; its tag. Where no answer came it may be there, and the next attempt finds it."""
        for attempt in range(1, ATTEMPTS):
            with suppress(StoreAway):
                return self.bucket.exchange(self._key(name, LIST), tree.written(), tag)
            time.sleep(attempt)
        return self.bucket.exchange(self._key(name, LIST), tree.written(), tag)

    def _follow(self, name: str, tree: Tree, kept: Tree, tag: str) -> bool:
        if differs := kept != tree:
            self._replace(name, kept)
        self._remember(name, tag)
        return differs

    def _give_way(self, name: str, tree: Tree, changed: bool) -> bool:
        """Another machine has kept this name in the meantime. StoreChanged where ours was to replace it."""
        now = self._listed(name)
        if now and now[0] == tree:
            return self._follow(name, tree, *now)
        theirs = now[0].hashes if now else frozenset()
        self.bucket.remove([self._key(name, sha256) for sha256 in tree.hashes - theirs])
        if changed or now is None:
            raise StoreChanged(f"{self.bucket.at(self._key(name, LIST))} was changed meanwhile; do it again")
        return self._follow(name, tree, *now)

    def bring(self, folder: Path) -> bool:
        """The local copy, or a new one whose every file has the hash that the list says."""
        if folder.is_dir():
            return True
        name = self._name(folder)
        found = self._listed(name)
        if found is None:
            return False
        self._replace(name, found[0])
        self._remember(name, found[1])
        return True

    def drop(self, folder: Path) -> None:
        """The list first: from then on it is not there."""
        name = self._name(folder)
        self.bucket.remove([self._key(name, LIST)])
        self.bucket.remove([entry.key for entry in self.bucket.entries(self.above + name)])
        self._mark(name).unlink(missing_ok=True)

    def settle(self, *, everything: bool = False) -> None:
        """What was dropped elsewhere goes here too, what was changed elsewhere is brought anew."""
        # In this order: what is kept between the two is not taken for dropped.
        here = self.held()
        there = self.kept()
        if here and not self._recognised():
            raise ObjectError(
                f"{self.bucket.at()} was emptied or made anew: local copies stay as they are; delete "
                f"{self.marks} and start a worker here, and they are kept there"
            )
        for name in here:
            if name not in there:
                shutil.rmtree(self.root / name, ignore_errors=True)
                self._mark(name).unlink(missing_ok=True)
            elif self._differs(name, there[name]) and (found := self._listed(name)):
                self._replace(name, found[0])
                self._remember(name, found[1])
        wrong: list[RlhfError] = []
        for name in filter(_plain, sorted(there) if everything else ()):
            try:
                self.bring(self.root / name)
            except StoreAway:
                raise
            except RlhfError as error:
                wrong.append(error)  # one that was altered keeps no other one away
        if wrong:
            raise wrong[0]

    def kept(self) -> dict[str, str]:
        """Name to tag of everything that is kept."""
        listed = (entry for entry in self.bucket.entries(self.above) if entry.key.endswith(f"/{LIST}"))
        return {entry.key.removeprefix(self.above).removesuffix(f"/{LIST}"): entry.tag for entry in listed}

    def held(self) -> set[str]:
        """By their notes."""
        if not self.marks.is_dir():
            return set()
        return {
            path.relative_to(self.marks).as_posix().removesuffix(".json")
            for path in self.marks.rglob("*.json")
        }

    def _name(self, folder: Path) -> str:
        """ObjectError where the folder is none of ours."""
        try:
            name = folder.absolute().relative_to(self.root.absolute()).as_posix()
        except ValueError as error:
            raise ObjectError(f"{folder} does not lie in {self.root}") from error
        if not _plain(name):
            raise ObjectError(f"{name!r} is no name of a folder")
        return name

    def _key(self, name: str, last: str) -> str:
        return f"{self.above}{name}/{last}"

    def _mark(self, name: str) -> Path:
        return self.marks / f"{name}.json"

    def _sign(self) -> None:
        """Let this be the bucket that the notes are about; the first of all machines gives it its id."""
        with suppress(StoreChanged):
            self.bucket.exchange(SIGN, uuid4().hex.encode(), "")
        if found := self.bucket.read(SIGN, BYTES):
            write_atomically(self.marks / SIGNED, [found[0]])

    def _recognised(self) -> bool:
        found = self.bucket.read(SIGN, BYTES)
        with suppress(FileNotFoundError):
            return found is not None and found[0] == (self.marks / SIGNED).read_bytes()
        return False

    def _remember(self, name: str, tag: str) -> None:
        if not self.above and not self.held():
            self._sign()
        mark = self._mark(name)
        mark.parent.mkdir(parents=True, exist_ok=True)
        write(mark, {"tag": tag})

    def _differs(self, name: str, tag: str) -> bool:
        """Whether the local copy, where it is still there, was kept as something else."""
        with suppress(FileNotFoundError):
            return (self.root / name).is_dir() and json.loads(self._mark(name).read_text())["tag"] != tag
        return False

    def _listed(self, name: str) -> tuple[Tree, str] | None:
        key = self._key(name, LIST)
        found = self.bucket.read(key, BYTES)
        return (Tree.read(found[0], self.bucket.at(key)), found[1]) if found else None

    def _replace(self, name: str, tree: Tree) -> None:
        """Fetch a folder, check it, and put it where the local copy is."""
        folder = self.root / name
        with _arriving(self.root / ARRIVING) as place:
            new, old = place / "new", place / "old"
            new.mkdir()
            self._fill(new, name, tree)
            self.fits(new, name)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                folder.rename(old)
            _unless_there(new, folder)

    def _fill(self, folder: Path, name: str, tree: Tree) -> None:
        done: dict[str, Path] = {}
        for path, leaf in tree.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if leaf.sha256 in done:
                # Two names of one content, as an uploaded file has.
                os.link(done[leaf.sha256], target)
            else:
                self._fetch(self._key(name, leaf.sha256), leaf, target)
                done[leaf.sha256] = target

    def _fetch(self, key: str, leaf: Leaf, target: Path) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if received(self.bucket.blocks(key), target, leaf.bytes) != leaf.sha256:
                    raise ObjectError(f"{self.bucket.at(key)} was altered: delete it, and make it again")
                return
            except StoreAway:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(attempt)


def received(blocks: Iterable[bytes], target: Path, limit: int) -> str:
    """Write a stream to a file on the disk; its SHA-256. ObjectError where it has over `limit` bytes."""
    whole, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        for block in blocks:
            size += len(block)
            if size > limit:
                raise ObjectError(f"more than {limit:,} bytes came")
            whole.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return whole.hexdigest()


@contextmanager
def _arriving(root: Path) -> Iterator[Path]:
    """A folder for what is on its way; what killed processes left in theirs goes."""
    root.mkdir(parents=True, exist_ok=True)
    for left in root.iterdir():
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    while True:
        place = Path(tempfile.mkdtemp(dir=root))
        with _locked(place) as ours:
            # Another process may have taken it for a leftover before it was locked.
            if ours and place.is_dir():
                try:
                    yield place
                finally:
                    shutil.rmtree(place, ignore_errors=True)
                return


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """A lock that the system drops when its holder dies; False where another one has it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _unless_there(new: Path, folder: Path) -> None:
    """Give a folder its name, unless another process was faster with the same one."""
    try:
        new.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _plain(name: str) -> bool:
    """Whether a name is a path downwards that hides nothing."""
    return all(part and not part.startswith(".") and "\\" not in part for part in name.split("/"))
