"""Requests for the product's own tools, with the call that each one means."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlhf.starter.phrases import cased, expand, fill, polite
from rlhf.starter.sample import held_out
from rlhf.starter.template import Tool
from rlhf.starter.topics import code, measured, question, topic
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word, identifier

R = wording("requests")

TOOLS: list[Tool] = json.loads(Path(__file__).with_name("tools.json").read_text())
BY_NAME: dict[str, Tool] = {tool["function"]["name"]: tool for tool in TOOLS}
SERVED = ("rag_search", "rag_documents", "sql_query", "sql_describe")
METHODS = {
    "sft": ("sft", "SFT", "supervised fine-tuning", "sft"),
    "dpo": ("dpo", "DPO", "preference tuning", "dpo", "preference"),
    "embedding": ("embedding", "embedding", "embeddings", "embedder"),
    "classifier": ("classifier", "classifier", "classification", "text classifier"),
}
FORMATS = {"gguf": ("gguf", "GGUF", "gguf"), "onnx": ("onnx", "ONNX", "onnx"), "merged": ("merged", "merged")}
QUANTISATIONS = {
    "f16": ("f16", "fp16", "f16"),
    "q8_0": ("q8_0", "q8", "8 bit", "q8_0"),
    "q4_k_m": ("q4_k_m", "q4", "4 bit"),
}
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Asking:
    """One kind of wording: trained phrasings and words, or those held out of training."""

    def __init__(self, rng: random.Random, words: Words, held_phrases: bool = False) -> None:
        self.rng, self.words, self.held_phrases = rng, words, held_phrases

    def core(self, cores: Sequence[str]) -> str:
        """An expanded core of the wanted half: one phrasing in ten is never trained on."""
        for _ in range(200):
            core = expand(self.rng, self.rng.choice(cores))
            if held_out(core) == self.held_phrases:
                return core
        raise ValueError("no phrasing of the wanted half")

    def sentence(self, cores: Sequence[str], extra: str = "", **slots: str) -> str:
        """A whole sentence; `extra` goes before the final mark."""
        core = self.core(cores)
        core = core[1:] if core.startswith("=") else polite(self.rng, core)
        ends = core[-1] in "?.!"
        text = (core[:-1] + extra + core[-1]) if extra and ends else core + extra
        if self.rng.random() < 0.06:
            mark = self.rng.choice(("'", '"', "`"))
            text = text.replace("{x}", mark + "{x}" + mark)
        if "{x}" in text and text.startswith("{x}"):
            return fill(self.rng, text, slots)
        return fill(self.rng, text if ends else cased(self.rng, text), slots)

    def number(self, low: int, high: int) -> tuple[int, str]:
        n = self.rng.randint(low, high)
        return n, NUMBERS[n - 1] if n <= 10 and self.rng.random() < 0.3 else str(n)

    def name(self) -> str:
        return identifier(self.rng, self.words)


Call = tuple[str, dict[str, Any]]


def rag_search(ask: Asking) -> tuple[str, Call]:
    roll = ask.rng.random()
    if roll < 0.45:
        text = question(ask.rng, ask.words)
        query = text.rstrip("?").rstrip()
        if ask.rng.random() < 0.15:
            text = ask.rng.choice(R["greetings"]) + text
        return text, ("rag_search", {"query": query})
    x = topic(ask.rng, ask.words)
    if ask.rng.random() < 0.35 and x[:1].islower() and not x.startswith(("how ", "when ", "where ")):
        article = ask.rng.choice(("the", "the", "our", "our", "my", "your", "any"))
        cores = tuple(core.replace("{x}", article + " {x}") for core in R["look_up"])
        return ask.sentence(cores, x=x), ("rag_search", {"query": x})
    if roll < 0.53:
        n, said = ask.number(1, 20)
        if ask.rng.random() < 0.5:
            return ask.sentence(R["find_n"], x=x, n=said), ("rag_search", {"query": x, "top_k": n})
        text = ask.sentence(R["look_up"][:10], extra=expand(ask.rng, ask.rng.choice(R["top_k"])), x=x, n=said)
        return text, ("rag_search", {"query": x, "top_k": n})
    return ask.sentence(R["look_up"], x=x), ("rag_search", {"query": x})


def rag_documents(ask: Asking) -> tuple[str, Call]:
    return ask.sentence(R["documents"]), ("rag_documents", {})


def sql_describe(ask: Asking) -> tuple[str, Call]:
    if ask.rng.random() < 0.4:
        return ask.sentence(R["describe_all"]), ("sql_describe", {})
    parts = [any_word(ask.rng, ask.words) for _ in range(ask.rng.choice((1, 1, 1, 2)))]
    x = "_".join(parts) if ask.rng.random() < 0.6 else "".join(p.capitalize() for p in parts)
    return ask.sentence(R["describe"], x=x), ("sql_describe", {"table": x})


def chart_draw(ask: Asking) -> tuple[str, Call]:
    kind, x = ask.rng.choice(("bar", "line", "pie")), measured(ask.rng, ask.words)
    return ask.sentence(R["chart"], kind=kind, x=x), ("chart_draw", {"kind": kind, "title": x})


def code_run(ask: Asking) -> tuple[str, Call]:
    x = code(ask.rng, ask.words)
    text = ask.core(R["code"])
    text = text[1:] if text.startswith("=") else polite(ask.rng, text)
    return fill(ask.rng, text[:1].upper() + text[1:], {"x": x}), ("code_run", {"code": x})


def data_validate(ask: Asking) -> tuple[str, Call]:
    x = ask.name()
    return ask.sentence(R["validate"], x=x), ("data_validate", {"dataset": x})


def training_start(ask: Asking) -> tuple[str, Call]:
    x, method = ask.name(), ask.rng.choice(tuple(METHODS))
    arguments: dict[str, Any] = {"dataset": x, "method": method}
    slots, epochs = {"x": x, "method": ask.rng.choice(METHODS[method])}, ""
    if ask.rng.random() < 0.45:
        arguments["epochs"], slots["n"] = ask.number(1, 20)
        epochs = expand(ask.rng, ask.rng.choice(R["epochs"]))
        epochs = epochs if epochs.startswith((",", "(")) else " " + epochs.strip()
    cores = [core.replace("{epochs}", epochs) for core in R["train"]]
    return ask.sentence(cores, **slots), ("training_start", arguments)


def jobs_status(ask: Asking) -> tuple[str, Call]:
    x = ask.name()
    return ask.sentence(R["status"], x=x), ("jobs_status", {"job": x})


def jobs_cancel(ask: Asking) -> tuple[str, Call]:
    x = ask.name()
    return ask.sentence(R["cancel"], x=x), ("jobs_cancel", {"job": x})


def export_model(ask: Asking) -> tuple[str, Call]:
    x, form = ask.name(), ask.rng.choice(tuple(FORMATS))
    arguments: dict[str, Any] = {"adapter": x, "format": form}
    slots, quantised = {"x": x, "format": ask.rng.choice(FORMATS[form])}, ""
    if ask.rng.random() < 0.4:
        arguments["quantisation"] = ask.rng.choice(tuple(QUANTISATIONS))
        slots["q"] = ask.rng.choice(QUANTISATIONS[arguments["quantisation"]])
        quantised = expand(ask.rng, ask.rng.choice(R["quantisation"]))
        quantised = quantised if quantised.startswith((",", "(")) else " " + quantised.strip()
    cores = [core.replace("{quantisation}", quantised) for core in R["export"]]
    return ask.sentence(cores, **slots), ("export_model", arguments)


def adapters_load(ask: Asking) -> tuple[str, Call]:
    x = ask.name()
    return ask.sentence(R["load"], x=x), ("adapters_load", {"name": x})


MAKERS: dict[str, Callable[[Asking], tuple[str, Call]]] = {
    f.__name__: f
    for f in (
        rag_search,
        rag_documents,
        sql_describe,
        chart_draw,
        code_run,
        data_validate,
        training_start,
        jobs_status,
        jobs_cancel,
        export_model,
        adapters_load,
    )
}


def offered(rng: random.Random, wanted: Sequence[str]) -> list[Tool]:
    """A random listing that has the wanted tools: a few in most, everything in some; any order."""
    others = [name for name in BY_NAME if name not in wanted]
    rng.shuffle(others)
    count = rng.choice((0, 1, 2, 3, 3, 4, 5, len(others)))
    names = [*wanted, *others[:count]]
    if wanted and wanted[0] in SERVED[:2] and rng.random() < 0.25:
        return [BY_NAME[name] for name in SERVED[:2]]
    if rng.random() < 0.15 and set(wanted) <= set(SERVED):
        names = list(SERVED)
    elif rng.random() < 0.8:
        rng.shuffle(names)
    else:
        names.sort(key=list(BY_NAME).index)
    return [BY_NAME[name] for name in names]
