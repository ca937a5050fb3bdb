"""The command line as a process: help, exit codes, what a wrong setting says."""

import json
import os
import subprocess
import sys

import pytest


def rlhf(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment}
    command = [sys.executable, "-m", "rlhf", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("verb", ["worker", "check", "jobs"])
def test_help_lists_and_explains_every_verb(verb: str) -> None:
    assert verb in rlhf("--help").stdout
    done = rlhf(verb, "--help")
    assert done.returncode == 0
    assert f"python -m rlhf {verb}" in done.stdout


def test_an_unknown_verb_is_a_usage_error() -> None:
    done = rlhf("trian")
    assert done.returncode == 2
    assert "trian" in done.stderr


def test_a_wrong_setting_is_one_line_and_exit_code_1() -> None:
    done = rlhf("jobs", RLHF_DATTA="x")
    assert done.returncode == 1
    assert done.stderr.startswith("unknown settings: RLHF_DATTA. Known: RLHF_")
    assert "Traceback" not in done.stderr


def test_help_loads_neither_a_trainer_nor_the_queue() -> None:
    code = "import json, sys\nimport rlhf.cli\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"torch", "transformers", "trl", "dbos", "sqlalchemy", "numpy"}
