"""The tables of a small trial, its misses included."""

from pathlib import Path

from tests.trial.client import Turn
from tests.trial.database import AGENTS, GivenResult
from tests.trial.database import judge as judge_database
from tests.trial.documents import judge as judge_documents
from tests.trial.report import Findings, readme_section, sections, summary
from tests.trial.suite import demo


def findings(tmp_path: Path, error: str | None = None) -> Findings:
    suite = demo(tmp_path)
    document, database = suite.document_questions[0], suite.database_questions[0]
    miss = judge_documents(document, ["travel-expenses.md"], Turn("I could not find that."), suite.page)
    wrong = [
        judge_database(database, agent, Turn(error=error), suite.right_rows(database)) for agent in AGENTS
    ]
    return Findings(suite, 9, 9, 4.2, [miss], [GivenResult(database, True)], wrong)


def test_the_summary_counts(tmp_path: Path) -> None:
    text = summary(findings(tmp_path))
    assert "9 pages in 4 s" in text
    assert "right page in the first 3 hits | 0 of 1 |" in text
    assert "SQL given by hand | 1 of 1 |" in text
    assert "SQL by `general` | 0 of 1 |" in text


def test_misses_are_in_the_tables(tmp_path: Path) -> None:
    found = findings(tmp_path)
    question = found.documents[0].question.question
    assert f"| {question} | not in 10 | none | no |" in sections(found)["documents.md"]
    assert question in readme_section(found)


def test_only_a_broken_chain_is_a_failure(tmp_path: Path) -> None:
    assert findings(tmp_path).failures() == []
    assert findings(tmp_path, "502 no model").failures() == ["demo-orders: 502 no model"] * 2
