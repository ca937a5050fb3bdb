"""From a request to what the engine needs: prompt tokens, a guide, sampling parameters."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm_server.api.schemas import ChatRequest, Generation, Message, ResponseFormat
from llm_server.catalog import ChatModel
from llm_server.constraints.cells import cells_grammar
from llm_server.constraints.days import with_days
from llm_server.constraints.fitting import Embed, best, narrowed
from llm_server.constraints.quotes import quotes, quotes_grammar
from llm_server.constraints.tools import CallGrammar, Words, schema_grammar
from llm_server.engine.backend import Vocabulary
from llm_server.engine.grammar import FixedGuide, Grammar, Guide
from llm_server.engine.sampling import SamplingParams
from llm_server.engine.sequence import Event
from llm_server.engine.sequence import Sequence as EngineSequence
from llm_server.errors import BadRequest, ContextLengthExceeded
from llm_server.tool_calls import THINK, THOUGHT, OutputReader, ToolGuide

FITTING = 1
"""Sentences that a small model may quote: those that fit the question best. It still decides whether to."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that n equal sequences of a request are made from."""

    model: ChatModel
    tokens: list[int]
    params: SamplingParams
    max_tokens: int
    stops: tuple[str, ...]
    make_guide: Callable[[], Guide | None]
    visible: frozenset[int] = frozenset()
    calls: bool = False
    """Whether the output may hold tool calls."""
    thinking: bool = False
    """Whether the prompt ends inside a thought."""
    scoring: int | None = None
    """Likeliest tokens beside each of the prompt's, where those are to be scored."""

    def reader(self) -> OutputReader:
        """What splits the output into content, reasoning and calls."""
        return OutputReader(calls=self.calls, thinking=self.thinking)

    def sequence(self, index: int, sink: Callable[[Event], None]) -> EngineSequence:
        """The sequence of choice `index`; its seed differs from the others'."""
        seed = self.params.seed
        params = self.params if seed is None or not index else replace(self.params, seed=seed + index)
        key, blend, release = self.model.lend()
        return EngineSequence(
            tokens=list(self.tokens),
            params=params,
            key=key,
            blend=blend,
            release=release,
            sink=sink,
            max_tokens=self.max_tokens,
            guide=self.make_guide(),
            stops=self.stops,
            visible=self.visible,
            scoring=self.scoring,
        )


def chat_job(model: ChatModel, request: ChatRequest, embed: Embed | None = None) -> Job:
    """Render, tokenise, build grammars, load evicted adapters. Takes milliseconds: call it in a thread.

    The model has its adapters and is permitted: nothing is computed or loaded for who may not use it.
    `embed` helps a small model to quote the right sentence.
    """
    model.ensure()
    messages, tools = _shown(request)
    tokens = model.template.tokens(messages, tools, **_template_variables(request))
    wanted = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    max_tokens(model, tokens, wanted)  # Too long a prompt is refused before a grammar is written for it.
    make_guide, calls, at_once = _guide(model, request, messages, [tool["function"] for tool in tools], embed)
    thinking = _in_thought(model.engine.backend.vocabulary, tokens)
    if thinking and at_once:
        # The grammar holds from the first token on: no room is left for the thought that the template opened.
        tokens += model.engine.backend.vocabulary.tokenize(f"\n{THOUGHT}\n\n", special=True)
        thinking = False
    limit = max_tokens(model, tokens, wanted)
    scores = (request.top_logprobs or 0) if request.logprobs else None
    params = sampling(model, request, scores)
    return Job(
        model=model,
        tokens=tokens,
        params=replace(params, logit_bias={**params.logit_bias, **_silenced(model, calls)}),
        max_tokens=limit,
        stops=request.stops,
        make_guide=make_guide,
        visible=model.marks.thoughts | (model.marks.visible if calls else frozenset()),
        calls=calls,
        thinking=thinking,
    )


def prompt_of(model: ChatModel, request: ChatRequest) -> str:
    """The text that a conversation is to the model. BadRequest."""
    return model.template.render(*_shown(request), **_template_variables(request))


def _shown(request: ChatRequest) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages and tools, as chat templates expect them."""
    tools = [tool.model_dump(exclude_none=True) for tool in request.tools or ()]
    return [_plain(message) for message in request.messages], tools


def _template_variables(request: ChatRequest) -> dict[str, Any]:
    """What templates of thinking models ask for; they ignore what they do not know."""
    effort = request.reasoning_effort
    variables: dict[str, Any] = {} if effort is None else {"reasoning_effort": effort}
    if effort == "none":
        variables["enable_thinking"] = False
    return {**variables, **(request.chat_template_kwargs or {})}


def _in_thought(vocabulary: Vocabulary, tokens: Sequence[int]) -> bool:
    """Whether a prompt ends with the mark that opens a thought, as the templates of some models do."""
    tail = b"".join(map(vocabulary.piece, tokens[-len(THINK) - 4 :]))
    return tail.rstrip().endswith(THINK.encode())


def _silenced(model: ChatModel, calls: bool) -> dict[int, float]:
    """The opening mark of a call is never sampled where nobody would understand it, and the closing one
    nowhere: it is written for the model, and a reader would see it in a text.
    """
    closing = model.marks.close_tokens
    marks = (() if calls else tuple(model.marks.exempt)) + (closing if len(closing) == 1 else ())
    return dict.fromkeys(marks, -math.inf)


def sampling(model: ChatModel, request: Generation, logprobs: int | None) -> SamplingParams:
    """Sampling parameters with the model's default temperature."""
    try:
        bias = {int(token): value for token, value in (request.logit_bias or {}).items()}
    except ValueError as error:
        raise BadRequest("logit_bias has a key that is not a token id.", param="logit_bias") from error
    if request.ignore_eos:
        bias |= dict.fromkeys(model.engine.backend.vocabulary.ends, -math.inf)
    temperature = model.temperature if request.temperature is None else request.temperature
    return SamplingParams(
        temperature=temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        top_k=request.top_k or 0,
        min_p=request.min_p or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        repetition_penalty=1.0 if request.repetition_penalty is None else request.repetition_penalty,
        seed=request.seed,
        logit_bias=bias,
        logprobs=logprobs,
    )


def max_tokens(model: ChatModel, tokens: Sequence[int], wanted: int | None) -> int:
    """Tokens that may be generated; ContextLengthExceeded when the prompt leaves no room for one."""
    context = model.engine.backend.context
    if not tokens:
        raise BadRequest("The prompt is empty.", param="messages")
    if len(tokens) >= context:
        raise ContextLengthExceeded(len(tokens), context)
    room = context - len(tokens)
    return room if wanted is None else min(wanted, room)


def _plain(message: Message) -> dict[str, Any]:
    """A message as chat templates expect it: text content, arguments as objects."""
    role = "system" if message.role == "developer" else "tool" if message.role == "function" else message.role
    out: dict[str, Any] = {"role": role, "content": _text(message.content)}
    if message.tool_calls:
        out["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.reasoning_content:
        out["reasoning_content"] = message.reasoning_content
    if message.tool_call_id:
        out["tool_call_id"] = message.tool_call_id
    if message.name:
        out["name"] = message.name
    return out


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    other = next(
        (part.get("type") for part in content if part.get("type") not in {"text", "input_text", "refusal"}),
        None,
    )
    if other is not None:
        raise BadRequest(
            f"This model reads text only, not {other!r}.", param="messages", code="unsupported_content"
        )
    return "".join(str(part.get("text") or "") for part in content)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = {"input": arguments}
    inner = {"name": str(function.get("name", "")), "arguments": arguments}
    return {"type": "function", "id": call.get("id"), "function": inner}


def _guide(
    model: ChatModel,
    request: ChatRequest,
    messages: list[dict[str, Any]],
    functions: list[dict[str, Any]],
    embed: Embed | None,
) -> tuple[Callable[[], Guide | None], bool, bool]:
    """What steers the output, whether calls may come, and whether a grammar holds from the first token on."""
    text = _text_grammar(model, request, messages, embed)
    choice = request.tool_choice or "auto"
    if not functions or choice == "none":
        if functions == [] and choice not in {"none", "auto"}:
            raise BadRequest("tool_choice needs tools.", param="tool_choice")
        return (lambda: None if text is None else FixedGuide(text)), False, text is not None
    offered = _offered(functions, choice)
    users = tuple(message["content"] for message in messages if message["role"] == "user")
    if model.small:
        said = (message["content"] or "" for message in messages if message["role"] != "system")
        offered = [narrowed(function, users) for function in with_days(offered, said)]
    calls = CallGrammar(offered, Words(users, free_literals=not model.small))
    named = isinstance(choice, dict) and choice.get("type") != "allowed_tools"
    mode = choice.get("allowed_tools", choice).get("mode", "auto") if isinstance(choice, dict) else choice
    forced, parallel = named or mode != "auto", request.parallel_tool_calls is not False and not named
    at_once = forced or text is not None
    return (lambda: ToolGuide(model.marks, calls, forced=forced, parallel=parallel, text=text)), True, at_once


def _offered(functions: list[dict[str, Any]], choice: str | dict[str, Any]) -> list[dict[str, Any]]:
    """All functions, or the one that is named."""
    if not isinstance(choice, dict):
        return functions
    if choice.get("type") == "allowed_tools":
        named = [
            t.get("function", t).get("name") for t in choice.get("allowed_tools", choice).get("tools", ())
        ]
    else:
        named = [(choice.get("function") or choice).get("name")]
    offered = [function for function in functions if function["name"] in named]
    if not offered:
        raise BadRequest(f"tool_choice names {named}, which is not among the tools.", param="tool_choice")
    return offered


def _text_grammar(
    model: ChatModel, request: ChatRequest, messages: list[dict[str, Any]], embed: Embed | None
) -> Grammar | None:
    """Grammar of the text: a response format, or grounded quotations."""
    wanted = request.response_format
    if wanted is not None and wanted.type != "text":
        return schema_grammar(_schema(wanted))
    if request.grounding is None:
        return None
    results = [message["content"] for message in messages if message["role"] == "tool"]
    asked = [message["content"] for message in messages if message["role"] == "user"]
    if request.grounding == "cells":
        return cells_grammar(results[-1], asked[-1]) if model.small and results and asked else None
    found = quotes(results)
    return quotes_grammar(best(asked[-1], found, FITTING, embed) if model.small and asked else found)


def _schema(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None or wanted.json_schema.schema_ is None:
        raise BadRequest("response_format json_schema needs json_schema.schema.", param="response_format")
    return wanted.json_schema.schema_
