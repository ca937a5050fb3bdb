"""Where the tools service listens, keeps its data, and what its limits are."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tools.errors import SettingsError

MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """Settings of the room, read from `TOOLS_*` by `from_environment` and passed down."""

    model_config = SettingsConfigDict(
        env_prefix="TOOLS_", frozen=True, extra="forbid", use_attribute_docstrings=True, env_ignore_empty=True
    )

    host: str = "127.0.0.1"
    """Address that the service listens on."""
    port: int = Field(default=9000, ge=0, le=65535)
    """Port of the service; 0 takes a free one."""
    data: Path = Path("data/tools")
    """Folder of the document store and the indexes. One process owns it at a time."""
    uploads: Path | None = None
    """The only folder whose files `rag_ingest` may read by path. Unset: no path is readable."""
    context_key: SecretStr | None = None
    """64 hex characters shared with the gateway, which encrypts each call's context with them."""
    llm_url: str = "http://127.0.0.1:8000/v1"
    """OpenAI-compatible service that makes the embeddings."""
    llm_api_key: SecretStr | None = None
    """Bearer key for the embeddings service."""
    embedding_model: str = "all-minilm-l6-v2"
    """Name of the embedding model there."""
    embedding_input_type: bool = False
    """Say with every request whether its texts are queries or passages (`input_type`), for a model that has a
    prefix for each, such as E5. Not every service takes the field; llm_server does."""
    embedding_batch: int = Field(default=16, ge=1, le=256)
    """Passages per embeddings request."""
    embedding_timeout: float = Field(default=60.0, gt=0)
    """Seconds to wait for one batch of vectors."""
    question_timeout: float = Field(default=10.0, gt=0)
    """Seconds to wait for the vector of a question, before it is searched by words only."""
    retry_seconds: float = Field(default=15.0, gt=0)
    """Pause between attempts to embed documents that were published without vectors."""
    max_document_bytes: int = Field(default=100 * MEBIBYTE, ge=1)
    """Largest document that is taken in."""
    parse_seconds: float = Field(default=300.0, gt=0)
    """Longest time that a parser may spend on one document."""
    gateway_url: str = "http://127.0.0.1:8080"
    """The gateway, through which datasets and jobs are acted on."""
    gateway_key: SecretStr | None = None
    """An API key of the gateway with the scope manage, for `python -m tools data` and `training` alone; the
    service never uses it: each call brings what its caller may."""
    sql_rows: int = Field(default=1000, ge=1, le=100_000)
    """Rows that one query returns at most."""
    sql_bytes: int = Field(default=2 * MEBIBYTE, ge=1024)
    """Bytes of cell text that one query returns at most."""
    sql_cell_chars: int = Field(default=4000, ge=16)
    """Characters of one cell; what is longer is cut visibly."""
    sql_seconds: float = Field(default=15.0, gt=0)
    """Longest time that a query may run."""

    @field_validator("context_key")
    @classmethod
    def _is_256_bits(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(_from_hex(value.get_secret_value())) != 32:
            raise ValueError("must be 64 hex characters: `openssl rand -hex 32` makes some")
        return value

    @classmethod
    def from_environment(cls) -> Self:
        """Read `TOOLS_*`; a name that no setting has is an error, because it is a typing slip."""
        known = {f"TOOLS_{name.upper()}" for name in cls.model_fields}
        unknown = sorted(k for k in os.environ if k.upper().startswith("TOOLS_") and k.upper() not in known)
        if unknown:
            raise SettingsError(f"unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
        try:
            return cls()
        except ValidationError as error:
            problems = (f"TOOLS_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise SettingsError("; ".join(problems)) from error


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
