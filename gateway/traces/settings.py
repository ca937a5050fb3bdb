"""Where the trace store listens and keeps its file: the environment, prefix TRACES_."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of the trace store. Every field is an environment variable with the prefix TRACES_."""

    model_config = SettingsConfigDict(
        env_prefix="TRACES_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on. The gateway passes /api/public on, so loopback is enough on one machine."""
    port: int = Field(default=8070, ge=0, le=65535)
    """Port to listen on."""
    data: Path = Path("data")
    """Data folder; the store writes its sub-folder `traces` and the file `langfuse-keys.json`."""
    project: str = "default"
    """Name of the project of the first key pair."""
    keep_days: int = Field(default=0, ge=0)
    """Days that traces are kept with their scores; 0 keeps them for ever."""
    body_megabytes: int = Field(default=64, ge=1)
    """Largest body, before and after decompression. The clients' own limit is 64."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: object) -> object:
        known = {f"TRACES_{name.upper()}" for name in cls.model_fields}
        unknown = {name for name in os.environ if name.upper().startswith("TRACES_")} - known
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}")
        return values

    @property
    def folder(self) -> Path:
        """The one folder that the store writes."""
        return self.data.absolute() / "traces"

    @property
    def key_file(self) -> Path:
        return self.data.absolute() / "langfuse-keys.json"
