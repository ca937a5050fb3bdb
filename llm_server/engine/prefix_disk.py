"""Prefixes that the host's memory has no room for, on a disk: one file each, named by what it holds.

Files are written by a thread of their own, so that nobody who decodes waits for a disk. They carry a
checksum: one that is damaged is removed, and what it held is computed again; a disk that is full or gone
takes nothing and harms nobody. The least recently used go first. The same model can use in a later run what
an earlier one has left.
"""

import contextlib
import hashlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llm_server.convert.files import discard_parts
from llm_server.engine.prefix_cache import Blob, Prefix
from llm_server.engine.sequence import CacheKey

log = logging.getLogger(__name__)

MAGIC = b"loopyard prefix 1\n"
SUFFIX = ".prefix"
WORTH_STORING = 64
"""Tokens below which a prefix is computed again rather than read."""
WAITING = 4
"""Blobs that may wait for the disk; further ones are forgotten."""
HEADER = 4096
"""Bytes of a header at most."""


class PrefixDisk:
    """A folder of prefixes. One thread calls it, the engine's; the folder may be shared with other models."""

    def __init__(self, folder: Path, byte_limit: int, form: str) -> None:
        """`form`: of the backend's blobs; those of another form are left alone."""
        self._folder, self._limit, self._form = folder, byte_limit, form
        self._lock = threading.Lock()
        self._pending: dict[str, tuple[Prefix, Blob]] = {}
        """Handed in and not written yet."""
        self._gone: list[str] = []
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="prefix-disk", daemon=True)
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            discard_parts(folder)
        self._thread.start()

    def known(self, base: bytes, context: int) -> Iterator[Prefix]:
        """What the folder has for a model, of `context` tokens at most."""
        for file in self._files():
            header = _header(file)
            if header is None:
                log.warning("a prefix on the disk is damaged and removed", extra={"file": file.name})
                _remove(file)
            elif (
                header["form"] == self._form and header["base"] == base.hex() and header["tokens"] <= context
            ):
                prefix = _tokens(file, header)
                if prefix is not None:
                    yield prefix

    def put(self, prefix: Prefix, blob: Blob) -> bool:
        """Have it written; False for one that is too short or too large, and where too many wait."""
        fits = blob.nbytes <= self._limit and len(prefix.tokens) >= WORTH_STORING
        with self._lock:
            if not fits or len(self._pending) >= WAITING:
                return False
            name = name_of(prefix)
            self._pending[name] = prefix, blob
        self._queue.put(name)
        return True

    def get(self, prefix: Prefix) -> Blob | None:
        """Keys and values; None where they are not there any more, or damaged."""
        name = name_of(prefix)
        with self._lock:
            waiting = self._pending.get(name)
        if waiting is not None:
            return waiting[1]
        file = self._folder / (name + SUFFIX)
        blob = _blob(file)
        if blob is None:
            _remove(file)
        else:
            with contextlib.suppress(OSError):
                os.utime(file)
        return blob

    def gone(self) -> list[str]:
        """Names of prefixes that have left the disk, or never came there, since this was asked before."""
        with self._lock:
            gone, self._gone = self._gone, []
        return gone

    def close(self, rest: Iterable[tuple[Prefix, Blob]], seconds: float) -> None:
        """Write what waits and then the `rest`, as much as there is time for."""
        deadline = time.monotonic() + seconds
        self._queue.put(None)
        self._thread.join(seconds)
        for prefix, blob in rest:
            if time.monotonic() > deadline or self._thread.is_alive():
                return
            there = (self._folder / (name_of(prefix) + SUFFIX)).is_file()
            if not there and len(prefix.tokens) >= WORTH_STORING and blob.nbytes <= self._limit:
                self._write(name_of(prefix), prefix, blob)

    def _write_all(self) -> None:
        while (name := self._queue.get()) is not None:
            with self._lock:
                prefix, blob = self._pending[name]
            gone = self._write(name, prefix, blob)
            with self._lock:
                del self._pending[name]
                self._gone += gone

    def _write(self, name: str, prefix: Prefix, blob: Blob) -> list[str]:
        """Names that are not there any more."""
        file = self._folder / (name + SUFFIX)
        part = self._folder / f".{name}.{os.getpid()}.part"
        try:
            head, tokens = _head(self._form, prefix, blob)
            with part.open("wb") as out:
                out.write(MAGIC + head + b"\n" + tokens)
                out.write(np.ascontiguousarray(blob).data)
            part.replace(file)
        except OSError as error:
            log.warning("a prefix cannot be written to the disk: %s", error)
            _remove(part)
            return [name]
        return self._evict(keep=file)

    def _evict(self, keep: Path) -> list[str]:
        """Down to the limit, least recently used first."""
        held: list[tuple[float, int, Path]] = []
        for file in self._files():
            with contextlib.suppress(OSError):
                stat = file.stat()
                held.append((stat.st_mtime, stat.st_size, file))
        total = sum(size for _, size, _ in held)
        gone = []
        for _, size, file in sorted(held):
            if total <= self._limit:
                break
            if file != keep:
                _remove(file)
                total -= size
                gone.append(file.stem)
        return gone

    def _files(self) -> list[Path]:
        try:
            return [Path(entry.path) for entry in os.scandir(self._folder) if entry.name.endswith(SUFFIX)]
        except OSError:
            return []


def name_of(prefix: Prefix) -> str:
    """Hash of (base, adapters' contents, scales, tokens)."""
    return prefix.key.digest(prefix.tokens.tolist()).hex()


def _head(form: str, prefix: Prefix, blob: Blob) -> tuple[bytes, bytes]:
    tokens = prefix.tokens.astype("<i4").tobytes()
    header: dict[str, Any] = {
        "form": form,
        "base": prefix.key.base.hex(),
        "blend": prefix.key.blend.hex(),
        "tokens": len(prefix.tokens),
        "dtype": blob.dtype.str,
        "shape": list(blob.shape),
    }
    header["check"] = _check(header, tokens, np.ascontiguousarray(blob).data)
    return json.dumps(header).encode(), tokens


def _check(header: dict[str, Any], tokens: bytes, blob: memoryview) -> str:
    facts = json.dumps({key: value for key, value in header.items() if key != "check"}, sort_keys=True)
    digest = hashlib.blake2b(facts.encode(), digest_size=16)
    digest.update(tokens)
    digest.update(blob)
    return digest.hexdigest()


def _header(file: Path) -> dict[str, Any] | None:
    """None for a file that cannot be one of ours as it stands."""
    try:
        with file.open("rb") as source:
            if source.read(len(MAGIC)) != MAGIC:
                return None
            line = source.readline(HEADER)
            header: dict[str, Any] = json.loads(line)
            size = int(np.prod(header["shape"])) * np.dtype(header["dtype"]).itemsize
            whole = len(MAGIC) + len(line) + 4 * int(header["tokens"]) + size
            if file.stat().st_size != whole or np.dtype(header["dtype"]).hasobject:
                return None
            bytes.fromhex(header["base"] + header["blend"] + header["check"])
            return {**header, "at": len(MAGIC) + len(line)}
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _tokens(file: Path, header: dict[str, Any]) -> Prefix | None:
    try:
        with file.open("rb") as source:
            source.seek(header["at"])
            tokens = np.frombuffer(source.read(4 * header["tokens"]), "<i4").astype(np.int32)
    except OSError:
        return None
    return Prefix(CacheKey(bytes.fromhex(header["base"]), bytes.fromhex(header["blend"])), tokens)


def _blob(file: Path) -> Blob | None:
    header = _header(file)
    if header is None:
        return None
    at = header.pop("at")
    try:
        with file.open("rb") as source:
            source.seek(at)
            tokens, rest = source.read(4 * header["tokens"]), bytearray(source.read())
    except OSError:
        return None
    if _check(header, tokens, memoryview(rest)) != header["check"]:
        return None
    return np.frombuffer(rest, np.dtype(header["dtype"])).reshape(header["shape"])


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)
