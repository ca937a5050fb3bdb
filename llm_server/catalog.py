"""The models that this server has, by id."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.selection import Selection, Wanted, wanted_by_name
from llm_server.chat_template import ChatTemplate
from llm_server.classifier import Classifier
from llm_server.embedder import Embedder
from llm_server.engine.blend import BASE, Blend
from llm_server.engine.engine import Engine
from llm_server.engine.sequence import CacheKey
from llm_server.errors import BadRequest, ModelLoading, ModelNotFound
from llm_server.tool_calls import Marks
from llm_server.upstreams.pool import Pool

EXTENSIONS = ["x-span", "x-sql", "grounding"]
SMALL_EXTENSIONS = [*EXTENSIONS, "x-sql-values", "grounding-cells"]
"""A small model is also told which cells the question names (`values` of `x-sql`), and copies results."""


class Uses:
    """Requests that hold a model: from the moment that they resolved its name until they are answered."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._closed = False

    def begin(self) -> bool:
        """One more; False where the model has left, so that its name is to be resolved again."""
        with self._changed:
            self._count += not self._closed
            return not self._closed

    def end(self) -> None:
        """One less."""
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Take no more as soon as there are none; False where there still are some after `seconds`."""
        with self._changed:
            self._closed = self._closed or self._changed.wait_for(lambda: not self._count, seconds)
            return self._closed


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that writes."""

    id: str
    engine: Engine
    template: ChatTemplate
    marks: Marks
    temperature: float
    """Where a request names none."""
    aliases: tuple[str, ...] = ()
    small: bool = False
    """Whether it is too small to be trusted with strings in SQL that the user did not say, or to find the
    sentence among many that answers.
    """
    adapters: AdapterManager | None = None
    selection: Selection | None = None
    """The adapters of a request; None is the base alone."""
    file: Path | None = None
    """The file or folder that the engine reads."""
    created: int = field(default_factory=lambda: int(time.time()))
    uses: Uses = field(default_factory=Uses, compare=False)

    @property
    def served(self) -> str:
        """The exact version that answers: `base`, or `base:adapter@sha256:1a2b3c4d5e6f`."""
        return f"{self.id}:{self.selection.label}" if self.selection else self.id

    @property
    def fingerprint(self) -> str:
        """OpenAI's `system_fingerprint`: weights and adapters."""
        parts = self.selection.parts if self.selection else ()
        text = self.engine.backend.digest + repr([(v.id, scale) for v, scale in parts]).encode()
        return "fp_" + hashlib.blake2b(text, digest_size=6).hexdigest()

    def choose(self, wanted: Sequence[Wanted]) -> "ChatModel":
        """This model with these adapters instead; itself where none is named. NotFound, BadRequest."""
        if not wanted:
            return self
        if self.adapters is None:
            raise BadRequest(f"The model `{self.id}` takes no adapters.", param="adapters")
        return replace(self, selection=Selection(self.adapters, wanted))

    def ensure(self) -> None:
        """See to it that the chosen adapters are in the memory. Waits; call it in a thread."""
        if self.selection:
            self.selection.ensure()

    def lend(self) -> tuple[CacheKey, Blend, Callable[[], None]]:
        """For one sequence: what its prefixes are filed under, its adapters, and how to give them back."""
        if not self.selection:
            return CacheKey(self.engine.backend.digest), BASE, lambda: None
        blend = self.selection.lend()
        return CacheKey(self.engine.backend.digest, blend.digest), blend, self.selection.release

    def adapter_cards(self) -> list[dict[str, object]]:
        """Entries of /v1/models for the adapters that can be served."""
        names = self.adapters.store.names() if self.adapters else []
        own = self.card()
        return [own | {"id": f"{self.id}:{name}", "parent": self.id, "root": self.id} for name in names]

    def card(self) -> dict[str, object]:
        """Its entry in /v1/models."""
        extensions = SMALL_EXTENSIONS if self.small else EXTENSIONS
        return card(self, "chat", "tools", length=self.engine.backend.context, extensions=extensions)

    def close(self) -> None:
        """Stop the engine; sequences that are left fail."""
        if self.adapters is not None:
            self.adapters.close()
        self.engine.close()


@dataclass(frozen=True, slots=True)
class EmbeddingModelEntry:
    """A model that turns texts into vectors."""

    id: str
    embedder: Embedder
    aliases: tuple[str, ...] = ()
    created: int = field(default_factory=lambda: int(time.time()))
    uses: Uses = field(default_factory=Uses, compare=False)

    def card(self) -> dict[str, object]:
        """Its entry in /v1/models."""
        model, prefixes = self.embedder.model, self.embedder.prefixes
        said = {"query": prefixes.query, "passage": prefixes.passage}
        return card(self, "embeddings", length=model.max_tokens, dimensions=model.dimensions, prefixes=said)

    def close(self) -> None:
        """After the running batch."""
        self.embedder.close()


@dataclass(frozen=True, slots=True)
class RerankModel:
    """A model that reads a query and a document together and says how well they fit."""

    id: str
    classifier: Classifier
    aliases: tuple[str, ...] = ()
    created: int = field(default_factory=lambda: int(time.time()))
    uses: Uses = field(default_factory=Uses, compare=False)

    def card(self) -> dict[str, object]:
        """Its entry in /v1/models."""
        return card(self, "rerank", length=self.classifier.model.max_tokens)

    def close(self) -> None:
        """After the running batch."""
        self.classifier.close()


@dataclass(frozen=True, slots=True)
class ClassifierModel:
    """A model that says which of its labels fit a text."""

    id: str
    classifier: Classifier
    aliases: tuple[str, ...] = ()
    created: int = field(default_factory=lambda: int(time.time()))
    uses: Uses = field(default_factory=Uses, compare=False)

    def card(self) -> dict[str, object]:
        """Its entry in /v1/models."""
        model = self.classifier.model
        return card(self, "classify", length=model.max_tokens, labels=list(model.labels))

    def close(self) -> None:
        """After the running batch."""
        self.classifier.close()


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model that other servers compute."""

    id: str
    pool: Pool
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    """Ids of models that answer where no server does."""
    created: int = field(default_factory=lambda: int(time.time()))
    uses: Uses = field(default_factory=Uses, compare=False)

    def card(self) -> dict[str, object]:
        """Its entry in /v1/models."""
        return card(self, "chat", owner="upstream")

    def close(self) -> None:
        """Close the connections."""
        self.pool.close()


Entry = ChatModel | EmbeddingModelEntry | RerankModel | ClassifierModel | UpstreamModel


def card(
    entry: Entry, *capabilities: str, owner: str = "loopyard", length: int | None = None, **more: object
) -> dict[str, object]:
    """An entry of /v1/models; `length`: tokens that it reads, where that is known here."""
    own = {"id": entry.id, "object": "model", "created": entry.created, "owned_by": owner}
    sized = {} if length is None else {"max_model_len": length}
    return {**own, **sized, "capabilities": list(capabilities), **more}


class Catalog:
    """Models by id and alias. Empty until loading is through."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self.ready = False

    def add(self, entry: Entry) -> None:
        """Make a model available."""
        for name in (entry.id, *entry.aliases):
            self._entries.setdefault(name.lower(), entry)

    def replace(self, entries: Sequence[Entry]) -> list[Entry]:
        """Serve these models from now on, in one step. Returns those that are served no longer."""
        fresh = Catalog()
        for entry in entries:
            fresh.add(entry)
        kept = {id(entry.uses) for entry in entries}
        # One assignment: a lookup sees the models before, or those after.
        before, self._entries = self.all(), fresh._entries
        self.ready = True
        return [entry for entry in before if id(entry.uses) not in kept]

    def all(self) -> list[Entry]:
        """Each model once."""
        return list({id(entry): entry for entry in self._entries.values()}.values())

    def get(self, name: str) -> Entry:
        """ModelNotFound, or ModelLoading while nothing is there yet."""
        if not self.ready:
            raise ModelLoading("The model is loading.")
        entry = self._entries.get(name.lower()) or self._adapted(name)
        if entry is None:
            raise ModelNotFound(name, self.names())
        return entry

    def names(self) -> list[str]:
        """What `model` may be, aliases left out."""
        adapted = [
            str(card["id"]) for e in self.all() if isinstance(e, ChatModel) for card in e.adapter_cards()
        ]
        return [entry.id for entry in self.all()] + adapted

    def _adapted(self, name: str) -> ChatModel | None:
        """`base:adapter`, `base:adapter@version`, or an adapter's name alone where one base has it."""
        base, _, adapter = name.partition(":")
        entry = self._entries.get(base.lower())
        if isinstance(entry, ChatModel) and adapter:
            return entry.choose([wanted_by_name(adapter)])
        wanted = wanted_by_name(name)
        having = [
            e
            for e in self.all()
            if isinstance(e, ChatModel) and e.adapters and wanted.name in e.adapters.store.names()
        ]
        return having[0].choose([wanted]) if len(having) == 1 else None

    def chat(self, name: str) -> ChatModel:
        """A model that writes; BadRequest for one that does not."""
        entry = self.get(name)
        if not isinstance(entry, ChatModel):
            raise BadRequest(f"The model `{name}` does not write.", param="model")
        return entry

    def embedding(self, name: str) -> EmbeddingModelEntry:
        """A model that embeds; BadRequest for one that does not."""
        entry = self.get(name)
        if not isinstance(entry, EmbeddingModelEntry):
            raise BadRequest(f"The model `{name}` makes no embeddings.", param="model")
        return entry

    def engines(self) -> Sequence[Engine]:
        """Engines of all models."""
        return [entry.engine for entry in self.all() if isinstance(entry, ChatModel)]

    def close(self) -> None:
        """Stop every engine and embedder."""
        for entry in self.all():
            entry.close()
        self._entries.clear()
        self.ready = False
