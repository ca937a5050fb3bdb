"""From the file, or from the settings alone, to models that can be loaded and compared."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from llm_server.backends.onnx_manifest import MANIFEST
from llm_server.config import encoders
from llm_server.config.base_folder import check_base_folder, of_entry
from llm_server.config.encoders import MINILM, EncoderSpec
from llm_server.config.marks import Document, Loc, parse
from llm_server.config.schema import (
    PRESETS,
    AdapterEntry,
    Config,
    ModelEntry,
    ServerEntry,
    UpstreamEntry,
    validate,
)
from llm_server.config.stamp import Stamp, stamp
from llm_server.convert.hub import check_name
from llm_server.convert.prepare import STARTER_ID, local_chat
from llm_server.errors import ConfigRefused, LlmServerError, PreparationFailed
from llm_server.settings import STARTER, Settings
from llm_server.upstreams.pool import ServerSpec

OVERRIDES = (
    "quantisation",
    "precision",
    "context",
    "slots",
    "queue",
    "threads",
    "cache_tokens",
    "prefix_mb",
    "prefix_disk_mb",
    "adapter_mb",
    "temperature",
)
"""Fields of an entry that stand for the setting of the same name."""


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """An adapter that its model is served with."""

    name: str
    path: Path
    scale: float | None = None
    pin: bool | None = None
    stamp: Stamp = ()


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model with every value that it is loaded with."""

    id: str
    settings: Settings
    """Those of the server, with the entry's values in their place."""
    aliases: tuple[str, ...] = ()
    adapters: tuple[AdapterSpec, ...] = ()
    stamp: Stamp = ()
    place: int = field(default=0, compare=False)
    """Among the entries of the file."""

    @property
    def weights(self) -> tuple[Settings, Stamp]:
        """What only a new load can change."""
        return self.settings.model_copy(update={"temperature": None}), self.stamp

    def card(self) -> dict[str, object]:
        """For people; without the settings that are no model's."""
        names = ("model", "base_folder", "backend", *OVERRIDES)
        values = {name: getattr(self.settings, name) for name in names}
        values["engine"] = values.pop("backend")
        adapters = [
            {"name": a.name, "path": str(a.path), "scale": a.scale, "pin": a.pin} for a in self.adapters
        ]
        return {"id": self.id, **values, "aliases": list(self.aliases), "adapters": adapters}


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """A model that other servers compute."""

    id: str
    servers: tuple[ServerSpec, ...]
    aliases: tuple[str, ...]
    fallbacks: tuple[str, ...]
    retries: int
    timeout_s: float
    probe_s: float

    def card(self) -> dict[str, object]:
        """For people, without keys."""
        servers = [{"url": s.url, "model": s.model, "weight": s.weight} for s in self.servers]
        own = {"aliases": list(self.aliases), "fallbacks": list(self.fallbacks)}
        times = {"timeout": self.timeout_s, "probe_seconds": self.probe_s}
        return {"id": self.id, "upstream": servers, **own, "retries": self.retries, **times}


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is to be served. `document` is the file that says so, None for the settings."""

    models: tuple[ModelSpec, ...]
    document: Document | None = field(default=None, compare=False)
    upstreams: tuple[UpstreamSpec, ...] = ()
    encoders: tuple[EncoderSpec, ...] = ()
    """Embedders, rerankers and classifiers."""

    @property
    def embeddings(self) -> bool:
        """Whether any model makes vectors."""
        return any(spec.task == "embed" for spec in self.encoders)

    def refusal(self, spec: ModelSpec | EncoderSpec, error: LlmServerError) -> LlmServerError:
        """Why a model cannot be served, with its line where there is a file."""
        loc: Loc = spec.loc if isinstance(spec, EncoderSpec) else ("models", spec.place)
        return error if self.document is None or not loc else self.document.refusal(loc, error.message)


def of_settings(settings: Settings) -> Resolved:
    """The single model of LLM_MODEL. PreparationFailed where there is none."""
    beside = tuple(encoders.of_settings(settings))
    if settings.backend == "echo":
        spec = ModelSpec("echo", settings, (STARTER_ID, STARTER))
        return Resolved((spec,), encoders=beside)
    found = local_chat(settings.model)
    if settings.base_folder is not None:
        check_base_folder(settings.base_folder, settings.model, settings.backend)
    name = found[0] if found else settings.model
    aliases = (STARTER,) if name == STARTER_ID else ()
    adapters = tuple(_settings_adapters(settings.lora))
    spec = ModelSpec(name, settings, aliases, adapters, stamp(found[1]) if found else ())
    return Resolved((spec,), encoders=beside)


def _settings_adapters(lora: str) -> Iterator[AdapterSpec]:
    """`name=path, path`."""
    for entry in (part.strip() for part in lora.split(",") if part.strip()):
        name, found, place = entry.rpartition("=")
        path = Path(place).expanduser()
        yield AdapterSpec(name if found else path.stem, path, stamp=stamp(path))


def of_file(path: Path, raw: bytes, settings: Settings) -> Resolved:
    """The models of a file. ConfigRefused with line and reason for anything that is wrong in it."""
    document = parse(path, raw)
    config = validate(document)
    every = [
        _model(document, index, entry, settings)
        if isinstance(entry, ModelEntry)
        else upstream(document, index, entry)
        for index, entry in enumerate(config.models)
    ]
    beside = tuple(encoders.of_file(document, config, settings))
    _refuse_equal_names(document, config, every, beside)
    upstreams = tuple(spec for spec in every if isinstance(spec, UpstreamSpec))
    _refuse_wrong_fallbacks(document, every)
    models = _with_starter([spec for spec in every if isinstance(spec, ModelSpec)])
    return Resolved(tuple(models), document, upstreams, beside)


def upstream(document: Document, index: int, entry: UpstreamEntry) -> UpstreamSpec:
    """Addresses and keys of an entry. ConfigRefused for a variable that is not set."""
    servers = []
    for number, server in enumerate(entry.upstream):
        loc: Loc = ("models", index, "upstream", number)
        url, variable = _address(document, loc, server)
        if variable is not None and not os.environ.get(variable):
            raise document.refusal(loc, f"The environment variable {variable} is not set.")
        key = os.environ[variable] if variable else None
        servers.append(ServerSpec(url.rstrip("/"), server.model or entry.id, key, server.weight))
    names = tuple(entry.aliases), tuple(entry.fallbacks)
    return UpstreamSpec(entry.id, tuple(servers), *names, entry.retries, entry.timeout, entry.probe_seconds)


def _address(document: Document, loc: Loc, server: ServerEntry) -> tuple[str, str | None]:
    """Where a server is, and the variable that holds its key."""
    if server.preset is not None and server.url is None:
        url, variable = PRESETS[server.preset]
        return url, server.key_env or variable
    if server.url is None:
        raise document.refusal(loc, f"`url` or `preset` is missing here. Presets: {', '.join(PRESETS)}.")
    # Otherwise the preset's key would go to another server.
    both = "Give `url` or `preset`, not both; `key_env` names the variable of a key."
    wrong = _wrong_url(server.url) if server.preset is None else both
    if wrong is not None:
        raise document.refusal((*loc, "url"), wrong)
    return server.url, server.key_env


def _wrong_url(url: str) -> str | None:
    """What the pattern of the schema does not see."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"`url` is no address: {error}."
    if parts.username is not None or parts.password is not None:
        return "`url` holds a password. Put it into the environment, and name the variable in `key_env`."
    if not host or parts.query or parts.fragment:
        return "`url` is a host and a path up to `/v1`, without a query."
    return None


def _refuse_wrong_fallbacks(document: Document, specs: Sequence[ModelSpec | UpstreamSpec]) -> None:
    known = {spec.id.lower() for spec in specs}
    for index, spec in enumerate(specs):
        fallbacks = spec.fallbacks if isinstance(spec, UpstreamSpec) else ()
        for number, other in enumerate(fallbacks):
            if other in fallbacks[:number]:
                reason = f"`{other}` is there twice. Remove one of them."
                raise document.refusal(("models", index, "fallbacks", number), reason)
            if other.lower() not in known - {spec.id.lower()}:
                reason = f"There is no other model `{other}` in this file. Name one by its id."
                raise document.refusal(("models", index, "fallbacks", number), reason)


def _model(document: Document, index: int, entry: ModelEntry, settings: Settings) -> ModelSpec:
    loc: Loc = ("models", index)
    given = {name: getattr(entry, name) for name in OVERRIDES if getattr(entry, name) is not None}
    engine = entry.engine or settings.backend
    found = None if engine == "echo" else _find(document, loc, entry.model, engine)
    name = entry.id or ("echo" if engine == "echo" else found[0] if found else entry.model)
    if entry.adapters and engine == "echo":
        raise document.refusal((*loc, "adapters"), "The echo engine takes no adapters. Remove them.")
    changes = {**given, "backend": engine, "model": str(found[1]) if found else entry.model, "lora": ""}
    if entry.base_folder is not None:
        changes["base_folder"] = of_entry(document, loc, entry.base_folder, changes["model"], engine)
    if entry.model == STARTER:
        changes["model"] = STARTER
    return ModelSpec(
        name,
        settings.model_copy(update=changes),
        tuple(entry.aliases),
        tuple(_adapters(document, loc, entry.adapters)),
        stamp(found[1]) if found else (),
        index,
    )


def _find(document: Document, loc: Loc, model: str, engine: str) -> tuple[str, Path] | None:
    """Id and place of a model on this disk; None for one of the hub, which is looked for on loading."""
    beside = document.path.parent / model
    try:
        found = local_chat(str(beside) if model != STARTER and beside.exists() else model)
        if found is None:
            check_name(model)
            return None
    except PreparationFailed as error:
        raise document.refusal((*loc, "model"), error.message) from None
    except (OSError, RuntimeError) as error:
        # A name too long, or the home of a user that there is not.
        reason = f"{error.strerror if isinstance(error, OSError) else error}: {model!r}."
        raise document.refusal((*loc, "model"), reason) from None
    path = found[1]
    made = engine == "onnx" and (path / MANIFEST).is_file()
    if path.is_dir() and not (path / "config.json").is_file() and not made:
        reason = f"{path} has no config.json: it is not a transformers model."
    elif path.is_file() and engine == "onnx":
        reason = f"ONNX Runtime needs a transformers folder or a hub name, not {path.name}."
    elif path.is_file() and not _is_gguf(path):
        reason = f"{path} is no GGUF file."
    else:
        return found
    raise document.refusal((*loc, "model"), reason)


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _adapters(document: Document, loc: Loc, entries: Iterable[AdapterEntry]) -> Iterator[AdapterSpec]:
    names: set[str] = set()
    for index, entry in enumerate(entries):
        place = (*loc, "adapters", index)
        if entry.name in names:
            reason = f"The adapter `{entry.name}` is there twice. Give one of them another name."
            raise document.refusal((*place, "name"), reason)
        names.add(entry.name)
        path = _place(document.path.parent, entry.path)
        if path is None:
            raise document.refusal(
                (*place, "path"), f"There is no adapter at {document.path.parent / entry.path}."
            )
        yield AdapterSpec(entry.name, path, entry.scale, entry.pin, stamp(path))


def _place(folder: Path, text: str) -> Path | None:
    """A path that begins at a folder; None where nothing is there."""
    try:
        path = folder / Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError):
        # Its name is too long, a folder on the way cannot be looked into, `~` is nobody's home.
        return None


def _refuse_equal_names(
    document: Document,
    config: Config,
    models: Iterable[ModelSpec | UpstreamSpec],
    beside: Sequence[EncoderSpec],
) -> None:
    """Ids and aliases share one space; upper and lower case are the same there."""
    embedded = next((spec for spec in beside if spec.model == MINILM.model), None)
    taken = (embedded.id, *embedded.aliases) if embedded is not None else ()
    seen = {name.lower(): "the embedding model" for name in taken}
    places: list[tuple[str, Loc, str]] = []
    for index, spec in enumerate(models):
        loc: Loc = ("models", index)
        own = (*loc, "id") if config.models[index].id is not None else loc
        places.append((spec.id, own, f"models.{index}"))
        places += [(a, (*loc, "aliases", i), f"models.{index}") for i, a in enumerate(spec.aliases)]
    for encoder in (spec for spec in beside if spec is not embedded):
        setting = "LLM_EMBEDDINGS" if encoder.task == "embed" else "LLM_RERANKER"
        owner = ".".join(map(str, encoder.loc)) or setting
        places.append((encoder.id, encoder.loc, owner))
        places += [(a, (*encoder.loc, "aliases", i), owner) for i, a in enumerate(encoder.aliases)]
    for name, loc, owner in places:
        other = seen.get(name.lower())
        if other is not None:
            reason = f"The name `{name}` belongs to {other} already. Set another `id` or alias."
            raise document.refusal(loc, reason)
        seen[name.lower()] = owner


def _with_starter(models: list[ModelSpec]) -> Iterator[ModelSpec]:
    """The embedded model is called `starter` too, where no other is."""
    taken = {name.lower() for spec in models for name in (spec.id, *spec.aliases)}
    for spec in models:
        if spec.id == STARTER_ID and STARTER not in taken:
            yield replace(spec, aliases=(*spec.aliases, STARTER))
        else:
            yield spec


def read_config(settings: Settings, raw: bytes | None = None) -> Resolved:
    """What the settings, or the file that they name, want served. `raw` is its content if it was read.

    ConfigRefused, PreparationFailed.
    """
    if settings.config is None:
        return of_settings(settings)
    return of_file(settings.config, read_file(settings.config) if raw is None else raw, settings)


def read_file(path: Path) -> bytes:
    """Content of LLM_CONFIG. ConfigRefused where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigRefused(path, 1, 1, f"The file cannot be read: {error.strerror}.") from None
