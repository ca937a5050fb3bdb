"""What clients send to /v1/responses. Items and tools are checked where they are translated."""

from typing import Any, Literal

from pydantic import Field

from llm_server.api.schemas import Body

Item = dict[str, Any]


class TextFormat(Body):
    """How the text is written."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class TextConfig(Body):
    """Settings of the text."""

    format: TextFormat = TextFormat()


class ResponseRequest(Body):
    """POST /v1/responses."""

    model: str
    input: str | list[Item] = Field(default_factory=list)
    """Text of the user, or messages, function calls and their outputs."""
    instructions: str | None = None
    """System message of this response; the next one does not inherit it."""
    tools: list[dict[str, Any]] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] = "auto"
    parallel_tool_calls: bool | None = None
    text: TextConfig = TextConfig()
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[str] | None = None
    """`message.output_text.logprobs` adds log probabilities; other names change nothing."""
    truncation: Literal["auto", "disabled"] | None = None
    """`auto` drops the oldest messages where the context is too short."""
    store: bool | None = None
    """Keep the response, which is the default."""
    previous_response_id: str | None = None
    metadata: dict[str, str] | None = None
    reasoning: dict[str, Any] | None = None
    user: str | None = None
    stream: bool | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None

    @property
    def logprobs(self) -> bool:
        """Whether log probabilities are wanted."""
        return "message.output_text.logprobs" in (self.include or ()) or bool(self.top_logprobs)
