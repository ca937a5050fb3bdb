"""Thoughts apart from the answer: through the echo, by think tokens, and where templates open one."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from llm_server.api.prepare import chat_job
from llm_server.api.schemas import ChatRequest
from llm_server.backends.echo import EchoBackend
from llm_server.backends.llama_cpp import load_model
from llm_server.backends.llama_vocabulary import LlamaVocabulary
from llm_server.catalog import ChatModel
from llm_server.chat_template import CHATML, ChatTemplate
from llm_server.engine.observer import Observer
from llm_server.load import chat_model
from llm_server.settings import Settings
from llm_server.tool_calls import CallArguments, CallStart, Content, OutputReader, Part, Reasoning
from tests.llm_server.conftest import serving
from tests.llm_server.running import start

THOUGHT: Any = [{"role": "user", "content": "<think>\nten plus two\n</think>\n\ntwelve"}]
OPENED = CHATML.removesuffix("{%- endif -%}") + "{{- '<think>\\n' -}}{%- endif -%}"
FORM = {"type": "json_object"}


def split(reader: OutputReader, text: str, step: int) -> list[Part]:
    """Parts of a text that comes in pieces, neighbours joined."""
    parts = [part for i in range(0, len(text), step) for part in reader.feed(text[i : i + step])]
    joined: list[Part] = []
    for part in [*parts, *reader.flush()]:
        last = joined[-1] if joined else None
        if isinstance(part, CallStart) or last is None or type(last) is not type(part):
            joined.append(part)
        elif not isinstance(last, CallStart):
            joined[-1] = dataclasses.replace(last, text=last.text + part.text)
    return joined


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "thinking", "parts"),
    [
        ("<think>a\nb</think>\n\nc", False, [Reasoning("a\nb"), Content("c")]),
        ("a\nb</think>\n\nc", True, [Reasoning("a\nb"), Content("c")]),
        ("a < b </thin> and", True, [Reasoning("a < b </thin> and")]),
        ("c <think>not one</think>", False, [Content("c <think>not one</think>")]),
        (
            'a <tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>',
            True,
            [Reasoning("a"), CallStart(0, "f"), CallArguments(0, '{"x": 1}')],
        ),
    ],
)
def test_the_reader_takes_thoughts_apart(text: str, thinking: bool, parts: list[Part], step: int) -> None:
    assert split(OutputReader(calls=True, thinking=thinking), text, step) == parts


def test_reasoning_content_in_message_and_deltas(echo: openai.OpenAI) -> None:
    whole = echo.chat.completions.create(model="echo", messages=THOUGHT).choices[0].message
    assert whole.content == "twelve"
    assert (whole.model_extra or {})["reasoning_content"].strip() == "ten plus two"
    deltas = [
        chunk.choices[0].delta
        for chunk in echo.chat.completions.create(model="echo", messages=THOUGHT, stream=True)
    ]
    thought = "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas)
    assert thought.strip() == "ten plus two"
    assert "".join(delta.content or "" for delta in deltas) == "twelve"


def test_a_response_has_a_reasoning_item(echo: openai.OpenAI) -> None:
    answer = echo.responses.create(model="echo", input=THOUGHT[0]["content"])
    thought, message = answer.output
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert thought.content[0].text.strip() == "ten plus two"
    assert message.type == "message"
    assert answer.output_text == "twelve"
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens == len(thought.content[0].text)
    kinds = [e.type for e in echo.responses.create(model="echo", input=THOUGHT[0]["content"], stream=True)]
    assert kinds.index("response.reasoning_text.done") < kinds.index("response.output_text.delta")


@pytest.fixture
def thinker() -> Iterator[ChatModel]:
    """The echo with a template that opens a thought."""
    made = chat_model("thinker", EchoBackend(), Settings(), Observer())
    yield dataclasses.replace(made, template=ChatTemplate(made.engine.backend.vocabulary, OPENED))
    made.engine.close()


def request(**more: Any) -> ChatRequest:
    return ChatRequest(model="thinker", messages=THOUGHT, **more)


def test_a_thought_that_the_template_opened(thinker: ChatModel) -> None:
    job = chat_job(thinker, request())
    assert job.thinking
    run = start(thinker.engine, job.tokens, max_tokens=100).wait()
    assert split(job.reader(), run.text, 7) == [Reasoning("ten plus two"), Content("twelve")]


def test_a_grammar_from_the_start_closes_the_thought(thinker: ChatModel) -> None:
    job = chat_job(thinker, request(response_format=FORM))
    assert not job.thinking
    prompt = b"".join(map(thinker.engine.backend.vocabulary.piece, job.tokens))
    assert prompt.endswith(b"<think>\n\n</think>\n\n")


@pytest.mark.parametrize(
    ("effort", "shown"), [(None, "think"), ("low", "think low"), ("none", "answer none")]
)
def test_the_template_hears_of_the_effort(thinker: ChatModel, effort: str | None, shown: str) -> None:
    source = "{{ 'answer' if enable_thinking is false else 'think' }} {{ reasoning_effort }}"
    template = ChatTemplate(thinker.engine.backend.vocabulary, source)
    job = chat_job(dataclasses.replace(thinker, template=template), request(reasoning_effort=effort))
    assert thinker.engine.backend.vocabulary.tokenize(shown) == job.tokens[: len(shown)]


def test_think_tokens_that_are_control_tokens_are_heard(coder: Path, models: Path) -> None:
    vocabulary = LlamaVocabulary(load_model(coder))
    begin, end = vocabulary.specials["<think>"], vocabulary.specials["</think>"]
    assert {begin, end} <= vocabulary.control
    settings = Settings(model=str(coder), data=models, embeddings=False, threads=1, temperature=0)
    with serving(settings) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        model = client.models.list().data[0].id
        answer = client.chat.completions.create(
            model=model, messages=THOUGHT, max_tokens=4, logit_bias={str(begin): 100}
        )
    message = answer.choices[0].message
    assert (message.model_extra or {})["reasoning_content"] == "<think><think><think>"
    assert not message.content
