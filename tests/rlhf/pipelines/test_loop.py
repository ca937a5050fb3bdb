"""The whole loop as recipes/retrain.yaml has it: from rows to an adapter that a real server serves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_server.settings import Settings
from rlhf.jobs import Jobs, Kind, State
from rlhf.pipelines.document import read
from rlhf.recipe import RECIPES
from rlhf.registry import LIVE, Registry
from rlhf.serving import Server
from tests.llm_server.conftest import ADMIN, USER, serving
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import recipe, rows, write
from tests.rlhf.working import finished, until, worker

NAME = "citing"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("loop")
    make_base(found / "tiny")
    write(found / "rows.jsonl", rows(60))
    (found / "adapters").mkdir()
    return found


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    settings = Settings(
        model=str(folder / "tiny"),
        data=folder / "models",
        quantisation="f16",
        embeddings=False,
        threads=1,
        api_key=USER,
        admin_key=ADMIN,
        adapter_folders=str(folder / "adapters"),
    )
    with serving(settings) as url:
        found = Server(f"{url}/v1", ADMIN)
        yield found
        found.close()


def given(folder: Path, **changes: Any) -> dict[str, Any]:
    plan = recipe(
        train={"epochs": 8, "sft_weight": 1.0},
        evaluate={
            "judge": "cite_first",
            "cases": 0,
            "max_tokens": 24,
            "temperature": 0.0,
            "likelihood": 8,
            "likelihood_tokens": 512,
        },
        gate={"minimum": 8, "keeps": 0.8, "length": (0.1, 10.0), "kl": 20.0},
        deploy={"prompts": 4, "tokens": 8},
    )
    return {
        "rows": str(folder / "rows.jsonl"),
        "name": NAME,
        "base": str(folder / "tiny"),
        "recipe": plan.model_dump(mode="json"),
        "users_may_cross": True,
        **changes,
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_become_an_adapter_that_is_served(folder: Path, server: Server) -> None:
    place = made(folder, RLHF_SERVER_URL=server.url, RLHF_SERVER_KEY=ADMIN)
    content, _ = read(RECIPES / "retrain.yaml")
    with worker(place), Jobs(place.root / "jobs") as jobs:
        job_id = jobs.ask(Kind.PIPELINE, content, given(folder, confirm=True))
        until(lambda: jobs.get(job_id).state in {State.DONE, State.FAILED} or waits(jobs, job_id))
        assert jobs.get(job_id).error == ""
        # Nothing is served before a person has said so.
        assert server.stable(NAME) is None
        jobs.approve(job_id, "confirmed", True, "ada")
        job = finished(jobs, job_id)
        assert job.state is State.DONE, job.error
        assert job.result["gate"]["decision"]["verdict"] == "promote"
        digest = job.result["register"]["version"]["digest"]
        assert server.stable(NAME) == digest
        assert Registry(folder).chosen() == f"tiny:{NAME}"
        version = Registry(folder).find(NAME, LIVE)
        assert version.digest == digest
        assert "promote" in (version.folder / "report.html").read_text()
        again = finished(jobs, jobs.ask(Kind.PIPELINE, content, given(folder, dry=True)))
        reused = {part.name for part in jobs.parts(again.id) if part.reused}
        assert reused >= {"collect", "dataset", "validate", "train"}
        assert ADMIN not in "".join(line.text for line in jobs.log(job_id))


def waits(jobs: Jobs, job_id: str) -> bool:
    return any(part.waits_for_approval for part in jobs.parts(job_id))
