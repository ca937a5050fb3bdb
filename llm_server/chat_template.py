"""A model's own chat template, rendered in a sandbox; text of messages never becomes a control token."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llm_server.engine.backend import Vocabulary
from llm_server.errors import BadRequest, PreparationFailed

Message = dict[str, Any]

CHATML = """{%- set first = 1 if messages and messages[0].role == 'system' else 0 -%}
{%- if first or tools -%}
{{- '<|im_start|>system\n' + (messages[0].content if first else '') -}}
{%- if tools -%}
{{- '\n\nTools, one a line. To call one, write <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call>' -}}
{%- for tool in tools -%}{{- '\n' + (tool.function | tojson) -}}{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages[first:] -%}
{{- '<|im_start|>' + message.role + '\n' + message.content -}}
{%- for call in message.tool_calls or [] -%}
{{- '\n<tool_call>\n' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) -}}
{{- '\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""
"""For models that carry none."""

_MARK = re.compile("\ue0f1(\\d+)\ue0f2")


class _Generation(Extension):
    """transformers' `{% generation %}` marks what is trained; here it is only its contents."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own declaration)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body, as it is."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> None:
    raise BadRequest(f"The model's chat template refuses these messages: {message}", param="messages")


def _dump(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def environment() -> ImmutableSandboxedEnvironment:
    """A sandbox with what transformers gives to chat templates."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    made.filters["tojson"] = _dump
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return made


class ChatTemplate:
    """Turns messages and tools into the tokens of a prompt."""

    def __init__(self, vocabulary: Vocabulary, source: str | None = None) -> None:
        self._vocabulary = vocabulary
        self._specials = sorted(vocabulary.specials, key=len, reverse=True)
        try:
            self._template = environment().from_string(source or vocabulary.chat_template or CHATML)
        except TemplateSyntaxError as error:
            raise PreparationFailed(f"The model's chat template is broken: {error}") from error

    def render(self, messages: Sequence[Message], tools: Sequence[Message] = (), **extra: Any) -> str:
        """The prompt as text. BadRequest when the template refuses the messages."""
        try:
            return self._template.render(
                messages=list(messages),
                tools=list(tools) or None,
                add_generation_prompt=True,
                bos_token=self._vocabulary.bos,
                eos_token=self._vocabulary.eos,
                **extra,
            )
        except TemplateError as error:
            raise BadRequest(f"The model's chat template failed: {error}", param="messages") from error

    def tokens(self, messages: Sequence[Message], tools: Sequence[Message] = (), **extra: Any) -> list[int]:
        """The prompt as tokens."""
        safe = [_walk(message, self._hide) for message in messages]
        text = self.render(safe, [_walk(tool, self._hide) for tool in tools], **extra)
        tokens: list[int] = []
        for i, piece in enumerate(_MARK.split(text)):
            plain = i % 2 == 1
            piece = self._specials[int(piece)] if plain else piece
            if piece:
                tokens += self._vocabulary.tokenize(piece, special=not plain)
        return tokens

    def _hide(self, text: str) -> str:
        """Replace the text of special tokens by a mark that survives rendering."""
        text = text.replace("\ue0f1", "").replace("\ue0f2", "")
        for i, special in enumerate(self._specials):
            if special in text:
                text = text.replace(special, f"\ue0f1{i}\ue0f2")
        return text


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with every string changed, keys too, but for roles."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {k: v if k in {"role", "type"} else _walk(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [_walk(item, change) for item in value]
    return value
