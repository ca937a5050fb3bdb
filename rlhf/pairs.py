"""Rows of preferences as the text that a trainer reads; every row that it could not use is named and counted.

The trainer would drop a long prompt without a word, cut a long answer, and begin the answer late where the
chat template renders the prompt differently without it. Here such rows are left out by name.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

Row = Mapping[str, Any]
TOO_LONG, NOT_A_PREFIX, THE_SAME = "too long", "prompt is not a prefix", "chosen and rejected are the same"


@dataclass
class Used:
    """Usable rows as a trainer reads them, and what was left out."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Reason to the rows' ids."""
    called: ClassVar[str] = "rows"

    def leave(self, reason: str, name: object) -> None:
        """Count a row that is not used."""
        self.left_out.setdefault(reason, []).append(str(name))

    def summary(self) -> dict[str, Any]:
        """For people and files."""
        return {"used": len(self.texts), "left_out": self.left_out, **self.weights()}

    def weights(self) -> dict[str, dict[str, int]]:
        """How many rows have which weight, as `weights`; empty where all count alike."""
        found = Counter(float(text.get("weight", 1.0)) for text in self.texts)
        return {"weights": {f"{one:g}": found[one] for one in sorted(found)}} if len(found) > 1 else {}


@dataclass
class Pairs(Used):
    """Pairs: `prompt`, `chosen`, `rejected`, `weight`; answers end with the token that ends a turn."""

    chosen_tokens: int = 0
    """Of all usable chosen answers."""
    called: ClassVar[str] = "pairs"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def render(rows: Iterable[Row], tokenizer: Any, max_tokens: int) -> Pairs:
    """Write rows through the tokenizer's own chat template."""
    pairs = Pairs()
    for row in rows:
        head = templated(tokenizer, row["prompt"], row.get("tools"), True)
        texts = [completed(tokenizer, row, key) for key in ("chosen", "rejected")]
        reason = ""
        if not all(text.startswith(head) for text in texts):
            reason = NOT_A_PREFIX
        elif texts[0] == texts[1]:
            reason = THE_SAME
        elif max(tokens(tokenizer, text) for text in texts) > max_tokens:
            reason = TOO_LONG
        if reason:
            pairs.leave(reason, row["pair_id"])
            continue
        chosen, rejected = (text[len(head) :] for text in texts)
        weight = row.get("weight", 1.0)
        pairs.texts.append({"prompt": head, "chosen": chosen, "rejected": rejected, "weight": weight})
        pairs.chosen_tokens += tokens(tokenizer, chosen)
    return pairs


def tokens(tokenizer: Any, text: str) -> int:
    """How many tokens a text has."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def completed(tokenizer: Any, row: Row, key: str) -> str:
    """Prompt and answer, up to the token that ends the turn: what a template writes after it is not said."""
    text = templated(tokenizer, [*row["prompt"], *row[key]], row.get("tools"), False)
    end = tokenizer.eos_token
    return text[: text.rindex(end) + len(end)] if end in text else text


def templated(tokenizer: Any, messages: Iterable[Row], tools: str | None, ask: bool) -> str:
    """The template's text. Keys that are null are left out: a template may test only that they are there."""
    clean = [{k: v for k, v in message.items() if v is not None or k == "content"} for message in messages]
    given = [{**message, "content": message.get("content") or ""} for message in clean]
    return str(
        tokenizer.apply_chat_template(
            given, tools=json.loads(tools) if tools else None, tokenize=False, add_generation_prompt=ask
        )
    )
