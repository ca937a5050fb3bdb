"""Agents in YAML: what is accepted, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.errors import SpecError, UnknownAgent
from graphs.load import find_agent, load_agent, load_agents

GOOD = "name: helper\ntitle: Helper\npersona: You help.\n"


def written(folder: Path, text: str, name: str = "helper.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_agents_that_come_with_the_product() -> None:
    agents = load_agents()
    assert set(agents) >= {"general", "data-analyst"}
    assert agents["general"].kind == "router"
    assert "sql_query" in agents["data-analyst"].tools


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    spec = load_agent(written(tmp_path, GOOD))
    assert (spec.kind, spec.tools, spec.limits.repairs) == ("tools", (), 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "limits:\n  steps: 0\n", "helper.yaml:5: limits.steps: "),
        (GOOD + "colour: red\n", "helper.yaml:4: colour: Extra inputs"),
        (GOOD + "tools: [a, 3]\n", "helper.yaml:4: tools.1: "),
        (GOOD + "kind: router\n", "helper.yaml:1: file: Value error, a router needs"),
        (GOOD + "kind: [\n", "helper.yaml:5: not YAML: "),
        ("name: other\ntitle: T\npersona: P\n", "helper.yaml:1: name: 'other' is not the file's name"),
        ("title: T\npersona: P\n", "helper.yaml:1: name: Field required"),
        ("", "helper.yaml:1: file: "),
    ],
)
def test_an_error_names_file_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_agent(written(tmp_path, text))
    assert str(caught.value).startswith(message)


def test_every_error_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_agent(written(tmp_path, "name: helper\ntitle: ''\npersona: ''\n"))
    assert str(caught.value).count("helper.yaml:") == 2


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownAgent, match=r"nobody.*data-analyst, documents, general"):
        find_agent(load_agents(), "nobody")
