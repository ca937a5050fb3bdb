"""The rooms stay apart at run time too: what importing each one brings into the process."""

import json
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gateway import doctor

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "trl", "llama_cpp", "onnxruntime", "transformers"}
ENTRANCES = {
    "gateway": ["gateway.app", "gateway.cli", "gateway.supervisor"],
    "graphs": ["graphs.load", "graphs.builders.router", "graphs.builders.tool_agent"],
    "tools": ["tools.app"],
    "annotation": ["annotation.follow", "annotation.pairs", "annotation.places", "annotation.pull"],
}


def test_every_room_has_an_extra_that_is_locked_and_that_the_doctor_looks_at() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = set(project["tool"]["importlinter"]["root_packages"])
    assert rooms <= set(project["project"]["optional-dependencies"])
    assert rooms == set(doctor.ROOMS)
    lock = runpy.run_path(str(ROOT / "compose" / "scripts" / "lock.py"))
    assert rooms == set(lock["ROOMS"].split(","))


@pytest.mark.parametrize("room", ENTRANCES)
def test_importing_a_room_loads_no_engine_and_no_trainer(room: str) -> None:
    """A gateway or tool process must not pay for torch or llama.cpp, and must not need them installed."""
    code = f"import json, sys\nimport {', '.join(ENTRANCES[room])}\nprint(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert not loaded & HEAVY


def test_the_command_line_starts_light() -> None:
    """`loopyard --help` imports no web framework and no agent library."""
    code = "import json, sys\nimport gateway.cli\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"fastapi", "langgraph", "langchain_core", "sqlalchemy", "fastmcp"}


def test_importing_a_room_touches_nothing(tmp_path: Path) -> None:
    """No folder is made and no environment is needed by an import."""
    modules = ", ".join(module for modules in ENTRANCES.values() for module in modules)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {modules}",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, env={"PATH": "/usr/bin:/bin"}, timeout=60)
    assert list(tmp_path.iterdir()) == []
