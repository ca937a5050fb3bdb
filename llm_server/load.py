"""Prepares and loads one model, starts its engine, loads its adapters."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from llm_server.adapters.form import Form
from llm_server.adapters.manager import AdapterManager
from llm_server.backends.echo import EchoBackend
from llm_server.catalog import ChatModel, ClassifierModel, EmbeddingModelEntry, RerankModel
from llm_server.chat_template import ChatTemplate, Message
from llm_server.classifier import Classifier
from llm_server.config.encoders import EncoderSpec
from llm_server.config.resolve import AdapterSpec, ModelSpec
from llm_server.convert.minilm import MODEL_ID as MINILM_ID
from llm_server.convert.prepare import (
    Prepared,
    prepare_chat,
    prepare_classifier,
    prepare_embedder,
    prepare_onnx_chat,
    prepare_sentence,
)
from llm_server.convert.sentence import Sentence
from llm_server.embedder import EchoEmbedding, Embedder, Prefixes
from llm_server.engine.backend import Backend
from llm_server.engine.engine import Engine, Limits
from llm_server.engine.observer import Observer
from llm_server.engine.prefix_disk import PrefixDisk
from llm_server.errors import PreparationFailed
from llm_server.settings import STARTER, Settings
from llm_server.tool_calls import Marks

Progress = Callable[[str], None]
HELLO: list[Message] = [{"role": "user", "content": "Hello, what can you do for me today? " * 4}]
"""What a model computes before it is served."""


def load_model(spec: ModelSpec, observer: Observer, progress: Progress) -> ChatModel:
    """A model that can be served, its adapters loaded. PreparationFailed says what is missing,
    AdapterRefused which adapter does not fit. Slow: minutes at first.
    """
    engines = {"echo": _load_echo, "onnx": _load_onnx, "llama_cpp": _load_llama}
    return engines[spec.settings.backend](spec, observer, progress)


def _load_echo(spec: ModelSpec, observer: Observer, progress: Progress) -> ChatModel:
    settings = spec.settings
    backend = EchoBackend(context=settings.context or 4096, slots=settings.slots)
    return _chat(spec, backend, observer)


def _load_llama(spec: ModelSpec, observer: Observer, progress: Progress) -> ChatModel:
    # Imported here: the echo backend runs without llama.cpp.
    from llm_server.adapters.llama_form import LlamaForm
    from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions

    settings = spec.settings
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
    form = LlamaForm(backend, prepared.path, prepared.folder or settings.base_folder)
    return _adaptable(spec, prepared, backend, form, observer, progress)


def _load_onnx(spec: ModelSpec, observer: Observer, progress: Progress) -> ChatModel:
    from llm_server.adapters.onnx_form import OnnxForm
    from llm_server.backends.onnx import OnnxBackend, OnnxOptions

    settings = spec.settings
    prepared = prepare_onnx_chat(
        settings.model, settings.data, settings.precision, progress, settings.context
    )
    options = OnnxOptions(
        context=settings.context,
        running=settings.slots,
        batch=settings.step_tokens,
        threads=settings.threads,
        provider=settings.provider,
    )
    progress(f"Loading {prepared.path.name}")
    backend = OnnxBackend(prepared.path, options)
    form = OnnxForm(backend, prepared.path, prepared.folder)
    return _adaptable(spec, prepared, backend, form, observer, progress)


def _adaptable(
    spec: ModelSpec, prepared: Prepared, backend: Backend, form: Form, observer: Observer, progress: Progress
) -> ChatModel:
    """A model with adapters; those that it is served with are loaded."""
    settings = spec.settings
    model = _chat(spec, backend, observer)
    budget = None if settings.adapter_mb is None else settings.adapter_mb << 20
    place, name = settings.data / "adapters", _folder_name(spec.id, prepared.id)
    # Adapters fit the weights that they were made for; files of llama.cpp have no suffix here.
    folder = place / (name if form.suffix == ".gguf" else name + form.suffix)
    adapters = AdapterManager(model.engine, form, folder, budget, place / f"{name}.sources")
    model = replace(model, adapters=adapters, file=prepared.path)
    try:
        load_adapters(adapters, spec.adapters, progress)
    except BaseException:
        model.close()
        raise
    return model


def _folder_name(name: str, weights: str) -> str:
    """Other weights, another folder."""
    return (weights if name == weights else f"{name}--{weights}").replace("/", "--")


def load_adapters(manager: AdapterManager, specs: Iterable[AdapterSpec], progress: Progress) -> None:
    """Load adapters and let their names mean these versions. AdapterRefused: they were asked for."""
    for spec in specs:
        progress(f"Loading the adapter {spec.path}")
        _, future = manager.load(spec.name, spec.path, None, activate=True)
        future.result()
        if spec.scale is not None or spec.pin is not None:
            manager.store.change(spec.name, spec.scale, spec.pin)


def load_encoder(
    spec: EncoderSpec, settings: Settings, progress: Progress
) -> EmbeddingModelEntry | RerankModel | ClassifierModel:
    """An embedder, a cross-encoder or a classifier, on ONNX Runtime whatever computes chats. The embedded
    embedder alone runs where chats do. PreparationFailed.
    """
    if spec.task == "embed":
        return EmbeddingModelEntry(spec.id, _embedder(spec, settings, progress), spec.aliases)
    from llm_server.backends.onnx_classifier import OnnxClassifier

    prepared = prepare_classifier(spec.model, settings.data, progress)
    model = OnnxClassifier(prepared.path, settings.threads, settings.provider)
    if spec.task == "classify":
        return ClassifierModel(spec.id, Classifier(model), spec.aliases)
    if len(model.labels) != 1:
        model.close()
        raise PreparationFailed(
            f"{spec.model} has {len(model.labels)} labels: a cross-encoder has one. Name another reranker."
        )
    return RerankModel(spec.id, Classifier(model), spec.aliases)


def _embedder(spec: EncoderSpec, settings: Settings, progress: Progress) -> Embedder:
    embedded = spec.model == MINILM_ID and spec.sentence == Sentence()
    if embedded and settings.backend == "echo":
        return Embedder(EchoEmbedding())
    if embedded and settings.backend == "llama_cpp":
        from llm_server.backends.llama_embedder import LlamaEmbedding

        gguf = prepare_embedder(settings.data, progress)
        return Embedder(LlamaEmbedding(gguf.path, gguf.tokenizer or gguf.path, threads=settings.threads))
    from llm_server.backends.onnx_embedder import OnnxEmbedding

    prepared, sentence = prepare_sentence(spec.model, settings.data, spec.sentence, progress)
    model = OnnxEmbedding(prepared.path, settings.threads, settings.provider)
    words = (sentence.query_prefix, sentence.passage_prefix, sentence.prefix)
    return Embedder(model, Prefixes(*(word or "" for word in words)))


def _chat(spec: ModelSpec, backend: Backend, observer: Observer) -> ChatModel:
    small = spec.settings.backend == "echo" or spec.settings.model == STARTER
    return chat_model(spec.id, backend, spec.settings, observer, spec.aliases, small=small)


def chat_model(
    name: str,
    backend: Backend,
    settings: Settings,
    observer: Observer,
    aliases: tuple[str, ...] = (),
    *,
    small: bool = False,
) -> ChatModel:
    """Start an engine on a backend. A `small` model decodes greedily."""
    limits = Limits(
        running=settings.slots,
        queue=settings.queue,
        step_tokens=settings.step_tokens,
        prefix_bytes=settings.prefix_mb << 20,
        speculate=settings.speculation,
    )
    megabytes = settings.prefix_disk_mb
    folder = settings.data / "prefixes"
    disk = PrefixDisk(folder, megabytes << 20, backend.blob_form) if megabytes else None
    engine = Engine(backend, limits, observer.of(name), disk)
    vocabulary = backend.vocabulary
    template, marks = ChatTemplate(vocabulary), Marks.of(vocabulary)
    try:
        engine.start(template.tokens(HELLO))
    except BaseException:
        engine.close()
        raise
    temperature = default_temperature(settings, small=small)
    return ChatModel(name, engine, template, marks, temperature, aliases, small=small)


def default_temperature(settings: Settings, *, small: bool) -> float:
    """Where a request names none."""
    if settings.temperature is not None:
        return settings.temperature
    return 0.0 if small else 0.7
