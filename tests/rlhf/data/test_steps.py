"""What is declared is done to every row, in its order, counted, and part of what a dataset is."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from rlhf.data.build import Plan, build
from rlhf.data.chunks import pieces
from rlhf.data.folder import read_dataset, verify_split
from rlhf.data.steps import Preparation, read_steps, steps_of
from rlhf.data.tokens import ESTIMATE, Tokens
from rlhf.errors import BadRecords, DatasetError
from rlhf.methods import STARTER

EXACT = Tokens(STARTER)
STORY = "\n\n".join(
    f"Chapter {chapter} begins here. "
    + " ".join(f"The keeper of lamp {chapter}-{at} walks home." for at in range(12))
    for chapter in range(6)
)


def prepared(row: dict[str, Any], *steps: Any) -> list[dict[str, Any]]:
    return Preparation(steps_of(steps), EXACT)(row)


def test_tokens_are_those_of_the_bases_own_tokenizer() -> None:
    theirs = AutoTokenizer.from_pretrained(STARTER)
    for text in ("Is it open?", STORY, "Grüße, 你好 – ok", ""):
        assert EXACT.count(text) == len(theirs(text, add_special_tokens=False)["input_ids"])
    assert EXACT.by.startswith("model ")
    assert (Tokens().count("x" * 9), Tokens().by) == (3, ESTIMATE)
    assert Tokens(Path("/nowhere")).by == ESTIMATE


@pytest.mark.parametrize("tokens", [EXACT, Tokens()])
def test_pieces_fit_overlap_and_hold_everything(tokens: Tokens) -> None:
    found = pieces(STORY, 60, 15, tokens)
    assert len(found) > 5
    assert max(map(tokens.count, found)) <= 60
    places = [STORY.index(piece) for piece in found]
    ends = [at + len(piece) for at, piece in zip(places, found, strict=True)]
    assert (places[0], ends[-1]) == (0, len(STORY))
    for at, (end, start) in enumerate(zip(ends, places[1:], strict=False)):
        # Nothing but spaces is between two pieces, and little is said twice.
        assert not STORY[end:start].strip()
        assert tokens.count(STORY[start:end]) <= 15, at
    assert any(start < end for end, start in zip(ends, places[1:], strict=False))
    assert sum(piece.endswith(".") for piece in found) >= len(found) - 1
    assert pieces("short", 60, 15, tokens) == ["short"]
    assert max(map(tokens.count, pieces("x" * 3000, 60, 0, tokens))) <= 60


def test_clean_writes_the_same_in_one_way() -> None:
    row = {
        "prompt": "Cafe\u0301\u00a0?\r\n\n\n\nNow \x07\u200b \ufeff",
        "user": "a\u00a0b",
        "tools": '[{"a": "b\\u00a0c"}]',
    }
    (made,) = prepared(row, "clean")
    assert made == {"prompt": "Café ?\n\nNow", "user": "a\u00a0b", "tools": '[{"a": "b c"}]'}
    messages = [{"role": "user", "content": "  Is\u2003it\topen?  \n"}]
    assert prepared({"prompt": messages}, "clean")[0]["prompt"] == [
        {"role": "user", "content": "Is it\topen?"}
    ]
    kept = {"clean": {"unicode": None, "control": False, "whitespace": False}}
    assert prepared(row, kept) == [row]
    # A joiner makes words of Persian, and stays.
    assert prepared({"text": "می\u200cخواهم"}, "clean") == [{"text": "می\u200cخواهم"}]


def test_a_template_writes_columns_from_those_of_the_file() -> None:
    template = {"columns": {"prompt": "{title}: {question}", "completion": "{answer}"}, "system": "Be short."}
    row = {"title": "Leave", "question": "how long?", "answer": "Weeks.", "user": "ann", "page": 3}
    (made,) = prepared(row, {"template": template})
    assert made == {
        "user": "ann",
        "completion": "Weeks.",
        "prompt": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Leave: how long?"},
        ],
    }
    with pytest.raises(ValueError, match="has no answer, which completion is made of; it has: question"):
        prepared({"title": "a", "question": "b"}, {"template": template})


def test_rows_that_are_too_long_or_too_short_are_left_out_and_counted() -> None:
    preparation = Preparation(steps_of([{"limit": {"tokens": 40, "minimum": 3}}]), EXACT)
    long = {"prompt": "why " * 20, "chosen": "so " * 30, "rejected": "no"}
    fits = {"prompt": "why " * 8, "chosen": "so " * 8, "rejected": "no " * 9}
    assert [preparation(row) for row in (long, fits, {"text": "hi"})] == [[], [fits], []]
    assert preparation.report() == [{"step": "limit", "rows": 3, "too long": 1, "too short": 1}]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            ["wash"],
            "step 1 is `wash`, which is none; there are: map, clean, template, chunk, limit, negat",
        ),
        (["clean", {"limit": {"token": 3}}], "step 2, limit: tokens Field required"),
        (
            [{"chunk": {"column": "text", "tokens": 32, "overlap": 20}}],
            "20 is more than half of tokens 32",
        ),
        ([{"template": {"columns": {"prompt": "{a.b}"}}}], r"prompt names \{a\.b\}, which is no column"),
        ([{"clean": {}, "limit": {}}], "write a name and settings"),
    ],
)
def test_what_is_declared_wrongly_is_said(steps: list[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        steps_of(steps)
    (tmp_path / "steps.yaml").write_text("clean: {}\n")
    with pytest.raises(DatasetError, match="is no list of steps"):
        read_steps(tmp_path / "steps.yaml")


def test_documents_become_rows_of_an_encoder_and_no_piece_leaks(tmp_path: Path) -> None:
    source = tmp_path / "documents.jsonl"
    lines = [{"name": f"lamp keeper {at}", "body": re.sub(r"(\w+)", rf"\g<1>{at}", STORY)} for at in range(6)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "steps.yaml").write_text(
        "- clean:\n- chunk: {column: body, tokens: 80, overlap: 20}\n"
        '- template: {columns: {query: "{body}", positive: "{name}"}}\n- limit: {tokens: 80}\n'
    )
    plan = Plan(steps=read_steps(tmp_path / "steps.yaml"), base=STARTER, held_out=0.3)
    manifest, _ = build([source], tmp_path / "set", plan)
    dataset = verify_split(tmp_path / "set")
    assert manifest["kind"] == "triplet"
    steps = {step["step"]: step for step in manifest["steps"]}
    assert steps["chunk"]["cut"] == 6
    assert steps["chunk"]["chunks"] == steps["limit"]["rows"] == len(dataset.train) + len(dataset.held_out)
    assert max(EXACT.count(row.query) for row in (*dataset.train, *dataset.held_out)) <= 80
    # Pieces of one document say some of it twice: they are never on both sides.
    assert dataset.held_out
    assert not {row.session for row in dataset.train} & {row.session for row in dataset.held_out}
    assert [next(iter(step)) for step in manifest["transform"]["steps"]] == [
        "clean",
        "chunk",
        "template",
        "limit",
    ]
    assert manifest["tokens"]["by"] == EXACT.by
    assert manifest["tokens"]["train"] == sum(
        EXACT.count(r.query) + EXACT.count(r.positive) for r in dataset.train
    )
    assert "chunk 6 rows (chunks" in (tmp_path / "set" / "README.md").read_text()


def test_other_steps_are_another_dataset_and_a_row_that_does_not_fit_is_named(tmp_path: Path) -> None:
    source = tmp_path / "table.csv"
    source.write_text("question,answer\n" + "".join(f"word{i}x word{i}y?,So {i}.\n" for i in range(10)))
    columns = {"prompt": "{question}", "completion": "{answer}"}
    digests = set()
    for at, more in enumerate(([], ["clean"])):
        plan = Plan(steps=steps_of([{"template": {"columns": columns}}, *more]))
        build([source], tmp_path / str(at), plan)
        digests.add(read_dataset(tmp_path / str(at)).digest)
        assert read_dataset(tmp_path / str(at)).manifest["kind"] == "sft"
    assert len(digests) == 2
    wrong = Plan(steps=steps_of([{"template": {"columns": {**columns, "completion": "{reply}"}}}]))
    with pytest.raises(BadRecords, match=r"table\.csv:2: has no reply, which completion is made of"):
        build([source], tmp_path / "set", wrong)
    with pytest.raises(DatasetError, match="chunk is for sft and triplet rows only, not for preference"):
        build(
            [source],
            tmp_path / "set",
            Plan(kind="preference", steps=steps_of([{"chunk": {"column": "a", "tokens": 32}}])),
        )
