"""Where the worker keeps its records and looks for files."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from rlhf.errors import SettingsError


class Settings(BaseSettings):
    """Settings of the room, read from `RLHF_*`."""

    model_config = SettingsConfigDict(
        env_prefix="RLHF_", frozen=True, extra="forbid", use_attribute_docstrings=True, env_ignore_empty=True
    )

    data: Path = Path("data/jobs")
    """Folder of the durable record of jobs. One worker owns it at a time."""
    models: Path = Path("data/models")
    """Folder of the prepared models, which jobs read."""
    run: Path = Path("data/run")
    """Folder that receives the heartbeat `worker.json`."""
    beat_seconds: float = Field(default=2.0, gt=0)
    """Pause between two heartbeats."""
    cpu_jobs: int = Field(default=1, ge=1)
    """Jobs of the queue `cpu` that run at the same time."""
    stop_seconds: int = Field(default=5, ge=0)
    """How long running jobs may go on after the signal to stop; the rest is resumed at the next start."""

    @classmethod
    def from_environment(cls) -> Self:
        """Read `RLHF_*`; a name that no setting has is an error, because it is a typing slip."""
        known = {f"RLHF_{name.upper()}" for name in cls.model_fields}
        unknown = sorted(k for k in os.environ if k.upper().startswith("RLHF_") and k.upper() not in known)
        if unknown:
            raise SettingsError(f"unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
        return cls()
