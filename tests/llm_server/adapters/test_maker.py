"""The program beside the server that reads, checks, converts and tries adapters."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from llm_server.adapters.convert import Converter
from llm_server.adapters.source import read_source
from llm_server.errors import AdapterRefused
from tests.llm_server.adapters.conftest import Rig
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.adapters.test_life import wait_for


@pytest.fixture
def gguf(models: Path, tmp_path: Path) -> Path:
    """A GGUF LoRA for the tiny model."""
    converter = Converter()
    try:
        converter.convert(make_adapter(tmp_path / "peft", 5), models / "tiny", tmp_path / "a.gguf")
    finally:
        converter.close()
    return tmp_path / "a.gguf"


def program() -> psutil.Process:
    """The one of the rig."""
    (found,) = [p for p in psutil.Process().children() if "maker_process" in " ".join(p.cmdline())]
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="threads have policies of their own on Linux only")
def test_no_thread_of_the_server_waits_for_idle_time(rig: Rig, gguf: Path) -> None:
    """One that holds the interpreter's lock would stop whoever decodes until the processor has nothing else
    to do; the program may wait.
    """
    rig.load("a", gguf)
    ours = {os.sched_getscheduler(thread.id) for thread in psutil.Process().threads()}
    assert os.SCHED_IDLE not in ours
    assert os.sched_getscheduler(program().pid) == os.SCHED_IDLE


def test_a_program_that_was_killed_is_started_again(rig: Rig, gguf: Path, tmp_path: Path) -> None:
    rig.load("a", gguf)
    before = program()
    before.kill()
    before.wait()
    wait_for(lambda: not before.is_running())
    assert rig.load("b", make_adapter(tmp_path / "b", 6)).effect is not None
    assert program().pid != before.pid


def test_the_program_ends_with_the_manager(rig: Rig, gguf: Path) -> None:
    rig.load("a", gguf)
    ending = program()
    rig.manager.close()
    wait_for(lambda: not ending.is_running())


def test_an_adapter_that_changed_after_it_was_hashed_is_refused(rig: Rig, tmp_path: Path) -> None:
    """What is loaded is what was named."""
    folder = make_adapter(tmp_path / "b", 6)
    source = read_source(folder)
    make_adapter(folder, 7)
    with pytest.raises(AdapterRefused, match="changed while it was read") as refused:
        rig.manager._form.make(source, tmp_path / "out.gguf")
    assert refused.value.code == "checksum_mismatch"
    assert not (tmp_path / "out.gguf").exists()
