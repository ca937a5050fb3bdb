"""Preference rows for tests."""

from typing import Any

from rlhf.records import PreferenceRow


def plain(question: str, good: str = "Yes.", bad: str = "No.", **columns: Any) -> dict[str, Any]:
    """A row as its JSON object."""
    return {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": good}],
        "rejected": [{"role": "assistant", "content": bad}],
        **columns,
    }


def row(question: str, good: str = "Yes.", bad: str = "No.", **columns: Any) -> PreferenceRow:
    """A row."""
    return PreferenceRow.model_validate(plain(question, good, bad, **columns))


def rows(count: int) -> list[PreferenceRow]:
    """Rows that have nothing in common: no prompt is near another."""
    return [
        row(
            " ".join(f"word{i}x{j}" for j in range(9)),
            good=f"The answer to question {i} is plain.",
            bad=f"No comment on {i}." if i % 2 else f"I would rather not say a word about number {i}.",
        )
        for i in range(count)
    ]
