"""The verbs as a person uses them, against a running worker."""

from pathlib import Path

import yaml

from rlhf.jobs import Jobs, State
from rlhf.pipelines.document import read
from rlhf.pipelines.kinds import load
from rlhf.pipelines.spec import plan
from rlhf.recipe import RECIPES
from tests.rlhf.working import Place, finished, until

PIPELINE = """
name: small
parameters: {ledger: null, parts: 2}
steps:
  first:
    kind: write
    with: {ledger: "${ledger}", name: first, parts: "${parts}"}
  second:
    kind: write
    with: {ledger: "${ledger}", name: second}
    from: {a: first}
"""


def written(tmp: Path) -> str:
    file = tmp / "small.yaml"
    file.write_text(PIPELINE.lstrip())
    return str(file)


def test_our_pipeline_makes_sense() -> None:
    content, lines = read(RECIPES / "retrain.yaml")
    names = [step.name for step in plan(content, {}, load(), "retrain.yaml", lines)]
    people = ["mine", "pair", "annotate", "annotated", "collect"]
    loop = ["dataset", "validate", "parent", "train", "register", "evaluate", "judge", "gate"]
    assert names == [*people, *loop, "confirmed", "deploy", "report"]


def test_a_pipeline_is_run_watched_and_shown(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    done = place.run(
        "pipeline", "run", written(tmp_path), "--set", f"ledger={ledger}", "--set", "parts=3", "--watch"
    )
    assert done.returncode == 0, done.stderr
    job_id, *log = done.stdout.splitlines()
    assert "first: wrote part 2" in done.stdout
    assert [line.split()[0] for line in log[:-1]] == [str(n + 1) for n in range(len(log) - 1)]
    assert log[-1].endswith("pipeline small  done")
    shown = place.run("jobs", "show", job_id).stdout
    assert "  first  write  done" in shown
    assert "100%" in shown
    assert place.run("jobs", "logs", job_id, "--after", "2").stdout.split()[0] == "3"
    again = place.run(
        "pipeline",
        "run",
        written(tmp_path),
        "--set",
        f"ledger={ledger}",
        "--set",
        "parts=3",
        "--from",
        "first",
    )
    assert finished(jobs, again.stdout.strip()).state is State.DONE
    starts = [line for line in Path(ledger).read_text().splitlines() if line.startswith("start")]
    assert starts == ["start first", "start second", "start first"]


def test_a_failed_job_has_an_exit_code(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    with_ = {"kind": "rows", "ledger": str(tmp_path / "ledger")}
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump({"name": "bad", "steps": {"a": {"kind": "trouble", "with": with_}}}))
    done = place.run("pipeline", "run", str(file), "--watch")
    assert done.returncode == 1
    assert "step `a`: row 7 has no prompt" in done.stdout


def test_a_job_is_cancelled_and_resumed(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    go, here = tmp_path / "go", tmp_path / "here"
    with_ = {"makes": str(here), "waits_for": str(go)}
    file = tmp_path / "meet.yaml"
    file.write_text(yaml.safe_dump({"name": "meet", "steps": {"a": {"kind": "meet", "with": with_}}}))
    job_id = place.run("pipeline", "run", str(file)).stdout.strip()
    until(here.exists)
    assert "cancelled" in place.run("jobs", "cancel", job_id).stdout
    go.write_text("")
    assert place.run("jobs", "resume", job_id).returncode == 0
    assert finished(jobs, job_id).state is State.DONE


def test_mistakes_are_told_before_anything_runs(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(PIPELINE.lstrip().replace("kind: write", "kind: wrte", 1))
    done = place.run("pipeline", "run", str(file), "--set", "ledger=x")
    assert done.returncode == 1
    assert done.stderr == f"{file}:5: step `first`: there is no kind of step `wrte`; did you mean `write`?\n"
    done = place.run("pipeline", "check", str(file), "--set", "ledger")
    assert done.stderr == "--set ledger: write --set ledger=VALUE\n"
    kinds = place.run("pipeline", "kinds").stdout
    assert "dataset(rows: rows) -> dataset: dataset" in kinds
    assert "write(a: text?, b: text?) -> text: text" in kinds
