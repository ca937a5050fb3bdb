"""The rooms stay apart at run time too: what importing each one brings into the process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "trl", "llama_cpp", "onnxruntime", "transformers"}
ENTRANCES = {
    "gateway": ["gateway.app", "gateway.cli", "gateway.supervisor"],
    "graphs": ["graphs.load", "graphs.builders.router", "graphs.builders.tool_agent"],
    "tools": ["tools.app"],
    "annotation": ["annotation.follow", "annotation.pairs", "annotation.places", "annotation.pull"],
}


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
