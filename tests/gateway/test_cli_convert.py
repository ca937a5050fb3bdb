"""`loopyard convert` is the model server's command."""

import subprocess
import sys
from pathlib import Path

from gateway.datasets.child import ROOT


def loopyard(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """From a folder that is not the project's."""
    command = [sys.executable, "-c", "from gateway.cli import main; main()", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_help_and_refusals_come_through(tmp_path: Path) -> None:
    told = loopyard(tmp_path, "convert", "--help")
    assert told.returncode == 0, told.stderr
    assert "--merge" in told.stdout
    assert "--modelfile" in told.stdout
    (tmp_path / "empty").mkdir()
    refused = loopyard(tmp_path, "convert", "empty", "out.gguf", "--to", "f16")
    assert refused.returncode == 1
    assert "empty has no config.json" in refused.stderr
    assert not (tmp_path / "out.gguf").exists()
