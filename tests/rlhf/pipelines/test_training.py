"""A real adapter out of a pipeline: rows to registry, on a tiny model, and the same by a job of its own; and
what becomes of a training that has too little memory.
"""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rlhf.classifier import Classifier
from rlhf.deploy import loaded
from rlhf.errors import DeployError
from rlhf.jobs import Jobs, Kind, State
from rlhf.methods import read_recipe
from rlhf.registry import CANDIDATE, Registry, content_digest
from rlhf.serving import Server
from tests.rlhf.encoders import make_encoder
from tests.rlhf.preferring import WORDS, base, dataset, recipe, rows, write
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
def test_training_is_also_a_job_of_its_own_and_goes_on_from_what_it_made(
    place: Place, jobs: Jobs, tmp_path: Path
) -> None:
    plan = recipe().model_dump(mode="json", exclude={"device"})
    folder, tiny = dataset(tmp_path / "data", count=12, held=2), str(base(tmp_path / "tiny"))
    wanted = {"name": "polite", "base": tiny, "resource": "gpu"}
    job = finished(jobs, jobs.ask(Kind.TRAIN, plan, str(folder), wanted, resource="gpu"))
    assert job.state is State.DONE, job.error
    assert job.progress is not None
    assert job.progress.done == 1
    adapter = job.result["adapter"]
    assert (Path(adapter["path"]) / "adapter_config.json").is_file()
    assert content_digest(Path(adapter["path"])) == adapter["digest"]
    version = Registry(place.root).find("polite", CANDIDATE)
    assert (version.digest, version.kind) == (adapter["digest"], "adapter")
    assert job.result["next"] == f"loopyard models deploy polite {version.short}"
    assert {pair["user"] for pair in version.pairs()} == {"user-0", "user-1", "user-2"}
    log = jobs.log(job.id)
    assert [line.seq for line in log][:3] == [1, 2, 3]
    said = [line.text for line in log]
    assert "no GPU here: this step runs on the CPU" in said
    assert f"an adapter is registered as polite {version.short}; next: {job.result['next']}" in said
    parent = {"name": "polite", "digest": version.digest, "path": str(version.folder)}
    again = finished(jobs, jobs.ask(Kind.TRAIN, plan, str(folder), {"base": tiny, "parent": parent}))
    assert again.state is State.DONE, again.error
    heir = Registry(place.root).find("data-dpo", CANDIDATE)
    assert heir.lineage()["parent"] == version.digest
    assert heir.digest != version.digest  # the first step of a warm-up learns nothing


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_no_adapter_is_registered_as_what_it_is(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "questions"
    folder.mkdir()
    asked = [(f"{word} {n}", label) for label, word in (("pay", "wage"), ("leave", "rest")) for n in "abcd"]
    write(folder / "train.jsonl", [{"text": text, "label": label, "user": "ann"} for text, label in asked])
    encoder = make_encoder(tmp_path / "encoder", ["wage", "rest", *"abcd"])
    plan = read_recipe("classifier", threads=1, folds=2).model_dump(mode="json", exclude={"device"})
    job = finished(jobs, jobs.ask(Kind.TRAIN, plan, str(folder), {"name": "intents", "base": str(encoder)}))
    assert job.state is State.DONE, job.error
    [version] = Registry(place.root).versions("intents")
    assert (version.kind, Registry(place.root).aliases("intents")) == ("classifier", {})
    assert job.result["version"]["kind"] == "classifier"
    assert job.result["next"].endswith(f'Classifier(Path("{version.content}")).classify(texts)')
    [(label, _)] = Classifier(version.content).classify(["wage a"])
    assert label in ("pay", "unknown")
    assert Registry(place.root).of_user("ann") == [version]
    with (
        closing(Server("http://127.0.0.1:9/v1", "")) as nobody,
        pytest.raises(DeployError, match="a classifier of intents, and only adapters are deployed"),
        loaded(nobody, version),
    ):
        pass


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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_training_without_enough_memory_says_so_and_registers_nothing(
    place: Place, jobs: Jobs, tmp_path: Path
) -> None:
    """A batch of hundreds of long answers, in a step that may have 2 GB."""
    tiny, long = base(tmp_path / "tiny"), " ".join(WORDS * 8)
    said = {"chosen": [{"role": "assistant", "content": long}]}
    write(tmp_path / "rows.jsonl", [{**row, **said} for row in rows(640)])
    plan = recipe(train={"batch": 512, "max_tokens": 512}).model_dump(mode="json")
    steps = {
        "collect": {"kind": "collect", "with": {"rows": str(tmp_path / "rows.jsonl")}},
        "dataset": {"kind": "dataset", "with": {"users_may_cross": True}, "from": {"rows": "collect"}},
        "train": {
            "kind": "train",
            "with": {"recipe": plan, "base": str(tiny)},
            "from": {"dataset": "dataset"},
            "memory_mb": 2000,
        },
        "register": {
            "kind": "register",
            "with": {"name": "greedy"},
            "from": {"adapter": "train", "dataset": "dataset", "trained": "train"},
        },
    }
    job = finished(jobs, jobs.ask(Kind.PIPELINE, {"name": "greedy", "steps": steps}, {}))
    assert job.state is State.FAILED
    wanted = r"step `train`: not enough memory for \d{8,} bytes more: lower train\.batch or train\.max_tokens"
    assert re.match(wanted, job.error), job.error
    assert [part.state for part in jobs.parts(job.id)][-2:] == [State.FAILED, None]
    assert "attempt 2" not in " ".join(line.text for line in jobs.log(job.id))
    assert "greedy" not in Registry(place.root).names()
    assert not list((place.root / "objects" / "steps").glob(".*.partial"))
