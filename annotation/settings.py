"""Where Label Studio, the traces and the model for second answers are."""

import os
from typing import Self

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from annotation.errors import AnnotationError

PREFIX = "ANNOTATION_"


def _also(field: str, name: str) -> AliasChoices:
    """The field's own name, with our prefix, or as the field's own programs read it."""
    return AliasChoices(field, f"{PREFIX}{field.upper()}", name)


class Settings(BaseSettings):
    """Settings of the room, read from `ANNOTATION_*`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_ignore_empty=True,
        populate_by_name=True,
    )

    label_studio_url: str = Field(default="", validation_alias=_also("label_studio_url", "LABEL_STUDIO_URL"))
    """Label Studio's address; that of `loopyard annotate serve` when empty. Also LABEL_STUDIO_URL."""
    label_studio_token: SecretStr = Field(
        default=SecretStr(""), validation_alias=_also("label_studio_token", "LABEL_STUDIO_API_KEY")
    )
    """Its token; that of `loopyard annotate serve` when empty. Also LABEL_STUDIO_API_KEY."""
    langfuse_host: str = Field(default="", validation_alias=_also("langfuse_host", "LANGFUSE_HOST"))
    """Where traces are read; the embedded trace store when empty. Also LANGFUSE_HOST."""
    langfuse_public_key: str = Field(
        default="", validation_alias=_also("langfuse_public_key", "LANGFUSE_PUBLIC_KEY")
    )
    """Its public key; that of DATA/langfuse-keys.json when empty. Also LANGFUSE_PUBLIC_KEY."""
    langfuse_secret_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=_also("langfuse_secret_key", "LANGFUSE_SECRET_KEY")
    )
    """Its secret key. Also LANGFUSE_SECRET_KEY."""
    model_url: str = ""
    """OpenAI-compatible server that gives second answers, with its /v1; ours when empty."""
    model_key: SecretStr = SecretStr("")
    """Its key."""

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; a name with our prefix that no setting has is an error."""
        known = {f"{PREFIX}{name.upper()}" for name in cls.model_fields}
        unknown = sorted(k for k in os.environ if k.upper().startswith(PREFIX) and k.upper() not in known)
        if unknown:
            text = f"unknown settings: {', '.join(unknown)}"
            raise AnnotationError(text, f"Known: {', '.join(sorted(known))}.")
        return cls()
