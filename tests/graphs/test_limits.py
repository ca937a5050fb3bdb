"""What fits into the context."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from graphs.errors import PromptTooLong
from graphs.limits import MARK, Budget

BUDGET = Budget(context=4096, answer=400, characters_per_token=4.0)


def test_whole_turns_are_kept_the_latest_first() -> None:
    turn = [HumanMessage("a" * 1000), AIMessage("b" * 400)]
    kept = BUDGET.history([*turn, *turn, *turn])
    assert len(kept) == 4
    assert kept[0].type == "human"


def test_passages_are_cut_at_a_sentence_and_marked() -> None:
    text = "\n\n".join(f"[{n}] doc > part\n" + "A sentence of words. " * 100 for n in range(1, 6))
    parts = BUDGET.passages(text).split("\n\n")
    assert len(parts) == 5
    assert all(part.endswith("words.") for part in parts)
    assert BUDGET.tokens("\n\n".join(parts)) <= BUDGET.share("passages") + 20


def test_a_short_prompt_leaves_more_room_for_passages() -> None:
    text = "\n\n".join(f"[{n}] doc > part\n" + "A sentence of words. " * 60 for n in range(1, 6))
    assert BUDGET.passages(text) != text
    assert BUDGET.with_room(["persona " * 20], [], 4).passages(text) == text


def test_short_results_stay_as_they_are() -> None:
    assert BUDGET.passages("[1] a\nb") == "[1] a\nb"
    assert BUDGET.result("n\n3\n(1 row)") == "n\n3\n(1 row)"


def test_tables_are_cut_at_a_row() -> None:
    text = "\n".join(f"{n} | something" for n in range(2000))
    assert BUDGET.result(text).endswith("something\n" + MARK)


def test_a_larger_context_has_larger_shares() -> None:
    assert Budget(8192, 400).share("schema") == 1800


def test_what_cannot_be_cut_is_refused() -> None:
    BUDGET.check([HumanMessage("short")], 240)
    with pytest.raises(PromptTooLong, match="Shorten"):
        BUDGET.check([HumanMessage("long " * 4000)], 240)
