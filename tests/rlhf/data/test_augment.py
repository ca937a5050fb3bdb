"""Augmented rows: the same by the same seed, on the training side alone, with their labels and answers."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rlhf.data.augment import Augment, casing, dropped, said, typos
from rlhf.data.build import Plan, build
from rlhf.data.folder import read_dataset, verify_split
from rlhf.data.step import Sides
from rlhf.data.steps import steps_of
from rlhf.records import PreferenceRow, write_jsonl
from rlhf.shapes import AnyRow, LabelRow, SftRow
from tests.rlhf.data.writing import WITHOUT, Scripted
from tests.rlhf.rows import row, rows

SENTENCE = "please do not send 3 parcels to the office in the morning"


def label(at: int) -> LabelRow:
    text = f"when does counter{at} near gate{at} open for people with parcels"
    return LabelRow(text=text, label="hours" if at % 2 else "place")


def augmented(given: dict[str, Any], train: list[AnyRow], held: list[AnyRow] | None = None) -> list[AnyRow]:
    sides, _ = Augment.model_validate(given).apply(Sides(train, held or []), WITHOUT, Counter())
    return sides.train[len(train) :]


def test_rules_never_touch_numbers_and_what_turns_a_sentence_around() -> None:
    for seed in range(200):
        for change in (typos, dropped):
            made = change(SENTENCE, 0.4, Random(seed))
            assert made is not None
            assert made != SENTENCE
            words = made.split()
            assert "not" in words
            assert "3" in words
    assert dropped("is it open", 0.5, Random(1)) is None
    assert typos("is it 42", 0.5, Random(1)) is None
    assert {casing("Open now", 0.1, Random(seed)) for seed in range(20)} == {
        "open now",
        "OPEN NOW",
        "Open Now",
    }


def test_a_typo_is_what_a_finger_would_do() -> None:
    made = {typos("counter", 1.0, Random(seed)) for seed in range(300)}
    assert made >= {"cpunter", "conuter", "couner", "countwr", "coubter"}
    assert all(one and one[0] == "c" and 6 <= len(one) <= 7 for one in made)


def test_each_new_row_says_what_it_was_made_of_and_keeps_its_label() -> None:
    known = {one.row_id: one for one in map(label, range(9))}
    made = augmented({"each": 2}, list(known.values()))
    assert len(made) == 18
    for one in made:
        assert isinstance(one, LabelRow)
        assert one.made is not None
        assert one.label == known[one.made.of].label
        assert one.row_id == f"{one.made.of}-{one.made.step}-{one.row_id[-1]}"
        assert one.made.by == "rules"
    assert {one.made.step for one in made if one.made} == {"casing", "typos", "drop"}
    assert [one.line() for one in made] == [
        one.line() for one in augmented({"each": 2}, list(known.values()))
    ]


def test_answers_weights_and_what_stands_below_a_question_stay() -> None:
    prompt = "How many days off do people in the office get?\n\n[1] Leave\nPeople get 30 days off."
    answers = SftRow.model_validate(
        {
            "prompt": [{"role": "user", "content": prompt}],
            "completion": [{"role": "assistant", "content": 'The documents say: "30 days" [1]'}],
            "weight": 2.0,
        }
    )
    [made] = augmented({"how": ["typos"], "weight": 0.25}, [answers])
    assert isinstance(made, SftRow)
    assert made.weight == 0.5
    assert made.completion == answers.completion
    first, below = said(made).split("\n", 1)
    assert first != prompt.split("\n", 1)[0]
    assert below == prompt.split("\n", 1)[1]
    [pair] = augmented({"how": ["drop"]}, [row("how long is the way to the shop from here")])
    assert isinstance(pair, PreferenceRow)
    assert pair.pair_id.endswith("-drop-1")


def test_a_paraphrase_keeps_numbers_and_negation_or_is_left_out() -> None:
    said_by_model = {
        "a": "is counter 1 shut for parcels today",
        "b": "is counter 9 shut",
        "c": "counter not shut 1",
    }
    texts = {
        "a": "alpha counter 1 is closed for parcels now",
        "b": "beta counter 1 is closed",
        "c": "gamma 1 closed",
    }
    model = Scripted(lambda request: {"text": said_by_model[_first(request.text)]})
    train: list[AnyRow] = [LabelRow(text=text, label="x") for text in texts.values()]
    counts: Counter[str] = Counter()
    sides, by = Augment(how=["paraphrase"]).apply(Sides(train, []), model.means(), counts)
    assert by == "scripted"
    assert [one.text for one in sides.train[3:] if isinstance(one, LabelRow)] == [said_by_model["a"]]
    assert counts == Counter(
        {"rows": 3, "unchanged": 2, "made": 1, "paraphrase": 1, "near a held-out row": 0}
    )
    assert sides.train[3].made is not None
    assert sides.train[3].made.by == "scripted"


def _first(text: str) -> str:
    found = re.search(r"<text>\n(\w)", text)
    assert found
    return {"a": "a", "b": "b", "g": "c"}[found[1]]


def test_a_built_dataset_augments_its_training_side_alone(tmp_path: Path) -> None:
    letters = str.maketrans("0123456789", "abcdefghij")
    them = [row(str(one.prompt[0].content).translate(letters)) for one in rows(20)]
    write_jsonl(tmp_path / "rows.jsonl", them)
    plain_plan = Plan(seed=3)
    build([tmp_path / "rows.jsonl"], tmp_path / "plain", plain_plan)
    wanted = steps_of([{"augment": {"how": ["casing", "typos"], "each": 2}}])
    manifest, _ = build([tmp_path / "rows.jsonl"], tmp_path / "set", replace(plain_plan, steps=wanted))
    before, after = read_dataset(tmp_path / "plain"), verify_split(tmp_path / "set")
    assert [one.line() for one in after.held_out] == [one.line() for one in before.held_out]
    assert {one.line() for one in before.train} < {one.line() for one in after.train}
    step = manifest["steps"][0]
    assert (step["step"], step["rows"], step["made"]) == ("augment", 16, len(after.train) - 16)
    assert step["casing"] + step["typos"] == step["made"] > 16
    assert "augment 16 rows" in (tmp_path / "set" / "README.md").read_text()
    again, _ = build([tmp_path / "rows.jsonl"], tmp_path / "again", replace(plain_plan, steps=wanted))
    assert again["digest"] == manifest["digest"]


def test_what_became_nearly_a_held_out_row_is_left_out() -> None:
    text = "when does the counter open for people with parcels and letters not today"
    train: list[AnyRow] = [LabelRow(text=text, label="x")]
    held: list[AnyRow] = [LabelRow(text=text.upper(), label="x")]
    counts: Counter[str] = Counter()
    sides, _ = Augment(how=["casing"]).apply(Sides(train, held), WITHOUT, counts)
    assert sides.train == train
    assert counts["near a held-out row"] == 1


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(Exception, match="augment: how"):
        steps_of([{"augment": {"how": []}}])
