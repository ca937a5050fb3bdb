"""Rows of answers as tokens: what the assistant says counts, the rest is context."""

from collections.abc import Iterable
from typing import Any

from rlhf.pairs import NOT_A_PREFIX, TOO_LONG, Row, Used, completed, templated

IGNORED = -100
"""Label of a token that is not trained on."""


def marked(tokenizer: Any, row: Row) -> tuple[list[int], list[int]] | None:
    """Tokens and labels of a row of SFT: every answer in `completion` counts, with the token that ends its
    turn. None where the template renders a prompt differently once an answer follows.
    """
    said, tools = list(row["prompt"]), row.get("tools")
    tokens: list[int] = []
    labels: list[int] = []
    done = ""
    for message in row["completion"]:
        if message["role"] == "assistant":
            head = templated(tokenizer, said, tools, True)
            whole = completed(tokenizer, {"prompt": said, "answer": [message], "tools": tools}, "answer")
            if not (head.startswith(done) and whole.startswith(head)):
                return None
            context, answer = (
                tokenizer(text, add_special_tokens=False)["input_ids"]
                for text in (head[len(done) :], whole[len(head) :])
            )
            tokens += [*context, *answer]
            labels += [*[IGNORED] * len(context), *answer]
            done = whole
        said.append(message)
    return tokens, labels


def answers(rows: Iterable[Row], tokenizer: Any, max_tokens: int) -> Used:
    """`input_ids`, `labels` and `weight` of the rows that fit."""
    used = Used()
    for row in rows:
        found = marked(tokenizer, row)
        if found is None:
            used.leave(NOT_A_PREFIX, row["row_id"])
        elif len(found[0]) > max_tokens:
            used.leave(TOO_LONG, row["row_id"])
        else:
            weight = row.get("weight", 1.0)
            used.texts.append({"input_ids": found[0], "labels": found[1], "weight": weight})
    return used
