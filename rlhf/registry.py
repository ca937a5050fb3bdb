"""What was trained, in files: immutable versions named by content, aliases that move, lineage both ways.

ROOT/adapters/NAME/SHA12/ is a PEFT folder with lineage.json, pairs.jsonl, report.json and report.html; what
is no adapter of a model that answers (`kind` in lineage.json) lies in a folder `content` beside these.
ROOT/adapters/NAME/aliases.json says what `live`, `previous` and `candidate` mean, ROOT/adapters/chats.json
which served model answers a gateway's chats. llm_server has to be allowed to read ROOT/adapters
(LLM_ADAPTER_FOLDERS). ROOT/secrets/erasure-key makes the pseudonyms of users who were forgotten.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from re import fullmatch
from typing import Any

from rlhf.errors import RegistryError
from rlhf.products import ADAPTER
from rlhf.pseudonyms import Pseudonyms
from rlhf.records import write_atomically

CONFIG, WEIGHTS, LINEAGE, ALIASES, PAIRS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "lineage.json",
    "aliases.json",
    "pairs.jsonl",
)
LOCK = ".aliases.lock"
CHATS = "chats.json"
LIVE, PREVIOUS, CANDIDATE = "live", "previous", "candidate"
IDLE = frozenset({"base_model_name_or_path", "inference_mode", "revision", "peft_version", "auto_mapping"})
"""Fields of a PEFT configuration that change no number; llm_server leaves the same ones out of its hash."""
BASE_KEY = "base_sha256"
"""llm_server refuses an adapter whose configuration names another base under this key."""
SHORT = 12
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
CONTENT = "content"


@dataclass(frozen=True)
class Version:
    """One adapter, or another thing that was trained, on disk."""

    name: str
    digest: str
    """`sha256:` and 64 digits."""
    folder: Path

    @property
    def short(self) -> str:
        """`1a2b3c4d5e6f`."""
        return self.digest.removeprefix("sha256:")[:SHORT]

    @property
    def kind(self) -> str:
        """What it is, as `products` names it."""
        return str(self.lineage().get("kind", ADAPTER))

    @property
    def content(self) -> Path:
        """The folder that is loaded."""
        return self.folder if self.kind == ADAPTER else self.folder / CONTENT

    def lineage(self) -> dict[str, Any]:
        """What it was made from."""
        return dict(json.loads((self.folder / LINEAGE).read_text()))

    def pairs(self) -> list[dict[str, Any]]:
        """The pairs that it saw: ids, users, sessions and traces, without their text."""
        with (self.folder / PAIRS).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def saw(self, user: str) -> bool:
        """Whether one of its pairs is of this user, by id or pseudonym."""
        # Looked for as text first: most lines of a large file need not be parsed.
        written = json.dumps(user)
        with (self.folder / PAIRS).open(encoding="utf-8") as lines:
            return any(written in line and json.loads(line)["user"] == user for line in lines)


class Registry:
    """The adapters below a folder."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "adapters"
        self.pseudonyms = Pseudonyms(root / "secrets" / "erasure-key")

    def add(
        self,
        name: str,
        source: Path,
        lineage: dict[str, Any],
        pairs: list[dict[str, Any]],
        kind: str = ADAPTER,
    ) -> Version:
        """Take a copy of a folder in, whole or not at all; the same content is the same version.

        Raises:
            RegistryError: it is no PEFT folder, the name is none, its versions are of another kind, or it
                cannot be written.
        """
        self.admit(name, kind)
        digest = digest_of(kind, source)
        version = Version(name, digest, self.folder / name / digest.removeprefix("sha256:")[:SHORT])
        if version.folder.exists():
            return self.check(version)
        part = version.folder.with_name(f".{version.folder.name}.partial")
        shutil.rmtree(part, ignore_errors=True)
        born = {"kind": kind, "digest": digest, "created_at": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            part.mkdir(parents=True)
            if kind == ADAPTER:
                for file in (CONFIG, WEIGHTS):
                    shutil.copyfile(source / file, part / file)
            else:
                shutil.copytree(source, part / CONTENT)
            write(part / LINEAGE, {**lineage, **born})
            _replace(part / PAIRS, "".join(json.dumps(origin(row)) + "\n" for row in pairs))
            part.rename(version.folder)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            with suppress(OSError):
                version.folder.parent.rmdir()  # a name without any version is none
            raise RegistryError(
                f"{version.folder} cannot be written: {error.strerror or error}; make room and register "
                f"the {kind} again"
            ) from error
        return version

    def admit(self, name: str, kind: str, project: str = "") -> None:
        """RegistryError where a version of this kind cannot be added to a name, or not by this project."""
        if not fullmatch(NAME, name):
            raise RegistryError(f"{name!r} is no name: up to 64 letters, digits, - and _")
        if other := {version.kind for version in self.versions(name)} - {kind}:
            raise RegistryError(
                f"the versions of `{name}` are of the kind {min(other)}, not {kind}: choose another name"
            )
        self.refuse_others(name, project)

    def refuse_others(self, name: str, project: str) -> None:
        """RegistryError where a name has versions that were not trained in this project: they are somebody
        else's. "" is the operator, who may use all.
        """
        if project and any(version.lineage().get("project") != project for version in self.versions(name)):
            raise RegistryError(
                f"`{name}` was not trained in this project, and is for admins: choose another name"
            )

    def names(self) -> list[str]:
        """Adapters with a version."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path.name for path in found if path.is_dir() and not path.name.startswith("."))

    def versions(self, name: str) -> list[Version]:
        """All of a name, oldest first."""
        found = [p for p in (self.folder / name).glob("[0-9a-f]*") if (p / LINEAGE).is_file()]
        made = [Version(name, json.loads((p / LINEAGE).read_text())["digest"], p) for p in found]
        return sorted(made, key=lambda version: str(version.lineage()["created_at"]))

    def find(self, name: str, ref: str = LIVE) -> Version:
        """What an alias or some digits mean. RegistryError where nothing does."""
        digits = (self.aliases(name).get(ref) or ref).removeprefix("sha256:")
        found = [v for v in self.versions(name) if v.digest.removeprefix("sha256:").startswith(digits)]
        if len(found) != 1:
            known = ", ".join(v.short for v in self.versions(name)) or "none"
            raise RegistryError(f"`{ref}` is no version of the adapter `{name}`; there are: {known}")
        return found[0]

    def check(self, version: Version) -> Version:
        """The same version, its content verified. RegistryError where it is damaged."""
        found = digest_of(version.kind, version.content)
        if found != version.digest:
            raise RegistryError(
                f"{version.folder} is damaged: its content has the hash {found}; delete it and train again"
            )
        return version

    def aliases(self, name: str) -> dict[str, str]:
        """Alias to digest."""
        file = self.folder / name / ALIASES
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    def promote(self, version: Version) -> None:
        """`live` means this version, `previous` what it was."""
        with self._changing(version.name) as aliases:
            if aliases.get(LIVE) not in (None, version.digest):
                aliases[PREVIOUS] = aliases[LIVE]
            aliases[LIVE] = version.digest
            if aliases.get(CANDIDATE) == version.digest:
                del aliases[CANDIDATE]

    def propose(self, version: Version) -> None:
        """`candidate` means this version."""
        with self._changing(version.name) as aliases:
            aliases[CANDIDATE] = version.digest

    def rollback(self, name: str) -> Version:
        """`live` and `previous` change places. RegistryError where there is no previous one."""
        with self._changing(name) as aliases:
            if PREVIOUS not in aliases:
                raise RegistryError(f"`{name}` has no previous version to go back to")
            aliases[LIVE], aliases[PREVIOUS] = aliases[PREVIOUS], aliases[LIVE]
        return self.find(name, LIVE)

    def delete(self, name: str, ref: str) -> Version:
        """Remove a version. RegistryError while `live` or `previous` means it."""
        version = self.find(name, ref)
        with self._changing(name) as aliases:
            held = [alias for alias, digest in aliases.items() if digest == version.digest]
            if in_use := [alias for alias in held if alias != CANDIDATE]:
                raise RegistryError(
                    f"`{name}` {version.short} is {' and '.join(in_use)}: promote another version first"
                )
            for alias in held:
                del aliases[alias]
        self._remove(version)
        return version

    def _remove(self, version: Version) -> None:
        shutil.rmtree(version.folder)

    def changed(self, version: Version) -> None:
        """Say that something was written beside a version: here it is read where it lies."""

    def choose(self, model: str) -> None:
        """From now on this model answers a gateway's chats, by the id that llm_server lists, such as
        `starter:citing`; empty: its first chat model. What the id means may change: the name of an adapter
        stands for its live version.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder):
            write(self.folder / CHATS, {"model": model})

    def chosen(self) -> str:
        """What `choose` was told last; empty where nobody has chosen. RegistryError for a broken file."""
        file = self.folder / CHATS
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["model"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RegistryError(
                f"{file} cannot be read: {error!r}. Choose again: `loopyard models use`"
            ) from error

    @contextmanager
    def _changing(self, name: str) -> Iterator[dict[str, str]]:
        """The aliases of a name, written back unless an error left the block."""
        folder = self.folder / name
        if not folder.is_dir():
            raise RegistryError(f"there is no adapter `{name}`")
        with alone(folder):
            before = self.aliases(name)
            aliases = dict(before)
            yield aliases
            if aliases != before:
                write(folder / ALIASES, aliases)

    def of_user(self, user: str) -> list[Version]:
        """Every version that saw a pair of this user, or that was trained on from one that did.

        Users who were forgotten are found by their pseudonym.
        """
        versions = [v for name in self.names() for v in self.versions(name)]
        known = [name for name in (user, self.pseudonyms.known(user)) if name]
        touched = {v.digest for v in versions if any(v.saw(name) for name in known)}
        return self.with_heirs(touched)

    def with_heirs(self, digests: Iterable[str]) -> list[Version]:
        """These versions, and all that were trained on from one of them."""
        versions = [v for name in self.names() for v in self.versions(name)]
        touched, grew = set(digests), True
        while grew:
            heirs = {v.digest for v in versions if v.lineage().get("parent") in touched}
            grew = not heirs <= touched
            touched |= heirs
        return [v for v in versions if v.digest in touched]

    def forget(self, user: str) -> list[Version]:
        """Put a pseudonym in the place of a user's id, and take their sessions out; gives these versions.

        What a version is named by, its configuration and its weights, stays as it is. OSError.
        """
        versions = [v for name in self.names() for v in self.versions(name)]
        found = [v for v in versions if v.saw(user)]
        # Also what an `add` that was killed has left; one that is at work goes on with the changed file.
        for pairs in self.folder.glob(f"*/*/{PAIRS}"):
            _forget(pairs, user, self.pseudonyms)
        return found

    def traces(self, version: Version) -> Iterator[dict[str, Any]]:
        """The traces that made a version."""
        for pair in version.pairs():
            yield from (pair[key] for key in ("chosen_trace", "rejected_trace") if pair[key])


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time, because the gateway and workers change what lies there."""
    with (folder / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def origin(row: dict[str, Any]) -> dict[str, Any]:
    """Where a row comes from; an answer alone stands for the chosen one of a pair."""
    known = {**row, "pair_id": row.get("pair_id") or row.get("row_id")}
    known["chosen_trace"] = row.get("chosen_trace") or row.get("trace")
    return {
        k: known.get(k) for k in ("pair_id", "user", "session", "source", "chosen_trace", "rejected_trace")
    }


def _forget(pairs: Path, user: str, pseudonyms: Pseudonyms) -> None:
    lines = pairs.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    theirs = [row for row in rows if row["user"] == user]
    for row in theirs:
        row |= {"user": pseudonyms.of(user), "session": None}
    if theirs:
        _replace(pairs, "".join(json.dumps(row) + "\n" for row in rows))


def digest_of(kind: str, folder: Path) -> str:
    """What a version of a kind is named by. RegistryError."""
    return content_digest(folder) if kind == ADAPTER else folder_digest(folder)


def folder_digest(folder: Path) -> str:
    """`sha256:` and the hash over a folder's files, names and content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder).as_posix()} {file_sha256(path)}" for path in files]
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def content_digest(folder: Path) -> str:
    """Hash over configuration and tensors, the same that llm_server names a version by. RegistryError."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = file_sha256(folder / WEIGHTS)
    except (OSError, ValueError) as error:
        raise RegistryError(f"{folder} is no PEFT adapter: {error}") from error
    kept = {key: value for key, value in config.items() if key not in IDLE}
    whole = hashlib.sha256(json.dumps(kept, sort_keys=True).encode() + weights.encode()).hexdigest()
    return f"sha256:{whole}"


def file_sha256(path: Path) -> str:
    """Digest of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_of(base: Path) -> str:
    """Hash of a base's weights, empty where they are not one file: llm_server knows single files by it."""
    files = sorted(base.glob("*.safetensors"))
    return file_sha256(files[0]) if len(files) == 1 else ""


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file in one step, whoever else does so at the same time."""
    write_atomically(path, [json.dumps(content, indent=1, ensure_ascii=False).encode(), b"\n"])


def _replace(path: Path, text: str) -> None:
    # Always through the same file: what a kill leaves of it names users, and goes with the next one.
    part = path.with_name(f".{path.name}.partial")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
