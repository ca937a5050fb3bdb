"""A file whose columns are called otherwise: what looks likely, what is declared, what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlhf.cli import app
from rlhf.data.build import Plan, build
from rlhf.data.columns import suggested
from rlhf.data.folder import read_dataset
from rlhf.data.inspect import inspect
from rlhf.data.steps import steps_of
from rlhf.errors import DatasetError


def table(path: Path, names: str, count: int = 10) -> Path:
    """A CSV file whose cells name their column and row."""
    columns = names.split()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for at in range(count):
            writer.writerow([f"{name} number{at} of{at} all{at} these{at} rows{at}" for name in columns])
    return path


def mapping(**columns: str) -> Plan:
    return Plan(steps=steps_of([{"map": {"columns": columns}}]))


@pytest.mark.parametrize(
    ("columns", "kind", "found"),
    [
        ("question reply", "sft", {"instruction": "question", "output": "reply"}),
        (
            "Question context ANSWER",
            "sft",
            {"instruction": "Question", "input": "context", "output": "ANSWER"},
        ),
        ("search passage", "triplet", {"query": "search", "positive": "passage"}),
        (
            "question pos hard_negative",
            "triplet",
            {"query": "question", "positive": "pos", "negative": "hard_negative"},
        ),
        ("utterance intent", "label", {"text": "utterance", "label": "intent"}),
        ("id dialogue", "sft", {"messages": "dialogue"}),
        (
            "question better worse",
            "preference",
            {"prompt": "question", "chosen": "better", "rejected": "worse"},
        ),
        ("question answer liked", "kto", {"prompt": "question", "completion": "answer", "label": "liked"}),
    ],
)
def test_what_looks_likely_is_suggested(columns: str, kind: str, found: dict[str, str]) -> None:
    assert suggested(columns.split()) == {"kind": kind, "columns": found}


@pytest.mark.parametrize("columns", ["prompt chosen rejected", "text label note", "height width"])
def test_nothing_is_suggested_where_columns_fit_or_say_nothing(columns: str) -> None:
    assert suggested(columns.split()) is None


def test_the_analysis_shows_the_suggestion_and_it_builds(tmp_path: Path) -> None:
    file = table(tmp_path / "faq.csv", "question reply topic")
    likely = inspect(file)["suggested"]
    manifest, _ = build([file], tmp_path / "set", mapping(**likely["columns"]))
    assert (manifest["kind"], manifest["rows"]) == ("sft", {"train": 8, "held_out": 2})
    assert manifest["steps"] == [{"step": "map", "rows": 10, "left out columns": 10}]
    row = read_dataset(tmp_path / "set").train[0]
    asked, said = row.prompt[0].content, row.completion[0].content
    assert asked.startswith("question number")
    assert said == asked.replace("question", "reply")


def test_what_is_declared_wins_over_names_that_fit(tmp_path: Path) -> None:
    file = table(tmp_path / "rows.csv", "prompt completion better_prompt")
    build([file], tmp_path / "set", mapping(prompt="better_prompt"))
    row = read_dataset(tmp_path / "set").train[0]
    assert row.prompt[0].content.startswith("better_prompt")
    # A column that is called rightly and not mapped away stays.
    assert row.completion[0].content.startswith("completion")


def test_a_column_of_another_kind_does_not_spoil_a_mapped_row(tmp_path: Path) -> None:
    file = table(tmp_path / "rows.csv", "question reply label text session")
    manifest, _ = build([file], tmp_path / "set", mapping(instruction="question", output="reply"))
    assert manifest["kind"] == "sft"
    assert manifest["steps"][0]["left out columns"] == 20
    assert all(row.session for row in read_dataset(tmp_path / "set").train)


def test_an_unknown_column_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    file = table(tmp_path / "faq.csv", "question reply")
    with pytest.raises(
        DatasetError, match=r"has no column answer, which the mapping names; it has: question, r"
    ):
        build([file], tmp_path / "set", mapping(instruction="question", output="answer"))
    with pytest.raises(
        DatasetError, match="instructions is no column of rows; there are: anchor, at, chosen"
    ):
        mapping(instructions="question")


def test_conversations_of_another_form_are_read(tmp_path: Path) -> None:
    said = [
        [
            {"from": "system", "value": "Be kind."},
            {"from": "human", "value": f"what is item{at} of list{at}?"},
            {"from": "gpt", "value": f"It is thing {at}."},
        ]
        for at in range(6)
    ]
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps({"conversations": one, "id": 3}) + "\n" for one in said))
    build([file], tmp_path / "set", mapping(messages="conversations"))
    row = read_dataset(tmp_path / "set").train[0]
    assert [message.role for message in row.prompt] == ["system", "user"]
    assert row.completion[0].role == "assistant"
    file.write_text(json.dumps({"conversations": [{"from": "narrator", "value": "once"}]}) + "\n")
    with pytest.raises(Exception, match="has a message from 'narrator'; known are: human"):
        build([file], tmp_path / "other", mapping(messages="conversations"))


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["dataset", *map(str, arguments)])


def test_a_preview_shows_rows_tokens_and_reasons(tmp_path: Path) -> None:
    file = table(tmp_path / "faq.csv", "question reply", 3)
    with file.open("a") as lines:
        lines.write("alone,\n")
    steps = tmp_path / "steps.yaml"
    steps.write_text("- clean:\n- limit: {tokens: 400}\n- augment:\n")
    given = ["--map", "instruction=question", "--map", "output=reply", "--steps", steps, "--rows", 2]
    shown = json.loads(run("preview", file, *given).stdout)
    assert (shown["kind"], shown["read"], shown["rows"], shown["later"]) == ("sft", 4, 3, ["augment"])
    assert [step["step"] for step in shown["steps"]] == ["map", "clean", "limit"]
    assert shown["unreadable"][0].startswith(f"{file}:5: has no output")
    assert len(shown["examples"]) == 2
    assert shown["examples"][0]["completion"][0]["content"] == "reply number0 of0 all0 these0 rows0"
    assert shown["tokens"]["longest"] >= shown["tokens"]["mean"] > 10
    assert shown["tokens"]["by"].startswith("model ")
    wrong = run("preview", file, "--map", "output")
    assert wrong.exit_code == 1
    assert "write COLUMN_OF_ROW=COLUMN_OF_FILE" in str(wrong.exception)


def test_a_step_on_sides_comes_last(tmp_path: Path) -> None:
    file = table(tmp_path / "rows.csv", "text label")
    with pytest.raises(DatasetError, match="the step clean comes after augment, which is done once rows are"):
        build([file], tmp_path / "set", Plan(steps=steps_of(["augment", "clean"])))
    with pytest.raises(DatasetError, match="the step negatives is for triplet rows only, not for label"):
        build([file], tmp_path / "set", Plan(steps=steps_of(["negatives"])))
