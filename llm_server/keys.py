"""API keys: who may call, which models, and how much."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llm_server.errors import PreparationFailed
from llm_server.settings import SHORTEST_KEY, WEAK_KEYS, Settings, is_loopback

INFERENCE: Final = "inference"
ADMIN: Final = "admin"
Scope = Literal["inference", "admin"]


class KeyRecord(BaseModel):
    """One entry of the file LLM_KEYS_FILE: `keys: [{name, key, ...}]`, in YAML or JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """For people; each is used once."""
    key: str | None = Field(default=None, min_length=1)
    """The key itself, or"""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """its SHA-256 in hexadecimal, so that the file holds no secret."""
    scopes: frozenset[Scope] = frozenset({INFERENCE})
    models: tuple[str, ...] | None = None
    """Ids or patterns (`loopyard-*`); adapters are `base:adapter`. Left out: all models."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Requests at a time."""
    requests_per_minute: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_secret(self) -> "KeyRecord":
        if (self.key is None) == (self.sha256 is None):
            raise ValueError(f"key {self.name!r} needs either `key` or `sha256`")
        return self


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds a key."""

    name: str
    digest: str
    """SHA-256 of the key in hexadecimal; empty for anyone on loopback."""
    scopes: frozenset[str]
    models: tuple[str, ...] | None = None
    max_concurrent: int | None = None
    requests_per_minute: int | None = None

    def may_use(self, model: str) -> bool:
        """Whether the id is on the key's list."""
        allowed = self.models
        return allowed is None or any(fnmatchcase(model.lower(), each.lower()) for each in allowed)


ANYONE = Caller("anyone", "", frozenset({INFERENCE, ADMIN}))
"""Where no key is asked for: loopback is trusted."""


class Keys:
    """Callers by the hash of their key: comparing hashes tells nothing about how much of a key was right."""

    def __init__(self, settings: Settings) -> None:
        """Keys of the settings and of their file. PreparationFailed for a file that is wrong."""
        self._settings = settings
        self.refused: str | None = None
        """Why the last edit of the file was not followed."""
        self._callers = self._read()

    def reload(self, settings: Settings | None = None) -> None:
        """Know the keys that the file has now, and those of `settings` where they have changed.
        PreparationFailed: those of before stay.
        """
        before, self._settings = self._settings, settings or self._settings
        try:
            self._callers = self._read()
        except PreparationFailed as error:
            self._settings, self.refused = before, error.message
            raise
        self.refused = None

    def _read(self) -> dict[str, Caller]:
        settings, callers = self._settings, list[Caller]()
        callers += (
            Caller("admin", digest(k), frozenset({INFERENCE, ADMIN})) for k in _split(settings.admin_key)
        )
        callers += (Caller("api", digest(k), frozenset({INFERENCE})) for k in _split(settings.api_key))
        if settings.keys_file is not None:
            records = read_keys(settings.keys_file, careful=not is_loopback(settings.host))
            callers += map(_caller, records)
            if not callers:
                # Without any key nobody is asked for one, which is not what a file of keys is for.
                raise PreparationFailed(f"LLM_KEYS_FILE {settings.keys_file}: there is no key in it.")
        # The first of equal keys counts: those of the settings.
        return {caller.digest: caller for caller in reversed(callers)}

    @property
    def asked_for(self) -> bool:
        """Without any key, loopback is trusted."""
        return bool(self._callers)

    def caller(self, key: str) -> Caller | None:
        """Whose key it is."""
        return self._callers.get(digest(key))


def read_keys(path: Path, *, careful: bool) -> list[KeyRecord]:
    """Entries of a file; `careful` refuses keys that can be guessed. PreparationFailed says what is wrong."""
    try:
        data: Any = yaml.safe_load(path.read_text())
        entries = data["keys"] if isinstance(data, dict) else data
        if not isinstance(entries, list):
            raise ValueError("it needs a list `keys`")
        records = [KeyRecord.model_validate(entry) for entry in entries]
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise PreparationFailed(f"LLM_KEYS_FILE {path}: {place} {first['msg']}") from None
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        # A parser's message may quote the file, and with it a key.
        told = error if isinstance(error, (OSError, ValueError)) else "it is no YAML with a list `keys`"
        raise PreparationFailed(f"LLM_KEYS_FILE {path}: {told}") from None
    _check(path, records, careful)
    return records


def digest(key: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def _check(path: Path, records: Iterable[KeyRecord], careful: bool) -> None:
    names: set[str] = set()
    for record in records:
        if record.name in names:
            raise PreparationFailed(f"LLM_KEYS_FILE {path}: the name {record.name!r} is there twice.")
        names.add(record.name)
        weak = record.key is not None and (len(record.key) < SHORTEST_KEY or record.key.lower() in WEAK_KEYS)
        if careful and weak:
            raise PreparationFailed(
                f"LLM_KEYS_FILE {path}: the key {record.name!r} can be guessed. Beyond loopback a key needs "
                f"{SHORTEST_KEY} random characters."
            )


def _caller(record: KeyRecord) -> Caller:
    return Caller(
        name=record.name,
        digest=record.sha256 or digest(record.key or ""),
        scopes=record.scopes | ({INFERENCE} if ADMIN in record.scopes else set()),
        models=record.models,
        max_concurrent=record.max_concurrent,
        requests_per_minute=record.requests_per_minute,
    )


def _split(keys: str | None) -> list[str]:
    return [key.strip() for key in (keys or "").split(",") if key.strip()]
