"""Dataset folders: complete or absent, equal for equal data, refused if anything leaks or was changed."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf.data.build import Plan, build
from rlhf.data.folder import digest, read_dataset, remove_partials, verify_split
from rlhf.errors import BadRecords, DatasetError, Leak
from rlhf.records import PreferenceRow, read_jsonl, write_jsonl
from tests.rlhf.rows import row, rows

QUESTION = "please tell me how long the notice period of our contract with the supplier in Lisbon is today"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of forty rows of twenty users in forty sessions."""
    path = tmp_path / "rows.jsonl"
    them = [*rows(39), row(QUESTION)]
    write_jsonl(
        path,
        [one.model_copy(update={"user": f"u{i % 20}", "session": f"s{i}"}) for i, one in enumerate(them)],
    )
    return path


@pytest.fixture
def built(source: Path, tmp_path: Path) -> Path:
    build([source], tmp_path / "set", Plan(seed=5))
    return tmp_path / "set"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_dataset_has_its_rows_its_lineage_and_a_card(built: Path, source: Path) -> None:
    dataset = verify_split(built)
    manifest = json.loads((built / "manifest.json").read_text())
    assert {
        "format": 1,
        "kind": "preference",
        "rows": {"train": 32, "held_out": 8},
    }.items() <= manifest.items()
    assert manifest["parents"][0].keys() == {"file", "sha256", "rows"}
    assert manifest["transform"]["split_by"] == ["prompt", "session", "user"]
    assert sorted(r.digest() for r in dataset.train + dataset.held_out) == sorted(
        r.digest() for r in read_jsonl(source)
    )
    card = (built / "README.md").read_text()
    assert f"# Preferences {manifest['digest'][:12]}" in card
    assert "| pairs | 32 | 8 |" in card


def test_the_order_of_rows_and_files_changes_no_byte(source: Path, tmp_path: Path) -> None:
    them = read_jsonl(source)
    random.Random(2).shuffle(them)
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    write_jsonl(one, them[:15])
    write_jsonl(other, them[15:])
    for name, files in (("a", [one, other]), ("b", [other, one]), ("c", [source])):
        build(files, tmp_path / name, Plan(seed=5))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    # Other files with the same rows: the same dataset, with other parents.
    assert read_dataset(tmp_path / "c").digest == read_dataset(tmp_path / "a").digest
    assert (tmp_path / "c" / "train.jsonl").read_bytes() == (tmp_path / "a" / "train.jsonl").read_bytes()


def test_the_digest_is_the_same_on_every_machine(built: Path) -> None:
    """Written down: a change of the format or of an algorithm has to show."""
    dataset = read_dataset(built)
    assert dataset.digest == "907d1051287ceb7dc17bd2be2d092369cf4f35410b37ae97f7701b2bb70e3583"
    assert dataset.digest == digest(
        dataset.held_out[:0] + dataset.train[::-1], dataset.held_out, dataset.manifest["transform"]
    )


def test_building_again_changes_nothing_and_other_data_are_refused(built: Path, source: Path) -> None:
    before = contents(built)
    build([source], built, Plan(seed=5))
    assert contents(built) == before
    with pytest.raises(DatasetError, match=r"holds the dataset .* choose another folder"):
        build([source], built, Plan(seed=6))
    assert contents(built) == before


def test_a_folder_of_something_else_is_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(DatasetError, match="is something else"):
        build([source], tmp_path / "mine", Plan())
    assert contents(tmp_path / "mine") == {"notes.txt": b"keep"}


def test_useless_and_repeated_rows_are_left_out_and_counted(source: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    write_jsonl(more, [row("new question here", "Same.", "Same."), *read_jsonl(source)[:3]])
    manifest, report = build([source, more], tmp_path / "set", Plan())
    assert manifest["left_out"] == {"errors": 1, "duplicates": 3}
    assert manifest["rows"] == {"train": 32, "held_out": 8}
    assert (report.count("error"), report.count("warning")) == (1, 3)


def test_one_unreadable_row_and_nothing_is_built(source: Path, tmp_path: Path) -> None:
    source.write_text(source.read_text() + "broken\n")
    with pytest.raises(BadRecords, match=r"rows.jsonl:41: is not JSON"):
        build([source], tmp_path / "set", Plan())
    assert not (tmp_path / "set").exists()


def test_personal_data_are_replaced_before_duplicates_are_looked_for(source: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    write_jsonl(more, [row(f"Write to {name}@mail.example now") for name in ("ann", "ben")])
    manifest, _ = build([source, more], tmp_path / "set", Plan(redact_pii=True))
    assert manifest["redacted"] == {"EMAIL": 2}
    assert manifest["left_out"]["duplicates"] == 1
    assert b"mail.example" not in b"".join(contents(tmp_path / "set").values())


def planted(folder: Path, change: Callable[[PreferenceRow], dict[str, Any]]) -> Path:
    """The dataset with a training row made from a held-out one, and a manifest that agrees with it."""
    dataset = read_dataset(folder)
    original = next((r for r in dataset.held_out if len(r.prompt[0].content or "") > 60), dataset.held_out[0])
    leaking = row(
        "something that nobody else has asked before", "Fine.", "Bad.", pair_id="leak", **change(original)
    )
    train = [*dataset.train, leaking]
    write_jsonl(folder / "train.jsonl", train)
    manifest = {**dataset.manifest, "digest": digest(train, dataset.held_out, dataset.manifest["transform"])}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_planted_near_duplicate_is_refused(built: Path) -> None:
    held_out = read_dataset(built).held_out[0]
    near = f"{held_out.prompt[0].content}, and why"
    folder = planted(built, lambda _: {"prompt": [{"role": "user", "content": near}]})
    with pytest.raises(Leak, match=f"leak and {held_out.pair_id} are of nearly the same prompt"):
        verify_split(folder)


@pytest.mark.parametrize("key", ["session", "user"])
def test_a_planted_row_of_the_same_session_or_user_is_refused(built: Path, key: str) -> None:
    with pytest.raises(Leak, match=f"leak and .* are of one {key}"):
        verify_split(planted(built, lambda original: {key: getattr(original, key)}))


def test_a_planted_row_that_shares_nothing_is_accepted(built: Path) -> None:
    assert len(verify_split(planted(built, lambda _: {})).train) == 33


def test_users_cross_only_where_it_was_asked_for_and_sessions_never(source: Path, tmp_path: Path) -> None:
    write_jsonl(source, [one.model_copy(update={"user": "ann"}) for one in read_jsonl(source)])
    build([source], tmp_path / "set", Plan(split_by=("prompt", "session")))
    verify_split(tmp_path / "set")
    with pytest.raises(Leak, match="one session"):
        verify_split(planted(tmp_path / "set", lambda original: {"session": original.session}))


@pytest.mark.parametrize("name", ["manifest.json", "train.jsonl", "held_out.jsonl"])
def test_a_damaged_folder_is_refused(built: Path, name: str) -> None:
    whole = tmp = built.parent / "copy"
    shutil.copytree(built, whole)
    (tmp / name).unlink()
    with pytest.raises(DatasetError, match="no whole dataset"):
        read_dataset(tmp)
    if name == "manifest.json":
        return
    lines = (built / name).read_text().splitlines(keepends=True)
    (built / name).write_text("".join(lines[:-1]))
    with pytest.raises(DatasetError, match="was changed after it was built"):
        verify_split(built)


LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.{action})
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = ["rlhf", "dataset", "build", {source!r}, "--out", {out!r}]
from rlhf.cli import main
main()
"""


def limited(source: Path, out: Path, action: str, limit: int) -> subprocess.CompletedProcess[str]:
    """Build where no file can be larger than a limit: writing fails, or kills the process."""
    code = LIMITED.format(action=action, limit=limit, source=str(source), out=str(out))
    command = [sys.executable, "-B", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("limit", [100, 4000])
def test_a_full_disk_leaves_no_half_dataset(source: Path, tmp_path: Path, limit: int) -> None:
    done = limited(source, tmp_path / "out" / "set", "SIG_IGN", limit)
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_build_leaves_no_half_dataset_and_can_be_repeated(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "set"
    assert limited(source, out, "SIG_DFL", 4000).returncode == -signal.SIGXFSZ
    assert not out.exists()
    assert [left.name for left in out.parent.iterdir() if ".partial-" in left.name]
    build([source], out, Plan())
    verify_split(out)
    assert list(out.parent.iterdir()) == [out]


def test_what_a_build_that_lives_is_writing_is_not_removed(tmp_path: Path) -> None:
    living, dead = tmp_path / ".one.partial-x", tmp_path / ".two.partial-y"
    for folder in (living, dead):
        folder.mkdir()
        (folder / "train.jsonl").write_text("rows")
    hold = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX); print(); input()"
    command = [sys.executable, "-u", "-c", hold, str(living)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert remove_partials(tmp_path) == [dead.name]
        process.communicate(b"\n")
    assert remove_partials(tmp_path) == [living.name]
    assert list(tmp_path.iterdir()) == []
