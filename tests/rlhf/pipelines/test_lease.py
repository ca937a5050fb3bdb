"""One lease a GPU, held by whoever computes; the program that lists GPUs is a script of ours."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rlhf.errors import StepFailed
from rlhf.jobs import Jobs, Kind, State
from rlhf.pipelines.lease import WATCH, gpus, leased
from rlhf.pipelines.process import Cancelled
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.working import finished, until, worker


@pytest.fixture
def listing(tmp_path: Path) -> str:
    """Two GPUs, the second of which is nearly full; what is used is in a file."""
    (tmp_path / "used").write_text("10\n70000\n")
    script = tmp_path / "nvidia-smi"
    script.write_text(
        '#!/bin/sh\ni=0\nwhile read used; do echo "$i, GPU-$i, Test GPU, 80000, $used"; i=$((i+1)); '
        f"done < {tmp_path / 'used'}\n"
    )
    script.chmod(0o755)
    return str(script)


def never() -> bool:
    return False


def test_a_machine_without_a_gpu_computes_on_its_processor(tmp_path: Path) -> None:
    told: list[str] = []
    with leased(tmp_path, None, told.append, never, str(tmp_path / "none")) as lease:
        assert lease is None
    assert told == ["no GPU here: this step runs on the CPU"]
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    broken.chmod(0o755)
    assert gpus(str(broken)) == []


def test_each_gpu_has_one_holder_and_memory_is_asked_for(tmp_path: Path, listing: str) -> None:
    told: list[str] = []
    with leased(tmp_path, 20_000, told.append, never, listing) as first:
        assert first is not None
        # A training in it that chooses for itself plans with no more than this.
        assert first.env == {"CUDA_VISIBLE_DEVICES": "GPU-0", "RLHF_MEMORY_MB": "20000"}
        # The second GPU is free of leases and has no room.
        with pytest.raises(Cancelled), leased(tmp_path, 20_000, told.append, lambda: True, listing):
            pass
        assert told[-1] == "waits for a GPU with 20000 MiB free"
        with leased(tmp_path, 5_000, told.append, never, listing) as second:
            assert second is not None
            assert second.gpu.uuid == "GPU-1"
    with leased(tmp_path, 20_000, told.append, never, listing) as again:
        assert again is not None
        assert again.gpu.uuid == "GPU-0"


def test_a_waiting_step_goes_on_when_a_gpu_is_free(tmp_path: Path, listing: str) -> None:
    (tmp_path / "used").write_text("10\n")
    told: list[str] = []
    got = threading.Event()

    def wait() -> None:
        with leased(tmp_path, None, told.append, never, listing):
            got.set()

    with leased(tmp_path, None, lambda _: None, never, listing):
        waiter = threading.Thread(target=wait)
        waiter.start()
        until(lambda: "waits for a GPU" in told)
        assert not got.is_set()
    waiter.join(60)
    assert got.is_set()


def test_a_lease_lives_as_long_as_the_group_that_computes(tmp_path: Path, listing: str) -> None:
    (tmp_path / "used").write_text("10\n")
    with leased(tmp_path, None, lambda _: None, never, listing) as lease:
        assert lease is not None
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(lease.held,))
        os.set_inheritable(lease.held, False)
    # We have let go, as a worker does that is killed; the process that computes has not.
    with pytest.raises(Cancelled), leased(tmp_path, None, lambda _: None, lambda: True, listing):
        pass
    child.communicate()
    with leased(tmp_path, None, lambda _: None, never, listing) as lease:
        assert lease is not None


def test_without_a_number_it_takes_what_is_free_where_most_is(tmp_path: Path, listing: str) -> None:
    (tmp_path / "used").write_text("60000\n30000\n")
    told: list[str] = []
    with leased(tmp_path, None, told.append, never, listing) as lease:
        assert lease is not None
        assert (lease.gpu.index, lease.limit_mb) == (1, 50_000)
    assert told[0] == "has GPU 1 (Test GPU, 80000 MiB), and may use 50000 MiB of it"


def test_a_gpu_that_others_have_filled_is_refused_with_the_reason(tmp_path: Path, listing: str) -> None:
    (tmp_path / "used").write_text("79500\n79900\n")
    said = (
        "taken by other programs: GPU 0 (Test GPU, 80000 MiB) has 500 MiB free, "
        "GPU 1 (Test GPU, 80000 MiB) has 100 MiB free, and 1000 are needed at least"
    )
    with pytest.raises(StepFailed, match=re.escape(said)), leased(tmp_path, None, print, never, listing):
        pass
    # One that a step of ours fills is waited for.
    (tmp_path / "used").write_text("10\n79900\n")
    told: list[str] = []
    with leased(tmp_path, 70_000, told.append, never, listing):
        (tmp_path / "used").write_text("79000\n79900\n")
        with pytest.raises(Cancelled), leased(tmp_path, None, told.append, lambda: True, listing):
            pass
    assert "waits for a GPU" in told


def test_more_than_any_gpu_has_is_not_waited_for(tmp_path: Path, listing: str) -> None:
    said = "`memory_mb: 90000` is more than any GPU has: GPU 0 (Test GPU, 80000 MiB), GPU 1"
    with pytest.raises(StepFailed, match=re.escape(said)), leased(tmp_path, 90_000, print, never, listing):
        pass


def test_a_step_that_outgrows_its_lease_is_ended(tmp_path: Path, listing: str) -> None:
    place = made(tmp_path, RLHF_NVIDIA_SMI=listing)
    (tmp_path / "used").write_text("10000\n")
    here, pids = tmp_path / "here", tmp_path / "pids"
    with_ = {"makes": str(here), "waits_for": str(tmp_path / "never"), "pid": str(pids)}
    step = {"kind": "meet", "with": with_, "resource": "gpu", "memory_mb": 5000}
    with worker(place), Jobs(place.root / "jobs") as jobs:
        job_id = jobs.ask(Kind.PIPELINE, {"name": "grows", "steps": {"a": step}}, {})
        until(here.exists)
        (tmp_path / "used").write_text("14900\n")
        time.sleep(1.5 * WATCH)
        assert jobs.get(job_id).state is State.RUNNING
        (tmp_path / "used").write_text("15200\n")
        job = finished(jobs, job_id)
        assert job.state is State.FAILED
        said = (
            "has a lease on 5000 MiB, and since it began 5200 MiB of GPU 0 (Test GPU, 80000 MiB) were taken"
        )
        assert said in job.error
        assert "raise `memory_mb`" in job.error
        until(lambda: not any(map(running, pids.read_text().split())))
        log = [line.text for line in jobs.log(job_id)]
        assert "leaves GPU 0; it used at most 5200 MiB" in log


def running(pid: str) -> bool:
    """Whether a process is no mere entry that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
