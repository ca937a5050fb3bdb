"""What the file LLM_CONFIG may say.

```yaml
models:
  - {id: writer, model: Qwen/Qwen3-0.6B, engine: onnx, precision: int4, aliases: [gpt-4o-mini]}
  - id: helper
    model: starter
    adapters: [{name: polite, path: adapters/polite}]
embeddings: true
```
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from llm_server.config.marks import Document
from llm_server.errors import ConfigRefused
from llm_server.settings import STARTER

Name = Annotated[str, Field(pattern=r"^\w[\w./-]{0,127}$")]
"""Letters, digits, dots, dashes, slashes: a colon would name an adapter."""


class Part(BaseModel):
    """Nothing is coerced, nothing unknown is let through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class AdapterEntry(Part):
    """A LoRA adapter that is loaded before its model is served."""

    name: str = Field(pattern=r"^\w[\w.-]{0,63}$")
    path: str
    """A PEFT folder or a .gguf file; relative paths begin at the folder of the file."""
    scale: float | None = Field(default=None, ge=-4, le=4)
    pin: bool | None = None
    """Never evict it."""


class ModelEntry(Part):
    """One model. What is left out is as the settings (LLM_SLOTS, LLM_THREADS, ...) say."""

    id: Name | None = None
    """Its name for clients; by default that of the file, the folder or the hub."""
    model: str = Field(default=STARTER, min_length=1)
    """`starter`, a .gguf file, a transformers folder, or a name on the Hugging Face hub."""
    engine: Literal["llama_cpp", "onnx", "echo"] | None = None
    quantisation: Literal["f32", "f16", "q8_0", "q4_k_m"] | None = None
    precision: Literal["fp32", "int8", "int4", "fp16"] | None = None
    context: int | None = Field(default=None, ge=64)
    slots: int | None = Field(default=None, ge=1, le=64)
    queue: int | None = Field(default=None, ge=0)
    threads: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    cache_tokens: int | None = Field(default=None, ge=64)
    prefix_tokens: int | None = Field(default=None, ge=0)
    adapter_mb: int | None = Field(default=None, ge=1)
    adapters: list[AdapterEntry] = []
    aliases: list[Name] = []


class Config(Part):
    """The whole file."""

    models: list[ModelEntry] = Field(min_length=1)
    embeddings: bool | None = None
    """Serve the embedded embedding model; by default LLM_EMBEDDINGS."""


def validate(document: Document) -> Config:
    """ConfigRefused with the place and the reason of the first thing that is wrong."""
    try:
        return Config.model_validate(document.data)
    except ValidationError as error:
        raise _refusal(document, error.errors(include_url=False)[0]) from None


def _refusal(document: Document, error: ErrorDetails) -> ConfigRefused:
    loc, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        return document.refusal(loc, _unknown(loc), at_key=True)
    if kind == "missing":
        return document.refusal(loc[:-1], f"`{loc[-1]}` is missing here.")
    if kind == "model_type":
        return document.refusal(loc, f"A mapping belongs here: {_fields(loc)}.")
    where = f"`{loc[-1]}`" if loc and isinstance(loc[-1], str) else "This"
    text = error["msg"].removeprefix("Input ")
    return document.refusal(loc, f"{where} {text[0].lower()}{text[1:]}.")


def _unknown(loc: tuple[int | str, ...]) -> str:
    known = list(_part(loc[:-1]).model_fields)
    near = get_close_matches(str(loc[-1]), known, 1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known)}."
    return f"`{loc[-1]}` is not known here. {hint}"


def _fields(loc: tuple[int | str, ...]) -> str:
    return ", ".join(_part(loc).model_fields)


def _part(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The schema of a mapping, by the last list on the way to it."""
    parts: dict[Any, type[BaseModel]] = {"models": ModelEntry, "adapters": AdapterEntry}
    return next((parts[key] for key in reversed(loc) if key in parts), Config)
