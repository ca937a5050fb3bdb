"""The part of OpenAI's chat completions that an agent understands.

https://platform.openai.com/docs/api-reference/chat: unknown fields are accepted and left alone, because
clients send many that change nothing here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
SAMPLING = ("top_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs")
"""Fields that go to the model server as they are."""


class MessageIn(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Role
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The text parts; pictures and the like are refused where they are asked about."""
        if isinstance(self.content, list):
            return "".join(str(part.get("text", "")) for part in self.content)
        return self.content or ""

    @property
    def other_parts(self) -> set[str]:
        parts = self.content if isinstance(self.content, list) else []
        return {str(part.get("type")) for part in parts} - {"text", "input_text"}


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatCompletionIn(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1)
    messages: list[MessageIn] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    n: int | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @field_validator("n")
    @classmethod
    def _one(cls, value: int | None) -> int | None:
        if value not in (None, 1):
            raise ValueError("an agent gives one answer; n must be 1")
        return value

    @property
    def with_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def is_passed_through(self) -> bool:
        """Tools of the client are for the client: the model may ask for them, nobody here runs them."""
        return bool(self.tools) or any(m.role in ("tool", "function") for m in self.messages)

    @property
    def sampling(self) -> dict[str, Any]:
        """For graphs: see `Question.sampling`."""
        more = self.model_extra or {}
        extra = {name: more[name] for name in SAMPLING if more.get(name) is not None}
        limit = self.max_completion_tokens or self.max_tokens
        given = {"temperature": self.temperature, "max_tokens": limit, "extra": extra}
        return {name: value for name, value in given.items() if value is not None}


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "loopyard"
    name: str
    description: str


class ModelsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]
