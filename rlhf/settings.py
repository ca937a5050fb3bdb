"""Where the worker keeps its records and looks for files."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rlhf.data.limit import MEGABYTES
from rlhf.data.names import described
from rlhf.errors import SettingsError
from rlhf.objects.settings import Settings as ObjectSettings


class Settings(BaseSettings):
    """Settings of the room, read from `RLHF_*`."""

    model_config = SettingsConfigDict(
        env_prefix="RLHF_", frozen=True, extra="forbid", use_attribute_docstrings=True, env_ignore_empty=True
    )

    data: Path = Path("data/jobs")
    """Folder of the jobs' logs and, without RLHF_JOBS_URL, of their durable record, which one worker owns."""
    jobs_url: str = Field(default="", repr=False)
    """PostgreSQL database of the durable record (`postgresql://…`), for several workers. They share
    RLHF_DATA; with S3_ENDPOINT each may have its own, with the logs of what it does."""
    objects: Path | None = None
    """Folder of datasets and outputs of steps, or with S3_ENDPOINT of copies; by default `objects` beside
    RLHF_DATA."""
    registry: Path | None = None
    """Folder above `adapters`; by default the one above RLHF_DATA."""
    models: Path = Path("data/models")
    """Folder of the prepared models, which jobs read."""
    run: Path = Path("data/run")
    """Folder that receives the heartbeat `worker.json`."""
    beat_seconds: float = Field(default=2.0, gt=0)
    """Pause between two heartbeats."""
    cpu_jobs: int = Field(default=2, ge=1)
    """Jobs and steps of the queue `cpu` that run at the same time."""
    resources: str = "cpu,gpu"
    """Queues that this worker serves, comma-separated: `cpu`, `gpu`."""
    rows_megabytes: int = Field(default=MEGABYTES, ge=1)
    """Most that is read of files of rows for one dataset; building takes about ten times as much memory."""
    pii_regions: str = "US,GB,DE,FR,IN"
    """Countries whose national phone numbers are personal data, comma-separated (ISO 3166-1, two letters)."""
    pii_model: str = ""
    """spaCy model that finds names and places: a folder or an installed package; nothing is downloaded."""
    helper: bool = False
    """Take steps and leave pipelines, which may wait for people for days, to other workers: `loopyard up
    --workers` starts such ones, and ends them when nothing waits."""
    steps: str = ""
    """Further kinds of steps: comma-separated `module:function`; the function receives `Kinds.add`."""
    server_url: str = "http://127.0.0.1:8000/v1"
    """llm_server's API, which adapters are compared in and promoted to."""
    server_key: SecretStr = SecretStr("")
    """Its key with the scope admin."""
    server_base: Path | None = None
    """transformers folder of what it serves, for the comparison with PEFT; by default the one that it names.
    Needed for a model of the hub and for a .gguf file."""
    gateway_url: str = "http://127.0.0.1:8080"
    """The gateway, which has the traces of chats and what people judge of them."""
    gateway_key: SecretStr = SecretStr("")
    """Its key with the scope manage; a trigger `quality` needs admin."""
    schedule_seconds: float = Field(default=60.0, gt=0)
    """Pause between two looks for pipelines that are due."""
    memory_mb: int | None = Field(default=None, ge=1)
    """Most memory that a training plans with where its recipe says `auto` (MiB); a step's lease of a GPU sets
    it. Without it: what is free."""
    nvidia_smi: str = "nvidia-smi"
    """Program that lists the GPUs."""
    stop_seconds: int = Field(default=5, ge=0)
    """How long running jobs may go on after the signal to stop; the rest is resumed at the next start."""
    s3: ObjectSettings = Field(default_factory=ObjectSettings.from_environment)
    """Where artefacts are kept beside the local folders: settings of their own, S3_*."""

    @property
    def objects_folder(self) -> Path:
        """Where datasets and outputs of steps are."""
        return self.objects or self.data.parent / "objects"

    @property
    def registry_folder(self) -> Path:
        """Above `adapters`."""
        return self.registry or self.data.parent

    @property
    def phone_regions(self) -> tuple[str, ...]:
        """RLHF_PII_REGIONS one by one."""
        return tuple(sorted({part.strip().upper() for part in self.pii_regions.split(",") if part.strip()}))

    @field_validator("pii_regions")
    @classmethod
    def _regions(cls, value: str) -> str:
        from phonenumbers import SUPPORTED_REGIONS

        if unknown := {part.strip().upper() for part in value.split(",")} - SUPPORTED_REGIONS:
            raise SettingsError(
                f"RLHF_PII_REGIONS={value}: unknown {', '.join(map(repr, sorted(unknown)))}; "
                "name countries by two letters, with a comma between, such as US,GB,DE"
            )
        return value

    @field_validator("pii_model")
    @classmethod
    def _model(cls, value: str) -> str:
        if value:
            described(value)
        return value

    @field_validator("resources")
    @classmethod
    def _known(cls, value: str) -> str:
        named = {part.strip() for part in value.split(",")}
        if not named or not named <= {"cpu", "gpu"}:
            raise ValueError("name `cpu`, `gpu` or both, with a comma between")
        return ",".join(sorted(named))

    @field_validator("jobs_url")
    @classmethod
    def _driver(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgresql+psycopg://")):
            raise ValueError("only postgresql:// is known; leave it empty for SQLite in RLHF_DATA")
        return value

    @classmethod
    def from_environment(cls) -> Self:
        """Read `RLHF_*`; a name that no setting has is an error, because it is a typing slip."""
        known = {f"RLHF_{name.upper()}" for name in cls.model_fields}
        unknown = sorted(k for k in os.environ if k.upper().startswith("RLHF_") and k.upper() not in known)
        if unknown:
            raise SettingsError(f"unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
        return cls()
