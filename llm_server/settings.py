"""Settings of llm_server, from the environment (`LLM_...`)."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "LLM_"
STARTER = "starter"
WEAK_KEYS = frozenset(
    {"", "changeme", "change-me", "secret", "password", "test", "key", "loopyard", "sk-local"}
)


ALIASES = {
    "LORA_PATHS": "lora",
    "LANGFUSE_HOST": "langfuse_host",
    "LANGFUSE_PUBLIC_KEY": "langfuse_public_key",
    "LANGFUSE_SECRET_KEY": "langfuse_secret_key",
}
"""Names that the field already uses, where ours is not set."""
SHORTEST_KEY = 16
"""Characters of a key that is safe to show to a network."""


class Settings(BaseSettings):
    """Where, how much, and which model."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_ignore_empty=True,
        # They may be keys.
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback both keys are required."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on."""
    data: Path = Path("data/models")
    """Folder for prepared models."""
    config: Path | None = None
    """YAML file of several models with their engines, adapters and aliases; followed while the server runs.
    Left out: the one model of LLM_MODEL."""
    env_file: Path | None = None
    """File of `NAME=value` lines, these settings and keys of other servers; what the environment says wins.
    It is followed while the server runs: keys, limits and models at once; what needs a restart is named in
    the log and in GET /admin/config."""
    model: str = STARTER
    """`starter` (embedded), a .gguf file, a transformers folder, or a name on the Hugging Face hub."""
    base_folder: Path | None = None
    """Transformers folder that a .gguf file was made from (its config.json is enough): PEFT adapters are
    converted with it. Left out: with what the file tells of itself, which is enough for Llama, Mistral,
    Qwen2, Qwen3, Phi-3 and Gemma."""
    backend: Literal["llama_cpp", "onnx", "echo"] = "llama_cpp"
    """What computes; `onnx` serves many adapters in one batch, `echo` needs no model and repeats what it is
    told.
    """
    quantisation: Literal["f32", "f16", "q8_0", "q4_k_m"] = "q8_0"
    """Weights of models that are converted here."""
    precision: Literal["fp32", "int8", "int4", "fp16"] = "int8"
    """The same for the onnx backend; fp16 is for CUDA."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """Where the onnx backend computes; cuda needs onnxruntime-gpu and has not been tried."""
    context: int | None = Field(default=None, ge=64)
    """Tokens of one sequence; by default the length that the model was trained with, cut to the memory
    there is.
    """
    slots: int = Field(default=8, ge=1, le=64)
    """Sequences that decode together."""
    queue: int = Field(default=64, ge=0)
    """Sequences that may wait; the next one gets 429."""
    step_tokens: int = Field(default=512, ge=16)
    """Tokens of one step; prompts are computed in chunks of what decoding leaves."""
    cache_tokens: int | None = Field(default=None, ge=64)
    """Tokens in the KV cache, running and cached; by default a quarter of the free memory at most."""
    prefix_mb: int = Field(default=256, ge=0)
    """Megabytes of the host's memory for prefixes that have left the KV cache; 0 saves none."""
    prefix_disk_mb: int = Field(default=0, ge=0)
    """Megabytes on the disk, in LLM_DATA/prefixes, for prefixes that LLM_PREFIX_MB has no room for; they can
    be used again after a restart. Conversations can be read out of them. 0 writes none."""
    speculation: bool = True
    """Try what followed the last words before, as long as that is measured to pay (llama_cpp only)."""
    threads: int | None = Field(default=None, ge=1)
    """Threads that compute; by default one a core."""
    temperature: float | None = Field(default=None, ge=0)
    """Where a request names none; by default 0 for the starter and 0.7 for other models."""
    lora: str = ""
    """Adapters to load at start: `name=path` or paths, separated by commas. LORA_PATHS says the same."""
    adapters: Path | None = None
    """Folder that is watched for adapters: PEFT folders, .gguf files and banks (.safetensors), named after
    themselves. It is made where it is missing."""
    adapter_folders: str = ""
    """Folders that admins may load adapters from over HTTP, separated by commas. Those of LLM_DATA,
    LLM_ADAPTERS, LLM_LORA and of the adapters in LLM_CONFIG count without being named. Where no key is asked
    for, which is on loopback only, and none is named, any folder will do."""
    adapter_mb: int | None = Field(default=None, ge=1)
    """Megabytes of adapters in the memory; the least recently used go first. By default all stay."""
    embeddings: bool | str = True
    """Serve the embedded embedding model; or others of BERT's shape instead, by folders or names on the hub,
    separated by commas (all-minilm-l6-v2 is the embedded one). Prefixes and more are said in LLM_CONFIG."""
    reranker: str | None = None
    """Cross-encoder for /v1/rerank: a transformers folder, or a name on the hub, of a sequence classifier of
    BERT's shape with one label. Left out: /v1/rerank compares embeddings."""
    api_key: str | None = None
    """Key with scope inference; several separated by commas. None on loopback: no key is asked for."""
    admin_key: str | None = None
    """Key with scopes inference and admin."""
    max_body_mb: int = Field(default=32, ge=1)
    """Megabytes of a request's body; a larger one gets 413."""
    upload_mb: int = Field(default=1024, ge=1)
    """Megabytes of an adapter that is uploaded, packed and unpacked."""
    uploads_mb: int = Field(default=8192, ge=1)
    """Megabytes of all uploaded adapters, in LLM_DATA/uploads; those of adapters that were unloaded go."""
    responses: int = Field(default=1000, ge=0)
    """Responses of /v1/responses that are kept for a key, in LLM_DATA/responses.sqlite3; 0 keeps none."""
    responses_mb: int = Field(default=64, ge=1)
    """Megabytes that the responses of a key may take."""
    keys_file: Path | None = None
    """YAML or JSON file of further keys: `keys: [{name, key or sha256, scopes, models, max_concurrent,
    requests_per_minute}]`."""
    drain_seconds: float = Field(default=20.0, ge=0)
    """On SIGTERM running requests have this long to finish."""
    retire_seconds: float = Field(default=600.0, ge=0)
    """After an edit of LLM_CONFIG requests have this long to finish on a model that was replaced or removed;
    then they end with the error `model_replaced`, so that its memory is free again."""

    langfuse_host: str = ""
    """A Langfuse server, or a trace store that speaks like one, that requests are traced to; not those that
    their caller traces there itself. Also LANGFUSE_HOST. None when empty."""
    langfuse_public_key: str = ""
    """Its public key. Also LANGFUSE_PUBLIC_KEY."""
    langfuse_secret_key: str = Field(default="", repr=False)
    """Its secret key. Also LANGFUSE_SECRET_KEY."""

    @field_validator("langfuse_host")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _keys_of_traces(self) -> "Settings":
        if self.langfuse_host and not (self.langfuse_public_key and self.langfuse_secret_key):
            raise ValueError("LANGFUSE_HOST needs LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY")
        return self

    @field_validator("embeddings", mode="before")
    @classmethod
    def _yes_or_names(cls, value: object) -> object:
        # Of `bool | str` pydantic would take every text as it is.
        words = {"true": True, "1": True, "yes": True, "on": True}
        words |= {"false": False, "0": False, "no": False, "off": False}
        return words.get(value.strip().lower(), value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_place_for_models(self) -> "Settings":
        # What says the same as nothing stands in no way: files of settings list the defaults too.
        said = {
            "model": self.model != STARTER,
            "lora": bool(self.lora),
            "base_folder": self.base_folder is not None,
        }
        given = sorted(name for name in said if said[name]) if self.config is not None else []
        if given:
            names = " and ".join(f"LLM_{name.upper()}" for name in given)
            raise ValueError(f"{names} would not be used: {self.config} says what is served. Put it there.")
        return self

    @model_validator(mode="after")
    def _safe_beyond_loopback(self) -> "Settings":
        if is_loopback(self.host):
            return self
        for name in ("api_key", "admin_key"):
            given = getattr(self, name)
            if given is None and self.keys_file is not None:
                continue
            keys = [key.strip() for key in (given or "").split(",")]
            if any(key.lower() in WEAK_KEYS or len(key) < SHORTEST_KEY for key in keys):
                raise ValueError(
                    f"LLM_HOST is {self.host}: anyone on the network could call. Set LLM_{name.upper()} "
                    f"to a random key of at least {SHORTEST_KEY} characters, or listen on 127.0.0.1."
                )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_loopback_url(url: str) -> bool:
    """The same of an address."""
    return is_loopback(urlsplit(url).hostname or "")


def unknown_keys(environment: Mapping[str, str]) -> list[str]:
    """Keys of the prefix that mean nothing: misspelt, most likely."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    return sorted(key for key in environment if key.upper().startswith(PREFIX) and key.upper() not in known)


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, `overrides` first. ValueError for unknown keys."""
    unknown = unknown_keys(os.environ)
    if unknown:
        raise ValueError(
            f"Unknown settings: {', '.join(unknown)}. `python -m llm_server serve --help` lists them."
        )
    given = {key: value for key, value in overrides.items() if value is not None}
    for alias, name in ALIASES.items():
        if os.environ.get(alias) and not os.environ.get(f"{PREFIX}{name.upper()}"):
            given.setdefault(name, os.environ[alias])
    return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
