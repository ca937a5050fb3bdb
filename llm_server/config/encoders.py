"""Embedders, rerankers and classifiers of the configuration: encoders beside the models that write."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from llm_server.config.marks import Document, Loc
from llm_server.config.schema import Config, EmbeddingEntry
from llm_server.config.stamp import Stamp, stamp
from llm_server.convert.hub import check_name
from llm_server.convert.minilm import MODEL_ID as MINILM_ID
from llm_server.convert.prepare import local_chat
from llm_server.convert.sentence import Sentence
from llm_server.errors import LlmServerError
from llm_server.settings import Settings

Task = Literal["embed", "rerank", "classify"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """An encoder with a head, and where it is."""

    id: str
    task: Task
    model: str
    """A folder, or a name on the hub."""
    aliases: tuple[str, ...] = ()
    stamp: Stamp = ()
    loc: Loc = field(default=(), compare=False)
    """Its place in the file."""
    sentence: Sentence = field(default_factory=Sentence)
    """What an embedder does otherwise than its folder says."""

    def card(self) -> dict[str, object]:
        """For people."""
        return {"id": self.id, "task": self.task, "model": self.model, "aliases": list(self.aliases)}


MINILM = EncoderSpec(MINILM_ID, "embed", MINILM_ID, ("sentence-transformers/" + MINILM_ID,))
"""The embedded embedding model."""
EMBEDDED = tuple(name.lower() for name in (MINILM.id, *MINILM.aliases))


def of_settings(settings: Settings) -> Iterator[EncoderSpec]:
    """LLM_EMBEDDINGS and LLM_RERANKER. PreparationFailed where a path leads nowhere."""
    yield from _embedders_of_settings(settings)
    yield from _reranker_of_settings(settings)


def _embedders_of_settings(settings: Settings) -> Iterator[EncoderSpec]:
    given = settings.embeddings
    text = given if isinstance(given, str) else MINILM_ID if given else ""
    for model in dict.fromkeys(part.strip() for part in text.split(",") if part.strip()):
        yield MINILM if model.lower() in EMBEDDED else _spec("embed", model, local_chat(model))


def _reranker_of_settings(settings: Settings) -> Iterator[EncoderSpec]:
    if settings.reranker is not None:
        yield _spec("rerank", settings.reranker, local_chat(settings.reranker))


def of_file(document: Document, config: Config, settings: Settings) -> Iterator[EncoderSpec]:
    """What the file says, the setting where it says nothing. ConfigRefused."""
    if config.embeddings is None:
        yield from _embedders_of_settings(settings)
    for index, one in enumerate(config.embeddings or ()):
        yield _embedder(document, ("embeddings", index), one)
    if config.reranker is None:
        yield from _reranker_of_settings(settings)
    else:
        loc: Loc = ("reranker",)
        yield _spec("rerank", config.reranker, _found(document, loc, config.reranker), loc=loc)
    for index, entry in enumerate(config.classifiers):
        loc = ("classifiers", index)
        found = _found(document, (*loc, "model"), entry.model)
        yield _spec("classify", entry.model, found, entry.id, tuple(entry.aliases), loc)


def _embedder(document: Document, loc: Loc, entry: EmbeddingEntry) -> EncoderSpec:
    sentence = Sentence(**{field.name: getattr(entry, field.name) for field in fields(Sentence)})
    if entry.model.lower() in EMBEDDED:
        plain = entry.id is None and not entry.aliases
        own = MINILM if plain else _spec("embed", MINILM_ID, None, entry.id, tuple(entry.aliases))
        return replace(own, sentence=sentence, loc=loc)
    found = _found(document, (*loc, "model"), entry.model)
    return replace(_spec("embed", entry.model, found, entry.id, tuple(entry.aliases), loc), sentence=sentence)


def _spec(
    task: Task,
    model: str,
    found: tuple[str, Path] | None,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
    loc: Loc = (),
) -> EncoderSpec:
    if found is None:
        return EncoderSpec(name or model, task, model, aliases, loc=loc)
    return EncoderSpec(name or found[0], task, str(found[1]), aliases, stamp(found[1]), loc)


def _found(document: Document, loc: Loc, model: str) -> tuple[str, Path] | None:
    """Id and folder of a model on this disk, beside the file or anywhere; None for one of the hub."""
    beside = document.path.parent / model
    try:
        found = local_chat(str(beside) if beside.exists() else model)
        if found is None:
            check_name(model)
            return None
    except LlmServerError as error:
        raise document.refusal(loc, error.message) from None
    except (OSError, RuntimeError) as error:
        # A name too long, or the home of a user that there is not.
        raise document.refusal(loc, f"{error}: {model!r}.") from None
    if not (found[1] / "config.json").is_file():
        raise document.refusal(loc, f"{found[1]} has no config.json: it is not a transformers model.")
    return found
