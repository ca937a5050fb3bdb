"""A specification is checked whole before anything runs: each finding names file, line, step and remedy."""

from pathlib import Path
from typing import Any

import pytest

from rlhf.errors import PipelineError, SettingsError
from rlhf.pipelines.document import read
from rlhf.pipelines.kinds import Kinds, load
from rlhf.pipelines.spec import Planned, plan
from tests.rlhf.pipelines.writing import PLUGIN

GOOD = """
name: loop
parameters:
  rows: null
  share: 0.2
steps:
  train:
    kind: train
    from: {dataset: dataset}
    retry: {times: 1}
  collect:
    kind: collect
    with: {rows: "${rows}"}
  dataset:
    kind: dataset
    with: {held_out: "${share}"}
    from: {rows: collect.rows}
"""


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return load(PLUGIN)


def planned(text: str, kinds: Kinds, folder: Path, **given: Any) -> list[Planned]:
    file = folder / "loop.yaml"
    file.write_text(text.lstrip("\n"))
    content, lines = read(file)
    return plan(content, given, kinds, file.name, lines)


def test_steps_come_in_an_order_that_can_be_run(kinds: Kinds, tmp_path: Path) -> None:
    found = planned(GOOD, kinds, tmp_path, rows="here.jsonl")
    assert [step.name for step in found] == ["collect", "dataset", "train"]
    assert found[0].parameters["rows"] == "here.jsonl"
    assert found[1].parameters["held_out"] == 0.2
    assert found[2].inputs == {"dataset": ("dataset", "dataset")}
    assert [found[2].retry.pause(n) for n in (1, 2, 3)] == [5, 10, 20]


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        (
            ("kind: train", "kind: trian"),
            ":7: step `train`: ",
            "there is no kind of step `trian`; did you mean `train`?",
        ),
        (
            ("dataset: dataset}", "dataset: datasets}"),
            ":8: step `train`: ",
            "there is no step `datasets`; did you mean `dataset`?",
        ),
        (
            ("from: {dataset: dataset}", "from: {datset: dataset}"),
            ":8: step `train`: ",
            "`train` has no input `datset`; did you mean `dataset`?",
        ),
        (
            ("    from: {dataset: dataset}\n", ""),
            "step `train`: ",
            "the input `dataset` (dataset) is missing; add `from: {dataset: STEP}`; `dataset.dataset` would",
        ),
        (
            ("dataset: dataset}", "dataset: collect.rows}"),
            ":8: step `train`: ",
            "`collect.rows` gives rows, and dataset is wanted; `dataset.dataset` would do",
        ),
        (
            ("dataset: dataset}", "dataset: dataset.rows}"),
            ":8: step `train`: ",
            "`dataset` has no output `rows`; known are dataset",
        ),
        (
            ('{held_out: "${share}"}', "{held_uot: 0.1}"),
            ":15: step `dataset`: ",
            "`dataset` has no parameter `held_uot`; did you mean `held_out`?",
        ),
        (("share: 0.2", "share: 2"), ":15: step `dataset`: ", "`held_out` is 2"),
        (
            ('"${share}"', '"${sharp}"'),
            ":15: step `dataset`: ",
            "there is no parameter `sharp`; did you mean `share`?",
        ),
        (
            ("retry: {times: 1}", "retry: {time: 1}"),
            ":9: step `train`: ",
            "`steps.train.retry.time` is no key; did you mean `times`?",
        ),
        (
            ("from: {dataset", "form: {dataset"),
            ":8: step `train`: ",
            "`steps.train.form` is no key; did you mean `from`?",
        ),
        (
            ("retry: {times: 1}", "after: [colect]"),
            ":9: step `train`: ",
            "`after` names no step `colect`; did you mean `collect`?",
        ),
        (('with: {rows: "${rows}"}', "after: [train]"), "", "it waits for itself: "),
        (("  collect:", "  Collect:"), "", "a name is made of a-z, 0-9, - and _"),
        (
            ("name: loop", "name: loop\nfresh: [tarin]"),
            ":2: ",
            "`fresh` names no step `tarin`; did you mean `train`?",
        ),
        (("name: loop", "name: loop\nstepps: {}"), ":2: ", "`stepps` is no key; did you mean `steps`?"),
    ],
)
def test_what_is_wrong_is_told_with_place_and_remedy(
    kinds: Kinds, tmp_path: Path, change: tuple[str, str], where: str, said: str
) -> None:
    with pytest.raises(PipelineError) as raised:
        planned(GOOD.replace(*change), kinds, tmp_path, rows="here.jsonl")
    assert where + said in str(raised.value)


def test_a_circle_names_everyone_in_it(kinds: Kinds, tmp_path: Path) -> None:
    circle = GOOD.replace('with: {rows: "${rows}"}', "after: [train]")
    with pytest.raises(PipelineError) as raised:
        planned(circle, kinds, tmp_path, rows="here.jsonl")
    assert all(name in str(raised.value) for name in ("collect", "dataset", "train", " -> "))


def test_all_findings_are_told_at_once(kinds: Kinds, tmp_path: Path) -> None:
    bad = GOOD.replace("dataset: dataset}", "dataset: x}").replace("held_out", "heldout")
    with pytest.raises(PipelineError) as raised:
        planned(bad, kinds, tmp_path, rows="here.jsonl")
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == ["8", "15"]


def test_a_parameter_that_has_to_be_given_is_asked_for(kinds: Kinds, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as raised:
        planned(GOOD, kinds, tmp_path)
    assert str(raised.value) == "loop.yaml:3: the parameter `rows` has to be given: --set rows=…"


def test_a_parameter_that_does_not_exist_is_told(kinds: Kinds, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"there is no parameter `row`; did you mean `rows`\?"):
        planned(GOOD, kinds, tmp_path, rows="x", row="y")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: [", r"loop.yaml:1: no YAML"),
        ("- a", r"loop.yaml:1: a pipeline is a mapping"),
        ("name: a\nsteps: {}\nname: b\n", r"loop.yaml:3: `name` is there already, on line 1"),
        ("name: a\n", "`steps`: Field required"),
    ],
)
def test_a_file_that_is_no_pipeline_is_told(kinds: Kinds, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        planned(text, kinds, tmp_path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"none\.yaml cannot be read: No such file"):
        read(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["no.such.module:register", "rlhf.errors:register"])
def test_a_plugin_that_cannot_be_loaded_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"RLHF_STEPS names {name}, which cannot be loaded"):
        load(name)


def test_two_plugins_cannot_bring_the_same_kind() -> None:
    with pytest.raises(SettingsError, match="two plugins bring a kind of step named `write`"):
        load(f"{PLUGIN},{PLUGIN}")
