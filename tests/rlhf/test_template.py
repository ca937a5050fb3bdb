"""The plain renderer, the chat template and the marks of what is trained are one text."""

import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from rlhf.starter.mixture import samples, split
from rlhf.starter.sample import Sample, calls, says, system, tool, user
from rlhf.starter.shards import encode
from rlhf.starter.template import Tool, kind, prompt, segments
from rlhf.starter.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tokens: Path) -> Any:
    return load_tokenizer(tokens)


def drawn(corpora: Path, count: int) -> list[Sample]:
    words, kept, _ = split(corpora)
    return list(islice(samples(random.Random(5), words, kept), count))


def test_a_sample_renders_as_the_chat_template_does(corpora: Path, tokenizer: Any) -> None:
    for sample in drawn(corpora, 60):
        text = "".join(piece for piece, _ in segments(sample.messages, sample.tools))
        assert text == tokenizer.apply_chat_template(
            sample.messages, tools=sample.tools or None, tokenize=False
        )


def test_tokens_and_marks_are_those_of_the_template(corpora: Path, tokenizer: Any) -> None:
    loud = [s for s in drawn(corpora, 80) if not any(m.get("silent") for m in s.messages)]
    for sample, (ids, marks) in zip(loud, encode(tokenizer, loud), strict=True):
        theirs = tokenizer.apply_chat_template(
            sample.messages, tools=sample.tools or None, return_dict=True, return_assistant_tokens_mask=True
        )
        assert ids == theirs["input_ids"]
        assert marks == theirs["assistant_masks"]


def test_a_silent_message_is_context_only() -> None:
    pieces = segments([user("a"), {**says("wrong"), "silent": True}, user("b"), says("right")])
    assert [text for text, trained in pieces if trained] == ["right<|im_end|>"]


def test_the_prompt_is_the_contract_between_graphs_and_model() -> None:
    search: Tool = {
        "type": "function",
        "function": {
            "name": "rag_search",
            "description": "Search.",
            "parameters": {
                "type": "object",
                "properties": {"query": {"type": "string"}, "top_k": {"type": "integer"}},
                "required": ["query"],
            },
        },
    }
    messages = [
        system("Be brief."),
        user("find leave"),
        calls(("rag_search", {"query": "leave"})),
        tool("No passage matches."),
    ]
    assert prompt(messages, [search]) == (
        "<|im_start|>system\nBe brief.\n\nTools:\n"
        "rag_search(query: string, top_k?: integer) - Search.<|im_end|>\n"
        "<|im_start|>user\nfind leave<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "rag_search", "arguments": {"query": "leave"}}\n'
        "</tool_call><|im_end|>\n"
        "<|im_start|>tool\nNo passage matches.<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "string"}, "string"),
        ({"enum": ["bar", "pie"], "type": "string"}, "bar|pie"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, "string"),
    ],
)
def test_a_type_is_one_word_in_both_renderers(schema: dict[str, object], word: str, tokenizer: Any) -> None:
    assert kind(schema) == word
    one = {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"properties": {"a": schema}}},
    }
    text = tokenizer.apply_chat_template([user("hi")], tools=[one], tokenize=False)
    assert f"f(a?: {word}) - d" in text


def test_arguments_may_come_as_a_string(tokenizer: Any) -> None:
    message = calls(("f", {"a": 1}))
    message["tool_calls"][0]["function"]["arguments"] = '{"a": 1}'
    text = tokenizer.apply_chat_template([user("hi"), message], tokenize=False)
    assert '{"name": "f", "arguments": {"a": 1}}' in text
    assert text == "".join(piece for piece, _ in segments([user("hi"), message]))


def test_a_word_has_one_spelling_wherever_it_stands(tokenizer: Any) -> None:
    for before in (" ", '"', "-", "(", "\n", ": "):
        tail = tokenizer(f"{before}unbelievable")["input_ids"][len(tokenizer(before)["input_ids"]) :]
        assert tail == tokenizer("unbelievable")["input_ids"]


@pytest.mark.parametrize(
    "text", ["naïve café", "日本語 🎉", "a\tb\r\n\r\n  c", "x" * 40, "''\"\"", "١٢٣ ½", "e\u0301"]
)
def test_any_text_comes_back(text: str, tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
