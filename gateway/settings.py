"""Where the gateway listens, keeps its data and finds its neighbours: the environment, prefix GATEWAY_."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet
from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from graphs.prices import Price
from rlhf.objects.settings import Settings as ObjectSettings

UNSAFE_CONTEXT_KEY = "00" * 32
UNSAFE_ADMIN_KEY = "ly_dev_000000000000000000000000"
UNSAFE_SECRET_KEY = "A" * 43 + "="
"""Defaults for a first try on one's own machine; refused on any other address."""


def _either(field: str, name: str = "") -> AliasChoices:
    """The field's own name, with our prefix, or as the field's own programs read it."""
    return AliasChoices(field, f"GATEWAY_{field.upper()}", name or field.upper())


class Settings(BaseSettings):
    """Settings of the gateway. Every field is an environment variable with the prefix GATEWAY_."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on."""
    data: Path = Path("data")
    """Data folder; the gateway writes its sub-folder `gateway` only."""
    database_url: str = ""
    """SQLAlchemy address; SQLite in the data folder when empty, or postgresql+psycopg://user:password@host/name."""
    context_key: SecretStr = SecretStr(UNSAFE_CONTEXT_KEY)
    """64 hex characters that sign and encrypt the calls to the tools service; the same there."""
    secret_key: SecretStr = SecretStr(UNSAFE_SECRET_KEY)
    """Fernet keys for stored credentials, comma separated; the first encrypts, all decrypt."""
    admin_key: SecretStr = SecretStr(UNSAFE_ADMIN_KEY)
    """The first admin's API key, `ly_<id>_<secret>`."""
    llm_url: str = "http://127.0.0.1:8000/v1"
    """Base of an OpenAI-compatible API."""
    llm_api_key: SecretStr = SecretStr("none")
    """Key for that API."""
    llm_admin_key: SecretStr = SecretStr("")
    """A key of the model server with the scope admin, for rolling adapters back; none when empty."""
    jobs_url: str = ""
    """PostgreSQL database of the worker's record, as RLHF_JOBS_URL; SQLite in DATA/jobs when empty."""
    steps: str = ""
    """Further kinds of steps that the worker has, as RLHF_STEPS; pipelines are checked with them."""
    tools_url: str = "http://127.0.0.1:9000"
    """The tools service; MCP is at /mcp under it."""
    traces_url: str = ""
    """The trace store, which answers /api/public behind the gateway; none when empty."""
    langfuse_host: str = Field(default="", validation_alias=_either("langfuse_host"))
    """A Langfuse server that chats are traced to; the embedded trace store when empty. Also LANGFUSE_HOST."""
    langfuse_public_key: str = Field(default="", validation_alias=_either("langfuse_public_key"))
    """Its public key. Also LANGFUSE_PUBLIC_KEY."""
    langfuse_secret_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=_either("langfuse_secret_key")
    )
    """Its secret key. Also LANGFUSE_SECRET_KEY."""
    label_studio_url: str = Field(default="", validation_alias=_either("label_studio_url"))
    """Label Studio, where a forgotten user's tasks are deleted; that of `loopyard annotate serve` when empty.
    Also LABEL_STUDIO_URL."""
    label_studio_token: SecretStr = Field(
        default=SecretStr(""), validation_alias=_either("label_studio_token", "LABEL_STUDIO_API_KEY")
    )
    """Its token; that of `loopyard annotate serve` when empty. Also LABEL_STUDIO_API_KEY."""
    prices: dict[str, Price] = {}
    """What models cost in US dollars per million tokens, by name or pattern, as JSON:
    {"gpt-4o*": {"input": 2.5, "output": 10}}. The first that fits counts; what has no price costs nothing."""
    trace_logprobs: bool = False
    """Ask for the log-probability of each token that a model writes, and keep them in traces, where those of
    requests that ask by themselves (OpenAI's `logprobs`) are kept in any case. Sampling takes longer so."""
    default_model: str = ""
    """Model of agents that name none; the first chat model of the model server when empty."""
    default_project: str = "demo"
    """Project of callers that name none; made at the first start."""
    upload_megabytes: int = Field(default=100, ge=1)
    """Largest upload."""
    quality_minutes: int = Field(default=60, ge=0)
    """Pause between two looks at how live adapters answer; 0 looks only when somebody asks."""
    quality_days: int = Field(default=7, ge=1, le=90)
    """Days whose answers are compared: the last ones, and those before the adapter went live."""
    quality_minimum: int = Field(default=30, ge=2)
    """Answers, thumbs, judgements or tool calls on either side below which nothing is said."""
    quality_rollback: bool = False
    """Roll an adapter back by itself that is proven to answer worse; each version once, in the audit log."""
    shutdown_seconds: int = Field(default=5, ge=0)
    """How long running chats may go on after the signal to stop."""
    s3: ObjectSettings = Field(default_factory=ObjectSettings.from_environment)
    """Where artefacts are kept beside DATA: settings of their own, S3_*."""

    @field_validator("context_key")
    @classmethod
    def _hex(cls, value: SecretStr) -> SecretStr:
        if len(bytes.fromhex(value.get_secret_value())) != 32:
            raise ValueError("GATEWAY_CONTEXT_KEY must be 64 hex characters (openssl rand -hex 32)")
        return value

    @field_validator("admin_key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not text.startswith("ly_") or len(text) < 24:
            raise ValueError("GATEWAY_ADMIN_KEY must be ly_<id>_<secret>, 24 characters or more")
        return value

    @field_validator("llm_url", "tools_url", "traces_url", "langfuse_host")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _no_default_secret_outside(self) -> Settings:
        defaults = {
            "GATEWAY_CONTEXT_KEY": self.context_key.get_secret_value() == UNSAFE_CONTEXT_KEY,
            "GATEWAY_SECRET_KEY": self.secret_key.get_secret_value() == UNSAFE_SECRET_KEY,
            "GATEWAY_ADMIN_KEY": self.admin_key.get_secret_value() == UNSAFE_ADMIN_KEY,
        }
        left = [name for name, default in defaults.items() if default]
        if left and not is_loopback(self.host):
            raise ValueError(f"{', '.join(left)} must be set before listening on {self.host}")
        if self.langfuse_host and not (
            self.langfuse_public_key and self.langfuse_secret_key.get_secret_value()
        ):
            raise ValueError("LANGFUSE_HOST needs LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY")
        self.cipher()  # a broken key must stop the start, not the first database that is added
        return self

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads GATEWAY_*. Raises ValueError for a name that no field has: it is a typing slip."""
        known = {f"GATEWAY_{name.upper()}" for name in cls.model_fields}
        unknown = {name for name in os.environ if name.upper().startswith("GATEWAY_")} - known
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}")
        return cls()

    @property
    def folder(self) -> Path:
        """The one folder that the gateway writes."""
        return self.data.absolute() / "gateway"

    @property
    def uploads(self) -> Path:
        return self.folder / "uploads"

    @property
    def jobs(self) -> Path:
        """The worker's folder; only jobs are asked for and read there."""
        return self.data.absolute() / "jobs"

    @property
    def heartbeat(self) -> Path:
        """What the worker writes every few seconds."""
        return self.data.absolute() / "run" / "worker.json"

    @property
    def objects(self) -> Path:
        """Datasets, which the worker writes too, each whole or not at all."""
        return self.data.absolute() / "objects"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite+aiosqlite:///{self.folder / 'gateway.db'}"

    def cipher(self) -> MultiFernet:
        keys = self.secret_key.get_secret_value().split(",")
        return MultiFernet([Fernet(key.strip()) for key in keys])


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
