"""Where artefacts are kept beside the local files: a server of S3's API. The environment, prefix S3_."""

import os
from collections.abc import Mapping
from pathlib import Path
from re import fullmatch
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rlhf.errors import SettingsError

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
"""A bucket's name as S3 has it."""


def _either(field: str, name: str) -> AliasChoices:
    """The field's own name, with our prefix, or as the programs of the field read it."""
    return AliasChoices(field, f"S3_{field.upper()}", name)


class Settings(BaseSettings):
    """Settings of the object store, read from `S3_*` by the gateway and the worker."""

    model_config = SettingsConfigDict(
        env_prefix="S3_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    endpoint: str = ""
    """S3's API, such as http://127.0.0.1:9100 of MinIO: datasets, models, checkpoints and outputs of steps
    are kept there, and local folders are copies. Empty: local folders alone."""
    access_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=_either("access_key", "AWS_ACCESS_KEY_ID")
    )
    """Its access key. Also AWS_ACCESS_KEY_ID."""
    secret_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=_either("secret_key", "AWS_SECRET_ACCESS_KEY")
    )
    """Its secret key. Also AWS_SECRET_ACCESS_KEY."""
    region: str = "us-east-1"
    """The region that requests are signed for."""
    ca: Path | None = None
    """PEM file of the authority that signed the endpoint's certificate, where the system does not know it."""
    datasets: str = "datasets"
    """Bucket of uploaded and built datasets."""
    models: str = "models"
    """Bucket of the registry: versions and what their names mean."""
    checkpoints: str = "checkpoints"
    """Bucket of trainings that run."""
    artifacts: str = "artifacts"
    """Bucket of the outputs of steps."""
    sources: str = ""
    """Buckets that rows may be read from as s3://BUCKET/KEY, or BUCKET/BEGINNING of keys; comma-separated.
    None when empty, and never one of the four above."""
    seconds: float = Field(default=30.0, gt=0, le=240)
    """How long a request that fails is tried again, with pauses that grow."""

    @property
    def is_on(self) -> bool:
        """Whether anything is kept there."""
        return bool(self.endpoint)

    @property
    def buckets(self) -> tuple[str, str, str, str]:
        """Our own: datasets, models, checkpoints, artifacts."""
        return self.datasets, self.models, self.checkpoints, self.artifacts

    @property
    def readable(self) -> tuple[str, ...]:
        """S3_SOURCES one by one, each `BUCKET/BEGINNING`."""
        parts = (part.strip() for part in self.sources.split(","))
        return tuple(part if "/" in part else f"{part}/" for part in parts if part)

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
        if value and not (parts.scheme in ("http", "https") and parts.hostname and plain):
            raise ValueError("S3_ENDPOINT is http:// or https://, a host and a port, without anything else")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        sources = [name.partition("/")[0] for name in self.readable]
        if wrong := [name for name in (*self.buckets, *sources) if not fullmatch(BUCKET, name)]:
            raise ValueError(f"{wrong[0]!r} is no bucket: 3 to 63 small letters, digits, - and .")
        if len(set(self.buckets)) < len(self.buckets):
            raise ValueError(f"each kind needs a bucket of its own, not {', '.join(self.buckets)}")
        if own := set(sources) & set(self.buckets):
            raise ValueError(f"S3_SOURCES names {min(own)}, which holds rows of every project")
        if self.endpoint and not (self.access_key.get_secret_value() and self.secret_key.get_secret_value()):
            # Never looked for elsewhere: a metadata service is an address that nobody has configured.
            raise ValueError("S3_ENDPOINT needs S3_ACCESS_KEY and S3_SECRET_KEY")
        if self.sources and not self.endpoint:
            raise ValueError("S3_SOURCES needs S3_ENDPOINT")
        return self

    @classmethod
    def from_environment(cls, beside: Mapping[str, str] = MappingProxyType({})) -> Self:
        """Read `S3_*`; a name that no setting has is an error, because it is a typing slip.

        Args:
            beside: variables that count as set, such as those of a file `.env`.
        """
        known = {f"S3_{name.upper()}": name for name in cls.model_fields}
        found = {**beside, **os.environ}
        if unknown := sorted(k for k in found if k.upper().startswith("S3_") and k.upper() not in known):
            raise SettingsError(f"unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
        named = {**known, "AWS_ACCESS_KEY_ID": "access_key", "AWS_SECRET_ACCESS_KEY": "secret_key"}
        # The last one wins: our own names go before those of the field.
        ordered = sorted(beside, key=lambda name: name.startswith("S3_"))
        more: dict[str, Any] = {named[name]: beside[name] for name in ordered if name in named}
        return cls(**{name: value for name, value in more.items() if value})
