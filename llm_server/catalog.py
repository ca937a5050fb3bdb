"""The models that this server has, by id."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from llm_server.chat_template import ChatTemplate
from llm_server.embedder import Embedder
from llm_server.engine.engine import Engine
from llm_server.engine.sequence import CacheKey
from llm_server.errors import BadRequest, ModelLoading, ModelNotFound
from llm_server.tool_calls import Marks

EXTENSIONS = ["x-span", "x-sql", "grounding"]


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
    free_literals: bool = True
    """Whether it is trusted to write strings into SQL that the user did not say."""
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def key(self) -> CacheKey:
        """What cached prefixes of this model are filed under."""
        return CacheKey(self.engine.backend.digest)

    def card(self) -> dict[str, object]:
        """Its entry in /v1/models."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "loopyard",
            "max_model_len": self.engine.backend.context,
            "capabilities": ["chat", "tools"],
            "extensions": EXTENSIONS,
        }


@dataclass(frozen=True, slots=True)
class EmbeddingModelEntry:
    """A model that turns texts into vectors."""

    id: str
    embedder: Embedder
    aliases: tuple[str, ...] = ()
    created: int = field(default_factory=lambda: int(time.time()))

    def card(self) -> dict[str, object]:
        """Its entry in /v1/models."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "loopyard",
            "max_model_len": self.embedder.model.max_tokens,
            "capabilities": ["embeddings"],
            "dimensions": self.embedder.model.dimensions,
        }


Entry = ChatModel | EmbeddingModelEntry


class Catalog:
    """Models by id and alias. Empty until loading is through."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self.ready = False

    def add(self, entry: Entry) -> None:
        """Make a model available."""
        for name in (entry.id, *entry.aliases):
            self._entries.setdefault(name.lower(), entry)

    def all(self) -> list[Entry]:
        """Each model once."""
        return list({id(entry): entry for entry in self._entries.values()}.values())

    def get(self, name: str) -> Entry:
        """ModelNotFound, or ModelLoading while nothing is there yet."""
        if not self.ready:
            raise ModelLoading("The model is loading.")
        entry = self._entries.get(name.lower())
        if entry is None:
            raise ModelNotFound(name, [entry.id for entry in self.all()])
        return entry

    def chat(self, name: str) -> ChatModel:
        """A model that writes; BadRequest for one that does not."""
        entry = self.get(name)
        if not isinstance(entry, ChatModel):
            raise BadRequest(f"The model `{name}` makes embeddings only.", param="model")
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
            if isinstance(entry, ChatModel):
                entry.engine.close()
            else:
                entry.embedder.close()
        self._entries.clear()
        self.ready = False
