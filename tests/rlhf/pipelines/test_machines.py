"""Two machines that share PostgreSQL and buckets, and no folder: one goes on with what the other has made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlhf.jobs import Jobs, Kind, State
from rlhf.objects.bucket import open_bucket
from rlhf.objects.depots import open_depots
from rlhf.objects.registry import registry_of
from rlhf.registry import CANDIDATE
from tests.rlhf.objects.server import environment, fresh, put, s3_server, source_of
from tests.rlhf.pipelines import counting
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.pipelines.test_fleet import server, url  # noqa: F401 - fixtures
from tests.rlhf.preferring import base, rows, write
from tests.rlhf.working import finished, until, worker


def gone(folder: Path) -> bool:
    """Deleted, though what was killed may still be writing."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_training_goes_on_where_another_machine_was_lost(tmp_path: Path, url: str) -> None:  # noqa: F811
    tiny, one, two = base(tmp_path / "tiny"), tmp_path / "one", tmp_path / "two"
    write(tmp_path / "rows.jsonl", rows(64))
    with s3_server() as endpoint:
        s3 = fresh(endpoint)
        put(s3, source_of(s3), "open/rows.jsonl", (tmp_path / "rows.jsonl").read_bytes())
        address = f"s3://{source_of(s3)}/open/rows.jsonl"
        chain = counting.retraining(tmp_path, tiny, "shared")
        chain["steps"]["collect"]["with"]["rows"] = address
        more = {"RLHF_JOBS_URL": url, "RLHF_STEPS": counting.PLUGIN, **environment(s3)}
        for root in (one, two):
            root.mkdir()
        with worker(made(one, **more)) as first, Jobs(one / "jobs", url) as jobs:
            job = jobs.ask(Kind.PIPELINE, chain, {})
            kept = open_bucket(s3, s3.checkpoints)
            until(lambda: any(entry.key.endswith("checkpoint-2/tree.json") for entry in kept.entries()))
            first.kill()
            first.wait()
        assert [kind for kind, _ in counting.started(one)].count("train") >= 1
        until(lambda: gone(one))
        with worker(made(two, **more)), Jobs(two / "jobs", url) as jobs:
            done = finished(jobs, job)
            assert done.state is State.DONE, done.error
            said = [text.text for text in jobs.log(job)]
        assert any("was kept by another machine" in text for text in said), said
        assert any("goes on from step" in text for text in said), said
        # What the lost machine had finished was not done again.
        assert {kind for kind, _ in counting.started(two)} == {"train", "register"}
        assert list(kept.entries()) == []
        third = open_depots(s3, tmp_path / "three" / "objects", tmp_path / "three")
        version = registry_of(tmp_path / "three", third.models).find("shared", CANDIDATE)
        assert version.digest == done.result["train"]["adapter"]["digest"]
        dataset = Path(done.result["dataset"]["dataset"]["path"])
        assert (third.here(dataset) / "train.jsonl").is_file()
