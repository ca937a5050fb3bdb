"""Every rule on a row that breaks it, and no finding on rows that are good."""

from typing import Any

import pytest

from rlhf.data.check import check_rows
from rlhf.data.read import Placed
from rlhf.records import BadRow, PreferenceRow
from tests.rlhf.rows import plain, row, rows


def placed(*them: PreferenceRow) -> list[Placed]:
    return [Placed("f.jsonl", line, one) for line, one in enumerate(them, 1)]


def found(*them: PreferenceRow) -> dict[str, int]:
    return {f"{f.level}: {f.rule}": f.count for f in check_rows(placed(*them)).findings}


def test_good_rows_have_no_finding() -> None:
    mixed = [
        one if i % 2 else row(f"q{i} r{i} s{i}", "Short.", "A longer one.") for i, one in enumerate(rows(60))
    ]
    assert found(*mixed) == {}


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"good": "Same.", "bad": " Same.\n"}, "error: chosen equals rejected"),
        ({"good": "  "}, "error: empty answer"),
        ({"question": "\n"}, "error: empty prompt"),
        ({"bad": "x" * 100_001}, "error: answer over 100000 characters"),
        ({"bad": "x" * 8_001}, "warning: answer over 8000 characters"),
        ({"good": "caf\ufffd"}, "warning: control or replacement characters"),
        ({"bad": "bell\x07"}, "warning: control or replacement characters"),
        ({"good": "cafÃ©"}, "warning: wrongly decoded text"),
        ({"good": "Itâ€™s open"}, "warning: wrongly decoded text"),
        ({"good": "Yes.<|im_end|>"}, "warning: template markers in an answer"),
        ({"bad": "[/INST] No."}, "warning: template markers in an answer"),
        ({"good": "Is it open?"}, "warning: chosen repeats the prompt"),
        ({"good": "again and again\n" * 5}, "warning: chosen repeats a line"),
    ],
)
def test_a_rule_finds_what_breaks_it(columns: dict[str, Any], rule: str) -> None:
    assert found(row(**{"question": "Is it open?", **columns})) == {rule: 1}


def test_a_tool_call_is_an_answer() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    assert found(PreferenceRow.model_validate(plain("Open?", chosen=answer))) == {}


def test_duplicates_near_duplicates_and_contradictions_are_told_apart() -> None:
    text = "please tell me how long the notice period of our contract with the supplier is today"
    one, near = row(text), row(text.replace("today", "now"), "Four weeks.", "Never.")
    again, against = row(text, user="ann"), row(text, "No.", "Yes.")
    assert found(one, again) == {"warning: exact duplicate": 1}
    assert found(one, near) == {"warning: near-duplicate prompt": 1}
    assert found(one, against) == {"warning: contradiction": 1}
    (finding,) = check_rows(placed(one, against)).findings
    assert finding.examples == ("f.jsonl:2 prefers what f.jsonl:1 rejects",)


def test_what_is_wrong_with_the_whole_is_told() -> None:
    longer = [row(f"a{i} b{i}", "A long answer.", "No.", source="thumbs") for i in range(20)]
    assert found(*longer) == {"warning: length bias": 1, "warning: mostly thumbs": 1}
    assert found(*longer[:19]) == {}


def test_the_report_counts_and_names_places() -> None:
    bad = [BadRow("f.jsonl", 9, "is empty")]
    them = [row("a b c", "Same.", "Same.") for _ in range(1)] + [
        row(f"c{i} d{i}", "", "No.") for i in range(7)
    ]
    report = check_rows(placed(*them), bad)
    assert (report.rows, report.count("error"), report.count("warning")) == (8, 9, 0)
    assert report.useless == frozenset(range(8))
    empty = next(f for f in report.findings if f.rule == "empty answer")
    assert (empty.count, empty.examples[0], len(empty.examples)) == (7, "f.jsonl:2", 5)
    assert next(f for f in report.findings if f.rule == "unreadable").examples == ("f.jsonl:9: is empty",)
