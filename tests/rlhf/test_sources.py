"""What a result is made by: a change that matters changes the hash, one that does not, does not."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from rlhf.pipelines.kinds import load
from rlhf.runs import code_versions
from rlhf.sources import PACKAGE, commit, sources_sha256
from tests.rlhf.pipelines.writing import PLUGIN


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The room's sources, to be changed."""
    ignored = shutil.ignore_patterns("model", "__pycache__", "reports")
    return Path(shutil.copytree(PACKAGE, tmp_path / "rlhf", ignore=ignored))


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("dpo.py", True),
        ("pairs.py", True),
        ("data/build.py", True),
        ("pipelines/standard.py", True),
        ("recipes/dpo.yaml", True),
        ("starter/train.py", False),
        ("cli_jobs.py", False),
        ("worker.py", False),
        ("README.md", False),
    ],
)
def test_what_computes_counts(copy: Path, file: str, matters: bool) -> None:
    before = sources_sha256(copy)
    assert before == sources_sha256()
    with (copy / file).open("a") as source:
        source.write("\n# changed\n")
    assert (sources_sha256(copy) != before) is matters


def test_it_costs_less_than_a_step_notices() -> None:
    sources_sha256()
    began = time.process_time()
    sources_sha256()
    assert time.process_time() - began < 0.2


def test_every_kind_is_known_by_it_and_a_plugin_by_its_own_file_too() -> None:
    kinds = load(PLUGIN)
    assert kinds["collect"].code() == kinds["gate"].code() != kinds["write"].code()
    assert kinds["train"].code() != kinds["gate"].code()


def test_the_commit_is_told_with_whether_it_was_changed(copy: Path) -> None:
    commit.cache_clear()
    assert commit(copy) == ""
    git = ["git", "-C", str(copy), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    commit.cache_clear()
    assert commit(copy) == "", "nobody has committed the sources"
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    commit.cache_clear()
    assert commit(copy) == head
    (copy / "dpo.py").write_text("")
    commit.cache_clear()
    assert commit(copy) == f"{head}, changed"


def test_a_run_records_its_sources() -> None:
    found = code_versions()
    assert found["sources"] == f"sha256:{sources_sha256()}"
    assert found.get("commit", "") == commit()
    assert "torch" in found
