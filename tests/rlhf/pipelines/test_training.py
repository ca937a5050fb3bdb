"""A real adapter out of a pipeline: rows to registry, on a tiny model, and the same by a job of its own."""

from pathlib import Path
from typing import Any

import pytest

from rlhf.jobs import Jobs, Kind, State
from rlhf.registry import CANDIDATE, Registry, content_digest
from tests.rlhf.preferring import base, dataset, recipe, rows, write
from tests.rlhf.working import Place, finished


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rows_become_a_registered_adapter(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    tiny = base(tmp_path / "tiny")
    write(tmp_path / "rows.jsonl", rows(40))
    plan = recipe(train={"epochs": 1}).model_dump(mode="json")
    steps = {
        "collect": {"kind": "collect", "with": {"rows": str(tmp_path / "rows.jsonl")}},
        "dataset": {"kind": "dataset", "with": {"users_may_cross": True}, "from": {"rows": "collect"}},
        "validate": {"kind": "validate", "from": {"dataset": "dataset"}},
        "train": {
            "kind": "train",
            "with": {"recipe": plan, "base": str(tiny)},
            "from": {"dataset": "validate"},
            "resource": "gpu",
        },
        "register": {
            "kind": "register",
            "with": {"name": "tiny"},
            "from": {"adapter": "train", "dataset": "validate", "trained": "train"},
        },
    }
    job_id = jobs.ask(Kind.PIPELINE, {"name": "small", "steps": steps}, {})
    job = finished(jobs, job_id)
    assert job.state is State.DONE, job.error
    version = Registry(place.root).find("tiny", CANDIDATE)
    assert version.digest == job.result["train"]["adapter"]["digest"]
    assert version.lineage()["dataset_digest"] == job.result["dataset"]["dataset"]["digest"]
    assert (
        Path(job.result["dataset"]["dataset"]["path"]).parent
        == (place.root / "objects" / "datasets").absolute()
    )
    log = [line.text for line in jobs.log(job_id) if line.step == "train"]
    assert "no GPU here: this step runs on the CPU" in log
    assert any("step" in line and "loss" in line for line in log)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_training_is_also_a_job_of_its_own(jobs: Jobs, tmp_path: Path) -> None:
    plan = recipe(train={"epochs": 1}).model_dump(mode="json")
    folder = dataset(tmp_path / "data", count=4, held=2)
    job = finished(jobs, jobs.ask(Kind.TRAIN, plan, str(folder)))
    assert job.state is State.DONE, job.error
    assert job.progress is not None
    assert job.progress.done == 1
    adapter = job.result["adapter"]
    assert (Path(adapter["path"]) / "adapter_config.json").is_file()
    assert content_digest(Path(adapter["path"])) == adapter["digest"]
    assert [line.seq for line in jobs.log(job.id)][:3] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "data", "said"),
    [({}, "nowhere", "there is no dataset in"), ({"trian": {}}, ".", "trian is no key of a recipe")],
)
def test_a_training_that_cannot_begin_says_why(
    jobs: Jobs, tmp_path: Path, changes: dict[str, Any], data: str, said: str
) -> None:
    plan = {**recipe().model_dump(mode="json"), **changes}
    job = finished(jobs, jobs.ask(Kind.TRAIN, plan, str(tmp_path / data)))
    assert job.state is State.FAILED
    assert said in job.error
