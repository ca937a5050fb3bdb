"""Fills a catalog from settings: prepares, loads, starts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llm_server.adapters.form import Form
from llm_server.adapters.manager import AdapterManager
from llm_server.backends.echo import EchoBackend
from llm_server.catalog import Catalog, ChatModel, EmbeddingModelEntry
from llm_server.chat_template import ChatTemplate
from llm_server.convert.minilm import MODEL_ID as MINILM_ID
from llm_server.convert.prepare import STARTER_ID, Prepared, prepare_chat, prepare_embedder, prepare_onnx_chat
from llm_server.embedder import EchoEmbedding, Embedder
from llm_server.engine.backend import Backend
from llm_server.engine.engine import Engine, Limits, Observer
from llm_server.settings import STARTER, Settings
from llm_server.tool_calls import Marks

Progress = Callable[[str], None]


def load_catalog(settings: Settings, catalog: Catalog, observer: Observer, progress: Progress) -> None:
    """Make every model of the settings available. PreparationFailed says what is missing. Slow: minutes
    at first.
    """
    if settings.backend == "echo":
        _add_echo(settings, catalog, observer)
    elif settings.backend == "onnx":
        _add_onnx(settings, catalog, observer, progress)
    else:
        _add_llama(settings, catalog, observer, progress)
    catalog.ready = True


def _add_echo(settings: Settings, catalog: Catalog, observer: Observer) -> None:
    backend = EchoBackend(context=settings.context or 4096, slots=settings.slots * 3)
    catalog.add(chat_model("echo", backend, settings, observer, aliases=(STARTER_ID, STARTER)))
    if settings.embeddings:
        catalog.add(EmbeddingModelEntry(MINILM_ID, Embedder(EchoEmbedding())))


def load_named(adapters: AdapterManager, lora: str, progress: Progress) -> None:
    """The adapters of a setting: `name=path, path`. AdapterRefused ends the start: it was asked for."""
    for entry in (part.strip() for part in lora.split(",") if part.strip()):
        name, found, place = entry.rpartition("=")
        path = Path(place).expanduser()
        progress(f"Loading the adapter {path}")
        _, future = adapters.load(name if found else path.stem, path, None, activate=True)
        future.result()


def _add_llama(settings: Settings, catalog: Catalog, observer: Observer, progress: Progress) -> None:
    # Imported here: the echo backend runs without llama.cpp.
    from llm_server.adapters.llama_form import LlamaForm
    from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions

    prepared = prepare_chat(settings.model, settings.data, settings.quantisation, progress)
    options = LlamaOptions(
        context=settings.context,
        running=settings.slots,
        cache_tokens=settings.cache_tokens,
        batch=settings.step_tokens,
        threads=settings.threads,
    )
    progress(f"Loading {prepared.path.name}")
    backend = LlamaBackend(prepared.path, options)
    form = LlamaForm(backend, prepared.path, prepared.folder)
    _add_chat(settings, catalog, observer, progress, prepared, backend, form)
    _add_embedder(settings, catalog, progress)


def _add_onnx(settings: Settings, catalog: Catalog, observer: Observer, progress: Progress) -> None:
    from llm_server.adapters.onnx_form import OnnxForm
    from llm_server.backends.onnx import OnnxBackend, OnnxOptions

    prepared = prepare_onnx_chat(settings.model, settings.data, settings.precision, progress)
    options = OnnxOptions(
        context=settings.context,
        running=settings.slots,
        batch=settings.step_tokens,
        threads=settings.threads,
        provider=settings.provider,
    )
    progress(f"Loading {prepared.path.name}")
    backend = OnnxBackend(prepared.path, options)
    form = OnnxForm(backend, prepared.folder)
    _add_chat(settings, catalog, observer, progress, prepared, backend, form)
    _add_embedder(settings, catalog, progress)


def _add_chat(
    settings: Settings,
    catalog: Catalog,
    observer: Observer,
    progress: Progress,
    prepared: Prepared,
    backend: Backend,
    form: Form,
) -> None:
    """A model with adapters; those of the settings are loaded."""
    aliases = (STARTER,) if prepared.id == STARTER_ID else ()
    model = chat_model(prepared.id, backend, settings, observer, aliases)
    budget = None if settings.adapter_mb is None else settings.adapter_mb << 20
    folder = settings.data / "adapters" / prepared.id.replace("/", "--")
    if form.suffix != ".gguf":
        folder = folder.with_name(f"{folder.name}{form.suffix}")
    adapters = AdapterManager(model.engine, form, folder, budget)
    catalog.add(replace(model, adapters=adapters))
    load_named(adapters, settings.lora, progress)


def _add_embedder(settings: Settings, catalog: Catalog, progress: Progress) -> None:
    from llm_server.backends.llama_embedder import LlamaEmbedding

    if not settings.embeddings:
        return
    embedder = prepare_embedder(settings.data, progress)
    tokenizer = embedder.tokenizer or embedder.path
    vectors = LlamaEmbedding(embedder.path, tokenizer, threads=settings.threads)
    aliases = ("sentence-transformers/" + embedder.id,)
    catalog.add(EmbeddingModelEntry(embedder.id, Embedder(vectors), aliases))


def chat_model(
    name: str, backend: Backend, settings: Settings, observer: Observer, aliases: tuple[str, ...] = ()
) -> ChatModel:
    """Start an engine on a backend."""
    limits = Limits(
        running=settings.slots,
        queue=settings.queue,
        step_tokens=settings.step_tokens,
        prefix_tokens=settings.prefix_tokens,
    )
    engine = Engine(backend, limits, observer)
    vocabulary = backend.vocabulary
    template, marks = ChatTemplate(vocabulary), Marks.of(vocabulary)
    small = STARTER in aliases
    default = settings.temperature
    if default is None:
        default = 0.0 if small else 0.7
    engine.start()
    return ChatModel(name, engine, template, marks, default, aliases, free_literals=not small)
