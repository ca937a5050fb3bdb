"""The questions of the project's own demo, and that each of them has an answer there."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo import make_shop
from tests.trial.questions import database_questions, document_questions
from tests.trial.results import same_result
from tests.trial.suite import Suite, demo, given
from tests.trial.text import holds, says


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return demo(tmp_path)


def test_the_shop_is_what_its_script_writes() -> None:
    assert make_shop.FILE.read_text(encoding="utf-8") == make_shop.script()


def test_every_demo_question_has_its_evidence_on_a_right_page(suite: Suite) -> None:
    for question in suite.document_questions:
        assert any(holds(suite.page(name), question.evidence) for name in question.pages), question.id


def test_every_demo_query_runs_and_has_its_figures(suite: Suite) -> None:
    for question in suite.database_questions:
        rows = suite.right_rows(question)
        assert same_result(rows, rows, question.compare), question.id
        shown = " ".join(str(cell) for row in rows for cell in row)
        assert all(says(shown, figure) for figure in question.figures), question.id


def test_the_given_questions_are_whole() -> None:
    documents, database = document_questions("handbook"), database_questions("chinook")
    assert (len(documents), len(database)) == (20, 10)
    assert len({question.id for question in documents} | {question.id for question in database}) == 30


def test_tuning_shares_no_page_with_the_test() -> None:
    test = {page for question in document_questions("handbook") for page in question.pages}
    tuning = {page for question in document_questions("handbook-tuning") for page in question.pages}
    assert not test & tuning


def test_a_page_is_found_under_its_file_name(suite: Suite) -> None:
    assert suite.page("somewhere/leave.md").startswith("# Leave")
    assert suite.page("missing.md") == ""


def test_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the folder in DATA needs handbook/"):
        given(tmp_path)


def test_a_wrong_folder_is_named_with_its_remedy(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.trial",
        "--data",
        str(tmp_path / "nowhere"),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert f"{tmp_path / 'nowhere' / 'handbook'} is missing" in done.stdout
    assert "without DATA" in done.stdout
    assert "Traceback" not in done.stderr
