"""Where annotation finds records, Label Studio, traces and the model for second answers."""

from __future__ import annotations

from pydantic import SecretStr

from annotation.places import Places
from annotation.settings import Settings as AnnotationSettings
from gateway.settings import Settings


def places_of(settings: Settings) -> Places:
    """Those that this gateway itself uses."""
    langfuse = bool(settings.langfuse_host)
    given = AnnotationSettings.model_construct(
        label_studio_url=settings.label_studio_url,
        label_studio_token=settings.label_studio_token,
        langfuse_host=settings.langfuse_host or settings.traces_url,
        langfuse_public_key=settings.langfuse_public_key if langfuse else "",
        langfuse_secret_key=settings.langfuse_secret_key if langfuse else SecretStr(""),
        model_url=settings.llm_url,
        model_key=settings.llm_api_key,
    )
    return Places(settings.data, given)
