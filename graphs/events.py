"""Every step of a run, typed. An edge turns one into SSE, a stored row or a line of a terminal.

The names are the wire's: `event: route`, `data: {"route": "database"}`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Route = Literal["documents", "database", "both", "neither"]


class Usage(BaseModel):
    """Tokens of all model calls of a run."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    def plus(self, prompt: int, completion: int) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + prompt,
            completion_tokens=self.completion_tokens + completion,
            total_tokens=self.total_tokens + prompt + completion,
        )


class Timings(BaseModel):
    """Milliseconds. Model and tools are sums over calls, which may overlap."""

    total_ms: float = 0.0
    first_token_ms: float | None = None
    model_ms: float = 0.0
    tools_ms: float = 0.0


class Source(BaseModel):
    """One citation of the answer.

    `n` is the passage's number; `start` and `end` are offsets of the quote (of the passage, where
    nothing is quoted or the quote was not found) in the document's extracted text. `verified` says
    that the quoted words are in the passage.
    """

    n: int
    document: str
    document_id: str
    page: int | None = None
    section: str | None = None
    quote: str
    score: float | None = None
    start: int | None = None
    end: int | None = None
    verified: bool


class Event(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: ClassVar[str]

    def data(self) -> dict[str, Any]:
        """The wire form, without the event's name."""
        return self.model_dump(mode="json", exclude={"event"})


class RouteChosen(Event):
    name: ClassVar[str] = "route"
    event: Literal["route"] = "route"
    route: Route


class ToolCalled(Event):
    name: ClassVar[str] = "tool_call"
    event: Literal["tool_call"] = "tool_call"
    id: str
    tool: str = Field(serialization_alias="name")
    arguments: dict[str, Any]

    def data(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"event"}, by_alias=True)


class ToolAnswered(Event):
    name: ClassVar[str] = "tool_result"
    event: Literal["tool_result"] = "tool_result"
    id: str
    tool: str = Field(serialization_alias="name")
    ok: bool
    text: str
    structured: dict[str, Any] | None = None
    ms: float

    def data(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"event"}, by_alias=True)


class Notice(Event):
    """Something that the reader should know, such as history that was left out to fit the context."""

    name: ClassVar[str] = "notice"
    event: Literal["notice"] = "notice"
    code: str
    message: str


class Token(Event):
    name: ClassVar[str] = "token"
    event: Literal["token"] = "token"
    text: str


class Sources(Event):
    name: ClassVar[str] = "sources"
    event: Literal["sources"] = "sources"
    items: tuple[Source, ...]


class Answered(Event):
    """The last event of a run that reached its answer.

    `model` wrote it, by its exact name such as `starter:citing@sha256:1a2b3c4d5e6f`, where the server says.
    """

    name: ClassVar[str] = "done"
    event: Literal["done"] = "done"
    answer: str
    model: str | None = None
    usage: Usage
    timings: Timings


AnyEvent = RouteChosen | ToolCalled | ToolAnswered | Notice | Token | Sources | Answered

_EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="event")])


def pack(event: AnyEvent) -> dict[str, Any]:
    """For a graph's stream writer: plain data, so that a checkpoint or another process can carry it."""
    return event.model_dump(mode="json")


def unpack(data: dict[str, Any]) -> AnyEvent:
    return _EVENTS.validate_python(data)
