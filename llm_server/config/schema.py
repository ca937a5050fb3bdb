"""What the file LLM_CONFIG may say.

```yaml
models:
  - {id: writer, model: Qwen/Qwen3-0.6B, engine: onnx, precision: int4, aliases: [gpt-4o-mini]}
  - id: helper
    model: starter
    adapters: [{name: polite, path: adapters/polite}]
  - id: big
    upstream: [{preset: openai, model: gpt-5}, {url: "http://gpu:8000/v1", weight: 3}]
    fallbacks: [helper]
embeddings: [all-minilm-l6-v2, {model: models/e5, query_prefix: "query: ", passage_prefix: "passage: "}]
reranker: models/cross-encoder
classifiers:
  - {id: intent, model: models/intent}
```
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from llm_server.config.marks import Document
from llm_server.convert.minilm import MODEL_ID as MINILM_ID
from llm_server.convert.sentence import Pooling
from llm_server.errors import ConfigRefused
from llm_server.settings import STARTER

Name = Annotated[str, Field(pattern=r"^\w[\w./-]{0,127}$")]
"""Letters, digits, dots, dashes, slashes: a colon would name an adapter."""


LOCAL, UPSTREAM = "<local>", "<upstream>"
"""How pydantic tells the two kinds of entries apart; part of the places that it names."""
PRESETS: dict[str, tuple[str, str | None]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "vllm": ("http://127.0.0.1:8000/v1", None),
    "llama_server": ("http://127.0.0.1:8080/v1", None),
    "ollama": ("http://127.0.0.1:11434/v1", None),
}
"""Address, and the variable that usually holds the key."""
Preset = Literal["openai", "anthropic", "groq", "mistral", "openrouter", "vllm", "llama_server", "ollama"]


class Part(BaseModel):
    """Nothing is coerced, nothing unknown is let through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class AdapterEntry(Part):
    """A LoRA adapter that is loaded before its model is served."""

    name: str = Field(pattern=r"^\w[\w.-]{0,63}$")
    path: str = Field(min_length=1)
    """A PEFT folder, a .gguf file or a bank (.safetensors); relative paths begin at this file's folder."""
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
    base_folder: str | None = Field(default=None, min_length=1)
    """Transformers folder that a .gguf file was made from; config.json is enough. PEFT adapters need it where
    the file does not tell."""
    quantisation: Literal["f32", "f16", "q8_0", "q4_k_m"] | None = None
    precision: Literal["fp32", "int8", "int4", "fp16"] | None = None
    context: int | None = Field(default=None, ge=64)
    slots: int | None = Field(default=None, ge=1, le=64)
    queue: int | None = Field(default=None, ge=0)
    threads: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    cache_tokens: int | None = Field(default=None, ge=64)
    prefix_mb: int | None = Field(default=None, ge=0)
    prefix_disk_mb: int | None = Field(default=None, ge=0)
    adapter_mb: int | None = Field(default=None, ge=1)
    adapters: list[AdapterEntry] = []
    aliases: list[Name] = []


class ServerEntry(Part):
    """An OpenAI-compatible server, by its address or by the name of a well-known one."""

    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+(/\S*)?$")
    """Up to `/v1`."""
    preset: Preset | None = None
    key_env: str | None = Field(default=None, min_length=1)
    """Name of the environment variable that holds the key; the file holds none."""
    model: str | None = Field(default=None, min_length=1)
    """The model's name there; by default the `id` of the entry."""
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class UpstreamEntry(Part):
    """A model that other servers compute."""

    id: Name
    upstream: list[ServerEntry] = Field(min_length=1)
    aliases: list[Name] = []
    fallbacks: list[str] = []
    """Ids of this file that answer where no server does."""
    retries: int = Field(default=2, ge=0, le=10)
    """Further tries of a request that no server has begun to answer."""
    timeout: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Seconds between two signs of life."""
    probe_seconds: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    """A look at each server (GET /v1/models) so often, whether requests come or not; 0 for none."""


def _kind(value: Any) -> str:
    return UPSTREAM if isinstance(value, dict) and "upstream" in value else LOCAL


AnyEntry = Annotated[
    Annotated[ModelEntry, Tag(LOCAL)] | Annotated[UpstreamEntry, Tag(UPSTREAM)], Discriminator(_kind)
]


class ClassifierEntry(Part):
    """A sequence classifier for /v1/classify, on ONNX Runtime."""

    id: Name | None = None
    """Its name for clients; by default that of the folder or the hub."""
    model: str = Field(min_length=1)
    """A transformers folder, or a name on the Hugging Face hub."""
    aliases: list[Name] = []


class EmbeddingEntry(Part):
    """A model for /v1/embeddings, on ONNX Runtime. What is left out is as its folder says."""

    id: Name | None = None
    """Its name for clients; by default that of the folder or the hub."""
    model: str = Field(min_length=1)
    """A transformers folder, a name on the Hugging Face hub, or all-minilm-l6-v2."""
    aliases: list[Name] = []
    pooling: Pooling | None = None
    normalise: bool | None = None
    """Vectors of length 1; by default they are."""
    max_tokens: int | None = Field(default=None, ge=2)
    query_prefix: str | None = None
    passage_prefix: str | None = None
    prefix: str | None = None
    """Before texts of which a request does not say what they are."""


def _listed(value: Any) -> Any:
    """`true`, a name, and names in a list are short for entries."""
    if isinstance(value, bool):
        return [{"model": MINILM_ID}] if value else []
    many = [value] if isinstance(value, str) else value
    if not isinstance(many, list) or not many:
        raise PydanticCustomError("embeddings", "Input should be true, false, a model or a list of models")
    return [{"model": one} if isinstance(one, str) else one for one in many]


Embeddings = Annotated[list[EmbeddingEntry], BeforeValidator(_listed)]


class Config(Part):
    """The whole file."""

    models: list[AnyEntry] = Field(min_length=1)
    embeddings: Embeddings | None = None
    """True for the embedded embedding model, false for none, a model, or a list of models; by default
    LLM_EMBEDDINGS."""
    reranker: str | None = Field(default=None, min_length=1)
    """Cross-encoder for /v1/rerank, a transformers folder or a name on the hub; by default LLM_RERANKER."""
    classifiers: list[ClassifierEntry] = []


def validate(document: Document) -> Config:
    """ConfigRefused with the place and the reason of the first thing that is wrong."""
    try:
        return Config.model_validate(document.data)
    except ValidationError as error:
        raise _refusal(document, error.errors(include_url=False)[0]) from None


def _refusal(document: Document, error: ErrorDetails) -> ConfigRefused:
    named, kind = error["loc"], error["type"]
    loc = tuple(part for part in named if part not in (LOCAL, UPSTREAM))
    if kind == "extra_forbidden":
        return document.refusal(loc, _unknown(named), at_key=True)
    if kind == "missing":
        return document.refusal(loc[:-1], f"`{loc[-1]}` is missing here.")
    if kind == "model_type":
        return document.refusal(loc, f"A mapping belongs here: {_fields(named)}.")
    where = f"`{loc[-1]}`" if loc and isinstance(loc[-1], str) else "This"
    text = error["msg"].removeprefix("Input ")
    return document.refusal(loc, f"{where} {text[0].lower()}{text[1:]}.")


def _unknown(loc: tuple[int | str, ...]) -> str:
    part = _part(loc[:-1])
    # With `upstream` an entry is of the other kind.
    known = [*part.model_fields, *(["upstream"] if part is ModelEntry else [])]
    near = get_close_matches(str(loc[-1]), known, 1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known)}."
    return f"`{loc[-1]}` is not known here. {hint}"


def _fields(loc: tuple[int | str, ...]) -> str:
    return ", ".join(_part(loc).model_fields)


def _part(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The schema of a mapping, by the last list on the way to it."""
    parts: dict[Any, type[BaseModel]] = {
        LOCAL: ModelEntry,
        UPSTREAM: UpstreamEntry,
        "adapters": AdapterEntry,
        "upstream": ServerEntry,
        "classifiers": ClassifierEntry,
        "embeddings": EmbeddingEntry,
    }
    return next((parts[key] for key in reversed(loc) if key in parts), Config)
