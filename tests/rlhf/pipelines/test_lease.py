"""One lease a GPU, held by whoever computes; the program that lists GPUs is a script of ours."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rlhf.pipelines.lease import gpus, leased
from rlhf.pipelines.process import Cancelled
from tests.rlhf.working import until


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
        assert first.env == {"CUDA_VISIBLE_DEVICES": "GPU-0"}
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
