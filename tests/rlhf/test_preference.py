"""The planted preference is what it says, and its judge can tell."""

import pytest

from rlhf.judge import cite_first, rule
from rlhf.preference import cited_first, cites_first, passages_of, planted
from tests.rlhf.preferring import rows


def test_chosen_answers_cite_first_and_rejected_ones_do_not() -> None:
    made = planted(60)
    assert made == planted(60)
    assert len({row["prompt"][1]["content"] for row in made}) == 90
    assert [bool(passages_of(row["prompt"])) for row in made].count(True) == 60
    for row in made:
        chosen, rejected = (row[key][0]["content"] or "" for key in ("chosen", "rejected"))
        assert cite_first(row, chosen) > cite_first(row, rejected)
        if not passages_of(row["prompt"]):
            continue
        assert cites_first(row["prompt"], chosen)
        assert not cites_first(row["prompt"], rejected)
        assert sorted(chosen) == sorted(rejected)


def test_a_citation_counts_where_there_is_such_a_passage() -> None:
    prompt = [{"role": "tool", "content": "[1] a > b\ntext\n\n[2] c > d\nsee [7] there"}]
    assert cites_first(prompt, "[2] The documents say …")
    assert not cites_first(prompt, "[7] The documents say …")
    assert not cites_first(prompt, "The documents say … [2]")
    assert not cites_first([], "[1] The documents say …")
    assert cited_first('It says: "a [1] b" [3]') == '[3] It says: "a [1] b"'


@pytest.mark.parametrize("name", ["cite_first", "like_chosen"])
def test_a_judge_says_the_same_in_both_orders(name: str) -> None:
    row, judge = rows(1)[0], rule(name)
    good, bad = (row[key][0]["content"] for key in ("chosen", "rejected"))
    assert judge.compare(row, good, bad) == "first"
    assert judge.compare(row, bad, good) == "second"
    assert judge.compare(row, good, good) == "tie"
