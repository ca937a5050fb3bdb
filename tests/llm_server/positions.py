"""The likeliest token at every position of some prompts, and how often two models agree on it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llm_server.adapters.convert import Converter
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.convert.onnx_adapter import convert_adapter
from llm_server.convert.prepare import STARTER_FOLDER, prepare_chat, prepare_onnx_chat
from llm_server.engine.backend import Backend, Chunk
from llm_server.engine.blend import BASE, Blend, blend
from rlhf.starter.cases import Case
from rlhf.starter.sample import calls, says
from rlhf.starter.template import prompt, segments

Tokens = Sequence[int]
PRECISIONS = ("fp32", "fp16", "int8", "int4")
Choices = list[NDArray[np.int64]]
"""One array a prompt: the likeliest next token after each of its tokens."""


@contextmanager
def opened(
    folder: Path, kind: str, data: Path, adapter: Path, threads: int | None = None
) -> Iterator[tuple[Backend, Blend]]:
    """A transformers folder on the engine that computes weights of `kind` (f16, q8_0, ...: llama.cpp; fp32,
    int8, ...: ONNX Runtime), and a PEFT folder in its memory.
    """
    loaded: OnnxBackend | LlamaBackend
    if kind in PRECISIONS:
        path = prepare_onnx_chat(str(folder), data, kind).path
        loaded = OnnxBackend(path, OnnxOptions(threads=threads))
        file = convert_adapter(adapter, loaded.manifest, data / f"{adapter.name}-{kind}.safetensors")
    else:
        converter, file = Converter(), data / f"{adapter.name}-{kind}.gguf"
        converter.convert(adapter, folder, file)
        converter.close()
        path = prepare_chat(str(folder), data, kind).path
        loaded = LlamaBackend(path, LlamaOptions(threads=threads))
    try:
        yield loaded, blend([(loaded.load_adapter(file), 1.0)])
    finally:
        loaded.close()


def decoded(backend: Backend, prompts: Sequence[Tokens], adapters: Blend = BASE) -> Choices:
    """As an engine serves them: a token of each prompt a step, prompts side by side in its slots."""
    found = [np.zeros(len(prompt), np.int64) for prompt in prompts]
    for at in range(0, len(prompts), backend.slots):
        group = range(at, min(at + backend.slots, len(prompts)))
        for slot in range(len(group)):
            backend.trim(slot, 0)
        for step in range(max(len(prompts[i]) for i in group)):
            going = [(slot, i) for slot, i in enumerate(group) if step < len(prompts[i])]
            chunks = [Chunk(slot, step, [prompts[i][step]], 1, adapters) for slot, i in going]
            for row, (_, i) in zip(backend.decode(chunks), going, strict=True):
                found[i][step] = int(backend.logits(row).argmax())
    return found


def computed(logits: Callable[..., NDArray[Any]], prompts: Iterable[Tokens], *adapters: str) -> Choices:
    """By a function from tokens to [tokens, vocabulary]: a whole prompt in one pass."""
    return [logits(prompt, *adapters).argmax(axis=-1) for prompt in prompts]


def agreement(ours: Choices, theirs: Choices) -> float:
    """Share of all positions of all prompts with the same likeliest token."""
    return float((np.concatenate(ours) == np.concatenate(theirs)).mean())


def in_answers(choices: Choices, starts: Sequence[int]) -> Choices:
    """Only what is found for the tokens of the answers: that of the first stands after the one before it."""
    return [found[start - 1 : -1] for found, start in zip(choices, starts, strict=True)]


def chats(cases: Iterable[Case]) -> tuple[list[list[int]], list[int]]:
    """Cases as the starter's tokens: instructions, tools, what was said and the right answer; and where the
    answers begin.
    """
    tokenizer = Tokenizer.from_file(str(STARTER_FOLDER / "tokenizer.json"))
    whole, starts = [], []
    for case in cases:
        texts = prompt(case.messages, case.tools), _answer(case)
        head, answer = (tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
        whole.append([*head, *answer])
        starts.append(len(head))
    return whole, starts


def _answer(case: Case) -> str:
    end = calls(case.call) if case.call else says(case.answer or "")
    return next(text for text, trained in segments([end]) if trained)
