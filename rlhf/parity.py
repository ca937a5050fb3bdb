"""Does the server compute what PEFT does? The likeliest token of both, at every position of some answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlhf.errors import DeployError
from rlhf.pairs import Row, completed, templated
from rlhf.recipe import Deploy
from rlhf.serving import Server

MANY = 16
"""Prefixes of one request."""


def parity(
    server: Server, model: str, base: Path, adapter: Path, rows: Sequence[Row], plan: Deploy
) -> tuple[float, int]:
    """Share of positions at which server and PEFT find the same token likeliest, and how many were compared:
    all of the preferred answers to `plan.prompts` prompts, the end of the turn among them, or the last
    `plan.tokens` of each. DeployError where the adapter does not go on the base.
    """
    tokenizer, reference = adapted(base, adapter)
    same = total = 0
    for row in rows[: plan.prompts]:
        tokens, first = tokenised(tokenizer, row)
        start = first if plan.tokens is None else max(first, len(tokens) - plan.tokens)
        wanted = likeliest(reference, tokens)[start - 1 : len(tokens) - 1]
        prefixes = [tokens[:at] for at in range(start, len(tokens))]
        served: list[str] = []
        for at in range(0, len(prefixes), MANY):
            served += server.next_tokens(model, prefixes[at : at + MANY])
        texts = ["" if t == tokenizer.eos_token_id else str(tokenizer.decode([t])) for t in wanted]
        same += sum(one == other for one, other in zip(texts, served, strict=True))
        total += len(texts)
    return (same / total if total else 0.0), total


def adapted(base: Path, adapter: Path) -> tuple[Any, Any]:
    """Tokenizer and model as PEFT has them, in single precision. DeployError where one does not fit."""
    from transformers import AutoTokenizer

    from rlhf.adapters import causal, load_adapter

    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        return tokenizer, load_adapter(causal(base), adapter).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise DeployError(f"PEFT cannot put {adapter.name} on the base {base}: {error}") from error


def likeliest(model: Any, tokens: list[int]) -> list[int]:
    """The token that a model finds likeliest after each one."""
    import torch

    with torch.no_grad():
        found: list[int] = model(torch.tensor([tokens])).logits[0].argmax(-1).tolist()
    return found


def tokenised(tokenizer: Any, row: Row) -> tuple[list[int], int]:
    """Tokens of prompt and preferred answer, and where the answer begins."""
    head = templated(tokenizer, row["prompt"], row.get("tools"), True)
    ids = [
        tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in (head, completed(tokenizer, row, "chosen"))
    ]
    return list(ids[1]), len(ids[0])
