"""Folders in buckets: whole or not there, verified when they come back, gone when they are dropped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlhf.data.build import Plan, build_below
from rlhf.errors import ObjectError, RlhfError, StoreAway
from rlhf.objects.bucket import open_bucket
from rlhf.objects.depot import ARRIVING, SIGNED, Depot
from rlhf.objects.depots import Depots, open_depots
from rlhf.objects.settings import Settings
from rlhf.objects.tree import Tree
from rlhf.registry import file_sha256
from tests.rlhf.objects.server import SECRET, got, keys, line, put
from tests.rlhf.rows import rows

KEY = "0123456789abcdef" * 2


def machine(s3: Settings, root: Path) -> Depots:
    return open_depots(s3, root / "objects", root)


def step(depot: Depot, text: str = "one", key: str = KEY) -> Path:
    """A local folder with two files of one content and an own one below."""
    folder = depot.root / key
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text(text)
    (folder / "b.txt").write_text(text)
    (folder / "sub" / "c.txt").write_text(f"{text} below")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_what_one_machine_keeps_another_one_finds(s3: Settings, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path / "one").artifacts, machine(s3, tmp_path / "two").artifacts
    folder = step(one)
    assert not one.keep(folder)
    assert two.bring(two.root / KEY)
    assert content(two.root / KEY) == content(folder)
    assert two.held() == {KEY}
    assert list((two.root / ARRIVING).iterdir()) == []
    # A path of the first machine leads to the second one's copy.
    assert machine(s3, tmp_path / "two").here(folder / "a.txt") == folder / "a.txt"
    for file in sorted(folder.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    folder.rmdir()
    assert machine(s3, tmp_path / "two").here(folder / "a.txt") == two.root / KEY / "a.txt"


def test_without_an_endpoint_nothing_but_local_folders_is_used(tmp_path: Path) -> None:
    depots = open_depots(Settings(), tmp_path / "objects", tmp_path)
    folder = step(depots.artifacts)
    assert not depots.artifacts.keep(folder, changed=True)
    assert depots.artifacts.bring(folder)
    assert not depots.artifacts.bring(depots.artifacts.root / "ff")
    depots.artifacts.drop(folder)
    depots.settle()
    depots.reconcile(depots.gather())
    assert content(folder)["a.txt"] == "one"
    assert not (tmp_path / "objects" / "kept").exists()


def test_dropped_or_changed_elsewhere_is_so_here_too(s3: Settings, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path / "one").artifacts, machine(s3, tmp_path / "two").artifacts
    folder = step(one)
    one.keep(folder)
    two.bring(two.root / KEY)
    (folder / "a.txt").write_text("changed")
    one.keep(folder, changed=True)
    two.settle()
    assert content(two.root / KEY)["a.txt"] == "changed"
    one.drop(folder)
    assert keys(s3, s3.artifacts) == []
    two.settle()
    assert not (two.root / KEY).exists()
    assert not two.bring(two.root / KEY)


def test_a_bucket_that_was_emptied_empties_no_machine(s3: Settings, tmp_path: Path) -> None:
    one = machine(s3, tmp_path / "one")
    folder = step(one.artifacts)
    one.artifacts.keep(folder)
    bucket = open_bucket(s3, s3.artifacts)
    bucket.remove([entry.key for entry in bucket.entries()])
    with pytest.raises(ObjectError, match="was emptied or made anew: local copies stay"):
        one.settle()
    assert folder.is_dir()
    # Another bucket has never had it.
    other = machine(s3.model_copy(update={"artifacts": s3.checkpoints}), tmp_path / "one")
    other.settle()
    assert folder.is_dir()


def test_a_bucket_that_another_machine_fills_anew_empties_no_machine(s3: Settings, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path / "one"), machine(s3, tmp_path / "two")
    folder = step(one.artifacts)
    one.artifacts.keep(folder)
    one.settle()
    bucket = open_bucket(s3, s3.artifacts)
    bucket.remove([entry.key for entry in bucket.entries()])
    two.artifacts.keep(step(two.artifacts, key=KEY[::-1]))
    two.settle()
    for _ in range(2):
        with pytest.raises(ObjectError, match="was emptied or made anew: local copies stay"):
            one.settle()
        # What is kept there meanwhile is no proof.
        one.artifacts.keep(step(one.artifacts, key=f"{len(list(one.artifacts.root.iterdir())):032x}"))
    assert folder.is_dir()
    # As the error says: without its notes this machine keeps everything again.
    with pytest.raises(ObjectError, match=r"delete .*, and they are kept there") as told:
        one.settle()
    shutil.rmtree(str(told.value).partition("delete ")[2].partition(" and start")[0])
    one.artifacts.keep(folder)
    one.settle()
    assert two.artifacts.bring(two.artifacts.root / KEY)


def test_notes_without_the_id_of_their_bucket_delete_nothing(s3: Settings, tmp_path: Path) -> None:
    one = machine(s3, tmp_path / "one")
    folder = step(one.artifacts)
    one.artifacts.keep(folder)
    for sign in (tmp_path / "one").rglob(SIGNED):
        sign.unlink()
    bucket = open_bucket(s3, s3.artifacts)
    bucket.remove([entry.key for entry in bucket.entries()])
    with pytest.raises(ObjectError, match="local copies stay"):
        one.settle()
    assert folder.is_dir()


def test_the_first_machine_wins_where_two_keep_the_same_name(s3: Settings, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path / "one").artifacts, machine(s3, tmp_path / "two").artifacts
    one.keep(step(one, "first"))
    second = step(two, "second")
    assert two.keep(second)
    assert content(second)["a.txt"] == "first"


def test_an_upload_that_breaks_off_leaves_nothing_that_counts(s3: Settings, tmp_path: Path) -> None:
    def list_is_lost(method: str, path: str) -> bool:
        return method == "PUT" and path.endswith("tree.json")

    with line(s3.endpoint, list_is_lost) as (broken, seen):
        away = s3.model_copy(update={"endpoint": broken, "seconds": 1.0})
        one = machine(away, tmp_path / "one").artifacts
        folder = step(one)
        with pytest.raises(StoreAway, match="does not answer for s3://artifacts-") as failed:
            one.keep(folder)
        assert SECRET not in str(failed.value)
        # Tried again, with pauses.
        assert sum("tree.json" in request for request in seen if request.startswith("PUT")) > 2
    assert one.held() == set()
    two = machine(s3, tmp_path / "two").artifacts
    assert not two.bring(two.root / KEY)
    # As soon as the line is whole it goes through.
    machine(s3, tmp_path / "one").artifacts.keep(folder)
    assert two.bring(two.root / KEY)


def test_a_line_that_breaks_some_times_is_tried_again(s3: Settings, tmp_path: Path) -> None:
    broken: list[str] = []

    def twice(method: str, path: str) -> bool:
        broken.append(path)
        return len(broken) <= 2

    with line(s3.endpoint, twice) as (shaky, _):
        one = machine(s3.model_copy(update={"endpoint": shaky}), tmp_path / "one").artifacts
        one.keep(step(one))
        assert one.held() == {KEY}


def test_an_object_that_was_altered_is_not_believed(s3: Settings, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path / "one").artifacts, machine(s3, tmp_path / "two").artifacts
    folder = step(one)
    one.keep(folder)
    sha256 = file_sha256(folder / "a.txt")
    for other in (b"two", b"one and much more"):
        put(s3, s3.artifacts, f"{KEY}/{sha256}", other)
        with pytest.raises(ObjectError, match=r"was altered: delete it|more than 3 bytes came"):
            two.bring(two.root / KEY)
        assert not (two.root / KEY).exists()
        assert list((two.root / ARRIVING).iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc/evil", "a/../../evil", "..\\evil", "a//b", "./a", "", "a\nb", "\ud800"],
)
def test_a_list_cannot_lead_out_of_its_folder(s3: Settings, tmp_path: Path, name: str) -> None:
    one = machine(s3, tmp_path / "one").artifacts
    one.keep(step(one))
    kept = json.loads(got(s3, s3.artifacts, f"{KEY}/tree.json"))
    kept["files"][name] = kept["files"]["a.txt"]
    put(s3, s3.artifacts, f"{KEY}/tree.json", json.dumps(kept).encode())
    two = machine(s3, tmp_path / "two").artifacts
    with pytest.raises(ObjectError, match="was altered: it lists"):
        two.bring(two.root / KEY)
    assert [p.name for p in tmp_path.rglob("*evil*")] == []


@pytest.mark.parametrize("size", ["Infinity", "1e999", "[" * 100_000, "-1", "null"])
def test_a_list_of_impossible_sizes_is_an_error(size: str) -> None:
    leaf = f'{{"sha256": "{"ab" * 32}", "bytes": {size}}}'
    with pytest.raises(ObjectError, match=r"does not list the files|was altered"):
        Tree.read(f'{{"format": 1, "files": {{"a": {leaf}}}}}'.encode(), "s3://b/tree.json")


@pytest.mark.parametrize("name", ["..", "../x", ".hidden", "a/../b"])
def test_no_folder_but_those_below_the_root_is_kept(s3: Settings, tmp_path: Path, name: str) -> None:
    one = machine(s3, tmp_path / "one").artifacts
    with pytest.raises(ObjectError, match=r"does not lie in|is no name"):
        one.keep(one.root / name)


def test_links_are_no_way_to_other_files(s3: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not yours")
    one, two = machine(s3, tmp_path / "one").artifacts, machine(s3, tmp_path / "two").artifacts
    folder = step(one)
    (folder / "link").symlink_to(tmp_path / "secret")
    one.keep(folder)
    two.bring(two.root / KEY)
    assert "link" not in content(two.root / KEY)


def test_a_dataset_is_what_its_name_says_even_if_its_list_fits(s3: Settings, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path / "one"), machine(s3, tmp_path / "two")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(row.line() + "\n" for row in rows(20)))
    manifest, _ = build_below([file], one.datasets.root, Plan())
    name = manifest["digest"][:12]
    one.datasets.keep(one.datasets.root / name)
    # Whoever may write there can make list and objects agree; not the rows with the name.
    other = one.datasets.root / name
    held = other / "held_out.jsonl"
    held.write_text(held.read_text() + rows(99)[-1].line() + "\n")
    one.datasets.keep(other, changed=True)
    with pytest.raises(RlhfError, match=r"was changed after it was built|was altered where it is kept"):
        two.datasets.bring(two.datasets.root / name)
    assert not (two.datasets.root / name).exists()
    upload = one.datasets.root / ("ab" * 32)
    upload.mkdir()
    (upload / "data.csv").write_text("text,label\na,b\n")
    one.datasets.keep(upload)
    with pytest.raises(ObjectError, match="was altered where it is kept"):
        two.datasets.bring(two.datasets.root / upload.name)
