"""Fills a catalog from settings: prepares, loads, starts."""

from collections.abc import Callable

from llm_server.backends.echo import EchoBackend
from llm_server.catalog import Catalog, ChatModel, EmbeddingModelEntry
from llm_server.chat_template import ChatTemplate
from llm_server.convert.minilm import MODEL_ID as MINILM_ID
from llm_server.convert.prepare import STARTER_ID, prepare_chat, prepare_embedder
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
    else:
        _add_llama(settings, catalog, observer, progress)
    catalog.ready = True


def _add_echo(settings: Settings, catalog: Catalog, observer: Observer) -> None:
    backend = EchoBackend(context=settings.context or 4096, slots=settings.slots * 3)
    catalog.add(chat_model("echo", backend, settings, observer, aliases=(STARTER_ID, STARTER)))
    if settings.embeddings:
        catalog.add(EmbeddingModelEntry(MINILM_ID, Embedder(EchoEmbedding())))


def _add_llama(settings: Settings, catalog: Catalog, observer: Observer, progress: Progress) -> None:
    # Imported here: the echo backend runs without llama.cpp.
    from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
    from llm_server.backends.llama_embedder import LlamaEmbedding

    prepared = prepare_chat(settings.model, settings.data, settings.quantisation, progress)
    options = LlamaOptions(
        context=settings.context,
        running=settings.slots,
        cache_tokens=settings.cache_tokens,
        batch=settings.step_tokens,
        threads=settings.threads,
    )
    progress(f"Loading {prepared.path.name}")
    aliases = (STARTER,) if prepared.id == STARTER_ID else ()
    catalog.add(chat_model(prepared.id, LlamaBackend(prepared.path, options), settings, observer, aliases))
    if settings.embeddings:
        embedder = prepare_embedder(settings.data, progress)
        tokenizer = embedder.tokenizer or embedder.path
        model = LlamaEmbedding(embedder.path, tokenizer, threads=settings.threads)
        catalog.add(
            EmbeddingModelEntry(embedder.id, Embedder(model), ("sentence-transformers/" + embedder.id,))
        )


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
