"""Columns by other names: which of a file becomes which of a row, as declared, and what looks likely."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import Field, field_validator

from rlhf.data.kinds import KINDS, Name, nearest
from rlhf.data.step import LINEAGE, Columns, RowStep, Step
from rlhf.data.texts import MESSAGES
from rlhf.data.tokens import Tokens
from rlhf.errors import DatasetError

KNOWN = (
    frozenset(name for kind in KINDS.values() for way in (*kind.ways, kind.more) for name in way) | LINEAGE
)
"""Columns that some kind of rows has."""
SPEAKERS = {
    **dict.fromkeys(("human", "user", "person", "customer"), "user"),
    **dict.fromkeys(("gpt", "assistant", "bot", "chatbot", "model", "agent"), "assistant"),
    **dict.fromkeys(("system", "tool", "developer"), ""),
}
"""Who speaks in files of conversations with `from` and `value`; "" is called so here too."""
CALLED: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "instruction", "query", "input", "request", "context"),
    "chosen": ("chosen", "preferred", "better", "accepted", "winner", "good", "best"),
    "rejected": ("rejected", "dispreferred", "worse", "loser", "bad", "worst", "other"),
    "completion": ("completion", "answer", "response", "reply", "output"),
    "thumb": ("label", "thumb", "thumbs", "liked", "helpful", "feedback", "vote"),
    "query": ("query", "anchor", "question", "search", "searchquery"),
    "positive": ("positive", "pos", "passage", "document", "relevant", "positivepassage", "match"),
    "negative": ("negative", "neg", "hardnegative", "irrelevant", "negativepassage"),
    "messages": ("messages", "conversation", "conversations", "dialog", "dialogue", "turns", "chat"),
    "instruction": ("instruction", "question", "prompt", "query", "request", "task", "user", "ask"),
    "input": ("input", "context", "background", "passage"),
    "output": ("output", "answer", "response", "reply", "completion", "target", "assistant", "solution"),
    "text": ("text", "sentence", "utterance", "message", "content", "body", "ticket", "question", "query"),
    "label": ("label", "intent", "class", "category", "tag", "topic", "target"),
}
"""What files call a column, the likeliest first, without case, spaces and signs."""
WAYS: Sequence[tuple[Name, tuple[str, ...], tuple[str, ...]]] = (
    ("preference", ("prompt", "chosen", "rejected"), ()),
    ("triplet", ("query", "positive"), ("negative",)),
    ("sft", ("messages",), ()),
    ("kto", ("prompt", "completion", "thumb"), ()),
    ("sft", ("instruction", "output"), ("input",)),
    ("label", ("text", "label"), ()),
)
"""Kind, columns that it needs and others that it may have, in the order in which they are looked for."""


class Map(RowStep):
    """Columns of the file under the names of rows; others that make no row with them are left out."""

    NAME = "map"
    columns: dict[str, str] = Field(min_length=1)
    """Column of the row to column of the file: `{instruction: question, output: reply}`."""

    @field_validator("columns")
    @classmethod
    def _of_rows(cls, columns: dict[str, str]) -> dict[str, str]:
        if odd := [name for name in columns if name not in KNOWN]:
            raise ValueError(f"{odd[0]} is no column of rows; there are: {', '.join(sorted(KNOWN))}")
        return columns

    def apply(self, row: Columns, tokens: Tokens, counts: Counter[str]) -> Iterator[Columns]:
        """The row under its own names. What it has no value for is left to the row's own rules."""
        stay = staying(frozenset(self.columns), frozenset(row) - frozenset(self.columns.values()))
        made = {name: value for name, value in row.items() if name in stay}
        for name, source in self.columns.items():
            if source in row:
                made[name] = _messages(row[source]) if name in (*MESSAGES, "messages") else row[source]
            else:
                counts[f"without {source}"] += 1
        counts["left out columns"] += len(set(row) - stay - set(self.columns.values()))
        yield made


@cache
def staying(targets: frozenset[str], there: frozenset[str]) -> frozenset[str]:
    """Of the columns that are `there`, those that make a row together with what is mapped. `source` does not
    stay by itself: in most files it is something else.
    """
    lineage = LINEAGE - {"source"}
    fitting = [
        (set(way), {*way, *kind.more, *lineage} & {*way, *kind.more, *kind.row.model_fields} - {"source"})
        for kind in KINDS.values()
        for way in kind.ways
        if targets - LINEAGE <= {*way, *kind.more}
    ]

    def lacking(one: tuple[set[str], set[str]]) -> tuple[int, int]:
        return len(one[0] - targets - there), len(one[0] - targets)

    known = min(fitting, key=lacking)[1] if fitting else lineage
    return (there & known) - targets


def refuse_unknown(step: Map, columns: Collection[str], where: str) -> None:
    """Raises DatasetError where a mapping names columns that a file has not."""
    if absent := sorted(set(step.columns.values()) - set(columns)):
        raise DatasetError(
            f"{where} has no column {', '.join(absent)}, which the mapping names; "
            f"it has: {', '.join(sorted(columns))}"
        )


def made_by(steps: Sequence[Step], columns: Collection[str] = ()) -> set[str]:
    """The columns that a mapping makes of a file with these; empty where nothing is mapped."""
    mapped = next((step.columns for step in steps if isinstance(step, Map)), {})
    if not mapped:
        return set()
    return {*mapped, *staying(frozenset(mapped), frozenset(columns) - frozenset(mapped.values()))}


def suggested(columns: Collection[str]) -> dict[str, Any] | None:
    """`kind` and `columns` of a mapping that makes rows of a file with these columns; None where they are
    rows already, or nothing looks likely.
    """
    there = {_bare(name): name for name in columns}
    best = nearest(set(columns))
    if any(set(way) <= set(columns) for way in best.ways):
        return None
    for kind, needed, more in WAYS:
        found: dict[str, str] = {}
        for target in (*needed, *more):
            likely = (there[called] for called in CALLED[target] if called in there)
            if column := next((one for one in likely if one not in found.values()), None):
                found["label" if target == "thumb" else target] = column
        if len(found) >= len(needed) and all(("label" if n == "thumb" else n) in found for n in needed):
            return {"kind": kind, "columns": found}
    return None


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _messages(value: Any) -> Any:
    """Messages as OpenAI writes them, of those that have `from` and `value`."""
    if not isinstance(value, list):
        return value
    return [
        _message(one) if isinstance(one, dict) and "from" in one and "value" in one else one for one in value
    ]


def _message(said: dict[str, Any]) -> dict[str, Any]:
    who = str(said["from"]).strip().casefold()
    if who not in SPEAKERS:
        raise ValueError(f"has a message from {said['from']!r}; known are: {', '.join(SPEAKERS)}")
    return {"role": SPEAKERS[who] or who, "content": said["value"]}
