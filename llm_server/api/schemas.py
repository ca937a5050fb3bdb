"""What clients send. Fields that are not listed are accepted and ignored, as OpenAI does."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llm_server.adapters.selection import Wanted, wanted_by_name


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """Clients write null for what they leave to the server."""
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class StreamOptions(Body):
    """What a stream carries."""

    include_usage: bool = False
    """A last chunk with `usage` and no choices."""


class AdapterChoice(Body):
    """An adapter of a request: Loopyard's `adapters: [{name, scale}]`."""

    name: str
    """Name, or name@version, name@alias."""
    scale: float | None = None


class NumberedAdapter(Body):
    """llama-server's `lora: [{id, scale}]`; the id is the adapter's place in GET /lora-adapters."""

    id: int = Field(ge=0)
    scale: float = 1.0


class Generation(Body):
    """Fields that chat and completions share."""

    model: str
    """Id of a model of /v1/models."""
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    """Token id (as a string) to a number added to its logit."""
    seed: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    """Extension (llama.cpp's and vLLM's name): go on until max_tokens."""
    n: int | None = Field(default=None, ge=1, le=16)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    adapters: list[AdapterChoice] | None = None
    """Extension: adapters added together. They count more than one that `model` names."""
    lora: list[NumberedAdapter] | None = None
    """Extension: the same in llama-server's words."""

    @property
    def wanted(self) -> list[Wanted]:
        """The adapters that the fields name."""
        named = [replace(wanted_by_name(one.name), scale=one.scale) for one in self.adapters or ()]
        return named + [Wanted("", scale=one.scale, place=one.id) for one in self.lora or ()]

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


class Message(Body):
    """One message; which fields matter depends on the role."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    """The assistant's thoughts, for templates that show them again."""


class Function(Body):
    """A function that the model may call."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of the arguments."""


class Tool(Body):
    """A tool; functions are the only kind."""

    type: Literal["function"] = "function"
    function: Function


class JsonSchema(Body):
    """A named schema."""

    name: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(Body):
    """How the answer is written."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Generation):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    """The newer name of max_tokens."""
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    grounding: Literal["quotes", "cells"] | None = None
    """Extension: text in double quotes is a whole sentence of a tool message, followed by its passage's
    number.
    """
    reasoning_effort: str | None = None
    """A variable of the chat template; `none` turns thinking off where the template can."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Extension (vLLM's name): further variables of the chat template."""


class TemplateRequest(ChatRequest):
    """POST /apply-template, llama-server's shape."""

    model: str = ""
    """May be left out: the first model that chats."""


class CompletionRequest(Generation):
    """POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    suffix: str | None = None
    """What comes after the text: the model fills in the middle, with its own FIM tokens."""
    max_tokens: int | None = Field(default=None, ge=0)
    """0 reads the prompt only, which `echo` and `logprobs` tell of."""
    echo: bool | None = None
    """Tell the prompt too; with `logprobs`, how likely each of its tokens was after those before it."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    best_of: int | None = Field(default=None, ge=1)
    """As many as `n`: all choices are told, none is thrown away."""


class FimRequest(Generation):
    """POST /v1/fim/completions, Mistral's shape."""

    prompt: str
    suffix: str | None = None
    random_seed: int | None = None
    """Mistral's name of seed."""


class InputExtra(Body):
    """A piece of another file."""

    filename: str = ""
    text: str = ""


class InfillRequest(Generation):
    """POST /infill, llama.cpp's shape."""

    model: str = ""
    """May be left out: the first model with FIM tokens."""
    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[InputExtra] = []
    prompt: str = ""
    """Text of the line at the cursor; it follows the prefix."""
    n_predict: int | None = Field(default=None, ge=-1)
    """llama.cpp's name of max_tokens; -1 for no limit, 0 to read the prompt only."""


class EmbeddingRequest(Body):
    """POST /v1/embeddings."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    input_type: Literal["query", "passage", "document", "search_query", "search_document"] | None = None
    """What the texts are, in the words of several servers: a model may want a prefix for each."""


class RerankRequest(Body):
    """POST /v1/rerank."""

    model: str
    query: str = Field(min_length=1)
    documents: list[str | dict[str, Any]]
    """Strings, or objects with `text`."""
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False


class ClassifyRequest(Body):
    """POST /v1/classify, vLLM's shape."""

    model: str
    input: str | list[str]


class TokenizeRequest(Body):
    """POST /v1/tokenize."""

    model: str | None = None
    content: str | None = None
    prompt: str | None = None
    """vLLM's name of content."""
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False
