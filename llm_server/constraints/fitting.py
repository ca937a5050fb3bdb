"""Which sentences and which tables fit a question, for models too small to tell.

A table fits that the question names, or one of whose cells it names; so do its neighbours by foreign keys
where the tables that are named don't join by themselves. The score of a sentence is the
cosine of the embedder's vectors of the question and of `heading: sentence`, plus half of the share of the
question's rare words that the sentence has. Without an embedder it is the words alone.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_server.constraints.english import CUES, STOP_WORDS
from llm_server.constraints.quotes import Quote
from llm_server.constraints.said import name_words, singular
from llm_server.constraints.sql_schema import SqlSchema

WORDS_WEIGHT = 0.5
READ = 48
"""Sentences whose vectors are computed, those that share most words with the question first: some 100 ms."""
STEM = 5
"""Letters of a word that count, so that `submit` meets `submitted`."""
Embed = Callable[[list[str]], NDArray[np.float32]]
"""Texts to vectors of length 1, one row each."""


def best(question: str, found: Sequence[Quote], count: int, embed: Embed | None) -> list[Quote]:
    """The `count` quotes that fit best, best first."""
    shares = _shares(question, found)
    # By words alone first; sorting is stable, so that equals stay in the order of the search.
    order = sorted(range(len(found)), key=lambda i: -shares[i])[:READ]
    scores = {i: WORDS_WEIGHT * shares[i] for i in order}
    if embed is not None and order:
        vectors = embed([question, *(f"{found[i].heading}: {found[i].sentence}" for i in order)])
        for i, cosine in zip(order, vectors[1:] @ vectors[0], strict=True):
            scores[i] += float(cosine)
    return [found[i] for i in sorted(order, key=lambda i: -scores[i])[:count]]


def narrowed(function: dict[str, Any], users: Sequence[str]) -> dict[str, Any]:
    """The function with no more tables in its `x-sql` properties than fit what the user has said."""
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") or {}
    fitting = {
        name: {**schema, "x-sql": _about(_meant(schema["x-sql"], users), users)}
        for name, schema in properties.items()
        if isinstance(schema, Mapping) and "x-sql" in schema
    }
    if not fitting:
        return function
    return {**function, "parameters": {**parameters, "properties": {**properties, **fitting}}}


def _meant(value: Any, users: Sequence[str]) -> Any:
    """The extension's value without cells that are words of every question: `ON` in `the albums on the list`
    is no state, unless it is written so.
    """
    named = value.get("values") if isinstance(value, Mapping) else None
    if not isinstance(named, Mapping):
        return value
    said = " ".join(users)

    def is_meant(cell: Any) -> bool:
        common = isinstance(cell, str) and cell.lower() in STOP_WORDS
        return not common or (not cell.islower() and re.search(rf"\b{re.escape(cell)}\b", said) is not None)

    kept = {c: [v for v in cells if is_meant(v)] for c, cells in named.items() if isinstance(cells, list)}
    return {**value, "values": {column: cells for column, cells in kept.items() if cells}}


def _about(value: Any, users: Sequence[str]) -> Any:
    """The extension's value with the tables that fit; as it is where none is named. Those that the last
    question names, and that join by themselves, are to be in the statement (`together`).
    """
    schema = SqlSchema.of(value)
    if schema is None or not users:
        return value
    whole, part = _named(schema, users[-1])
    together = {table for table in whole if not any(name_words(table) < name_words(other) for other in whole)}
    if not together or not schema.connects(together):
        together = set()
    if not part:
        whole, part = _named(schema, " ".join(users))
    kept = whole or part
    if not kept:
        return value
    values = schema.values or {}
    there = {cell for (table, _), cells in values.items() if table in kept for cell in cells}
    kept = kept | {table for (table, _), cells in values.items() if not there.issuperset(cells)}
    if not schema.connects(kept) or (len(kept) == 1 and not _is_alone(users[-1], found=bool(there))):
        kept |= set(schema.joins(kept))
    links = [[f"{a}.{b}", f"{c}.{d}"] for (a, b), (c, d) in schema.links if {a, c} <= kept]
    tables = {table: value["tables"][table] for table in schema.tables if table in kept}
    return {**value, "tables": tables, "foreign_keys": links, "together": sorted(together)}


def _named(schema: SqlSchema, text: str) -> tuple[set[str], set[str]]:
    """(tables whose whole name the text says, tables of which it says a part)."""
    said = {singular(word) for word in re.findall(r"\w+", text.lower())}
    named = {table: name_words(table) for table in schema.tables}
    whole = {table for table, parts in named.items() if parts <= said}
    return whole, {table for table, parts in named.items() if parts & said}


def _is_alone(text: str, found: bool) -> bool:
    """`How many customers ...` and `customers in Lisbon`, where the cell was found, need no other table if it
    is not about money or what there is none of.
    """
    asked = {cue for cue, pattern in CUES.items() if re.search(pattern, text.lower())}
    return (found or "count" in asked) and not asked & {"money", "null"}


def _shares(question: str, found: Sequence[Quote]) -> list[float]:
    """How much of the question each sentence says, a word being worth its inverse document frequency."""
    said = [_words(one.sentence) for one in found]
    counts = Counter(word for words in said for word in words)
    worth = {word: max(0.0, math.log((len(found) + 1) / (counts[word] + 0.5))) for word in _words(question)}
    total = sum(worth.values()) or 1.0
    return [sum(worth[word] for word in worth.keys() & words) / total for words in said]


def _words(text: str) -> set[str]:
    return {word[:STEM] for word in re.findall(r"\w+", text.lower())}
