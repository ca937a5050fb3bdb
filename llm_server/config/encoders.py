"""Rerankers and classifiers of the configuration: encoders on ONNX Runtime, whatever computes chats."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llm_server.config.marks import Document, Loc
from llm_server.config.schema import Config
from llm_server.config.stamp import Stamp, stamp
from llm_server.convert.hub import check_name
from llm_server.convert.prepare import local_chat
from llm_server.errors import LlmServerError
from llm_server.settings import Settings


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """An encoder with a head, and where it is."""

    id: str
    task: Literal["rerank", "classify"]
    model: str
    """A folder, or a name on the hub."""
    aliases: tuple[str, ...] = ()
    stamp: Stamp = ()
    loc: Loc = field(default=(), compare=False)
    """Its place in the file."""

    def card(self) -> dict[str, object]:
        """For people."""
        return {"id": self.id, "task": self.task, "model": self.model, "aliases": list(self.aliases)}


def of_settings(settings: Settings) -> Iterator[EncoderSpec]:
    """LLM_RERANKER. PreparationFailed where its path leads nowhere."""
    if settings.reranker is not None:
        yield _spec("rerank", settings.reranker, local_chat(settings.reranker))


def of_file(document: Document, config: Config, settings: Settings) -> Iterator[EncoderSpec]:
    """What the file says, the setting where it says nothing. ConfigRefused."""
    if config.reranker is None:
        yield from of_settings(settings)
    else:
        loc: Loc = ("reranker",)
        yield _spec("rerank", config.reranker, _found(document, loc, config.reranker), loc=loc)
    for index, entry in enumerate(config.classifiers):
        loc = ("classifiers", index)
        found = _found(document, (*loc, "model"), entry.model)
        yield _spec("classify", entry.model, found, entry.id, tuple(entry.aliases), loc)


def _spec(
    task: Literal["rerank", "classify"],
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
