"""Nothing runs twice beside itself, also where a step that was left behind cannot end by itself; and what an
error is called when the memory of a step is used up.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rlhf.jobs import Jobs, Kind, State
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.working import finished, until, worker


def test_a_frozen_step_of_a_dead_worker_is_ended_before_it_is_done_again(tmp_path: Path) -> None:
    place, here, go = made(tmp_path), tmp_path / "here", tmp_path / "go"
    step = {"kind": "meet", "with": {"makes": str(here), "waits_for": str(go)}}
    with worker(place) as first, Jobs(place.root / "jobs") as jobs:
        job_id = jobs.ask(Kind.PIPELINE, {"name": "frozen", "steps": {"a": step}}, {})
        until(here.exists)
        [left] = psutil.Process(first.pid).children()
        # Stopped, it does not see that its worker is gone.
        os.kill(left.pid, signal.SIGSTOP)
        first.kill()
        first.wait()
        assert left.status() == psutil.STATUS_STOPPED
        here.unlink()
        with worker(place):
            until(here.exists)
            assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
            go.write_text("")
            assert finished(jobs, job_id).state is State.DONE


LIMITED = """
import resource, sys
from pathlib import Path
from rlhf.pipelines.child import explain
limit = 1 << 30
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
held = bytearray(int(float(sys.argv[1]) * limit))
print(explain(ImportError("x.so: failed to map segment from shared object"), Path("."))[0])
"""


@pytest.mark.parametrize(("share", "said"), [("0.9", "memory ran out: lower"), ("0.3", "ImportError: x.so")])
def test_a_library_that_does_not_fit_is_told_as_what_it_is(share: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, share], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(said), done.stdout + done.stderr
