"""A forgotten user's rows are in no dataset, no copy and no lineage; what is left says what there was."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from rlhf.data.build import Plan, build, build_below
from rlhf.data.folder import MANIFEST, read_dataset, withdrawal
from rlhf.data.withdraw import Person
from rlhf.errors import DatasetError
from rlhf.forget import Forgotten, forget
from rlhf.records import PreferenceRow, Trace, write_jsonl
from rlhf.registry import Registry
from rlhf.report import write_report
from rlhf.runs import data_files
from tests.llm_server.adapters.making import make_adapter
from tests.rlhf.rows import rows
from tests.rlhf.test_cli import rlhf

REPORT = Path(__file__).parents[2] / "rlhf" / "reports" / "planted.json"
SECRET = "my-unlisted-number"
ADA = Person("ada")


def written(path: Path, *users: str | None, count: int = 20, **more: Any) -> Path:
    """Rows of users by turns; what ada said has the secret in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    them = []
    for i, one in enumerate(rows(count)):
        user = users[i % len(users)]
        said = one.prompt[0].model_copy(update={"content": f"{one.prompt[0].content} {SECRET}{i}"})
        theirs: dict[str, Any] = {"prompt": [said]} if user == "ada" else {}
        them.append(one.model_copy(update={"user": user, "session": f"{user}-{i}", **theirs, **more}))
    write_jsonl(path, them)
    return path


def uploaded(data: Path, digit: str, name: str, content: bytes) -> Path:
    folder = data / "objects" / "datasets" / (digit * 64)
    folder.mkdir(parents=True)
    (folder / f"data.{name}").write_bytes(content)
    if name == "jsonl":
        (folder / "train.jsonl").hardlink_to(folder / "data.jsonl")
    return folder


def bytes_below(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def quiet(done: Forgotten) -> bool:
    return not (done.withdrawn or done.copies or done.adapters or done.unreached)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_a_dataset_is_withdrawn_and_says_what_it_was(data: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "for-ada.jsonl", "ada", "bo", "cy")
    manifest, _ = build_below([source], data / "objects" / "datasets", Plan(seed=1))
    folder = data / "objects" / "datasets" / manifest["digest"][:12]
    adapter = make_adapter(tmp_path / "peft", 1)
    learnt = Registry(data).add("tone", adapter, {"dataset_digest": manifest["digest"]}, [])
    done = forget(data, ADA)
    assert [(w["digest"], w["kind"], w["rows"], w["theirs"]) for w in done.withdrawn] == [
        (manifest["digest"], "preference", 20, 7)
    ]
    assert done.withdrawn[0]["adapters"] == [f"tone@{learnt.short}"]
    assert [file.name for file in folder.iterdir()] == [MANIFEST]
    kept = json.loads((folder / MANIFEST).read_text())
    assert kept.keys() == {"format", "kind", "digest", "rows", "parents", "withdrawn"}
    assert (kept["rows"], kept["withdrawn"]["rows"]) == (manifest["rows"], 7)
    assert kept["parents"] == [{"sha256": manifest["parents"][0]["sha256"], "rows": 20}]
    assert b"for-ada" not in bytes_below(data)
    assert SECRET.encode() not in bytes_below(data)
    assert quiet(forget(data, ADA))
    for work in (read_dataset, lambda folder: data_files(folder, "dpo")):
        with pytest.raises(DatasetError, match=r"was withdrawn on .* because somebody whose rows it held"):
            work(folder)
    with pytest.raises(DatasetError, match="was withdrawn"):
        build_below([source], data / "objects" / "datasets", Plan(seed=1))
    assert [file.name for file in folder.iterdir()] == [MANIFEST]


def test_reports_of_what_learnt_from_it_show_no_answers_any_more(data: Path, tmp_path: Path) -> None:
    """An answer may repeat what the prompt said; figures stay."""
    objects = data / "objects"
    manifest, _ = build_below([written(tmp_path / "a.jsonl", "ada", "bo")], objects / "datasets", Plan())
    registry = Registry(data)
    lineage = {"dataset_digest": manifest["digest"]}
    learnt = registry.add("tone", make_adapter(tmp_path / "peft", 1), lineage, [])
    heir = registry.add("tone", make_adapter(tmp_path / "heir", 3), {"parent": learnt.digest}, [])
    other = registry.add("other", make_adapter(tmp_path / "more", 2), {"dataset_digest": "f" * 64}, [])
    content = json.loads(REPORT.read_text(encoding="utf-8"))
    content["evaluation"]["answers"] = [{"prompt_id": "p", "current": f"So {SECRET}?", "candidate": "Yes."}]
    for folder in (learnt.folder, heir.folder, other.folder, data / "jobs" / "one"):
        write_report(folder, content)
    (data / "jobs" / "two").mkdir()
    (data / "jobs" / "two" / "report.json").write_text(f"torn {SECRET}")
    step = objects / "steps" / ("a" * 32)
    step.mkdir(parents=True)
    (step / "step.json").write_text(json.dumps({"outputs": {"evaluation": content["evaluation"]}}))
    write_report(objects / "steps" / ("b" * 32), content)
    done = forget(data, ADA)
    assert (done.reports, done.copies, done.unreached) == (4, 2, [])
    for folder in (learnt.folder, heir.folder, objects, data / "jobs"):
        assert SECRET.encode() not in bytes_below(folder)
    assert SECRET.encode() in bytes_below(other.folder), "it learnt from others"
    kept = json.loads((learnt.folder / "report.json").read_text(encoding="utf-8"))
    assert kept["decision"] == content["decision"]
    write_report(heir.folder, content)  # as a full disk would have left it
    assert forget(data, ADA).reports == 1
    assert SECRET.encode() not in bytes_below(heir.folder)
    assert quiet(forget(data, ADA))


def test_what_others_said_stays_as_it_is(data: Path, tmp_path: Path) -> None:
    root = data / "objects" / "datasets"
    build_below([written(tmp_path / "b.jsonl", "bo", "cy")], root, Plan())
    build_below([written(tmp_path / "c.jsonl", "adam", "ad")], root, Plan(seed=7))
    uploaded(data, "1", "csv", b"prompt,chosen,rejected,user\nWho is ada?,ada,bo,bo\n")
    before = bytes_below(data)
    assert quiet(forget(data, ADA))
    assert bytes_below(data) == before


def test_rows_are_theirs_by_their_traces_too(data: Path, tmp_path: Path) -> None:
    """Two users asked the same: the row is one's, the answer that was preferred the other's."""
    trace = Trace(trace_id="ab" * 16, generation_id="cd" * 8, model="m")
    source = written(tmp_path / "rows.jsonl", "bo", "cy", chosen_trace=trace)
    build(([source]), data / "jobs" / "tone" / "datasets" / "first", Plan())
    assert quiet(forget(data, ADA))
    done = forget(data, Person("ada", frozenset({"ab" * 16})))
    assert done.withdrawn[0]["theirs"] == 20
    assert withdrawal(data / "jobs" / "tone" / "datasets" / "first")


def test_files_of_every_format_are_looked_through(data: Path, tmp_path: Path) -> None:
    line = written(tmp_path / "a.jsonl", "ada", "bo").read_bytes()
    table = pyarrow.table({"text": [f"call {SECRET}", "b"], "label": ["x", "y"], "user": ["ada", "bo"]})
    parquet.write_table(table, tmp_path / "t")
    folders = [
        uploaded(data, "1", "jsonl", line),
        uploaded(data, "2", "csv", f"prompt;chosen;rejected;user\n{SECRET};b;c;ada\n".encode()),
        uploaded(data, "3", "parquet", (tmp_path / "t").read_bytes()),
        uploaded(data, "4", "jsonl", line[:-20] + b"\n"),
    ]
    nobodys = uploaded(data, "5", "csv", b"text,label\na,b\n")
    odd = uploaded(data, "6", "parquet", b"PAR1 no more")
    done = forget(data, ADA)
    assert {w["digest"][0]: (w["kind"], w["theirs"]) for w in done.withdrawn} == {
        "1": ("file", 10),
        "2": ("file", 1),
        "3": ("file", 1),
        "4": ("file", 10),
    }
    assert all([file.name for file in folder.iterdir()] == [MANIFEST] for folder in folders)
    assert done.unattributed == [{"digest": nobodys.name, "rows": 1}]
    (left,) = done.unreached
    assert left["what"] == f"dataset {odd.name[:12]}"
    assert "no Parquet file" in left["why"]
    assert "Delete it" in left["remedy"]


def test_what_steps_have_copied_goes(data: Path, tmp_path: Path) -> None:
    steps = data / "objects" / "steps"
    for name, user in (("k1", "ada"), ("k2", "bo"), (".k3.partial", "ada")):
        written(steps / name / "rows.jsonl", user)
    (steps / "k2" / "step.json").write_text("{}")
    assert forget(data, ADA).copies == 2
    assert [path.name for path in steps.iterdir()] == ["k2"]


def test_what_a_kill_left_is_finished_by_the_next_run(data: Path, tmp_path: Path) -> None:
    root = data / "objects" / "datasets"
    manifest, _ = build_below([written(tmp_path / "a.jsonl", "ada", "bo")], root, Plan())
    folder = root / manifest["digest"][:12]
    left = (folder / "train.jsonl").read_bytes()
    forget(data, ADA)
    (folder / "train.jsonl").write_bytes(left)  # the manifest is written before the first file goes
    forget(data, ADA)
    assert [file.name for file in folder.iterdir()] == [MANIFEST]


def test_what_is_being_built_is_told(data: Path) -> None:
    root = data / "objects" / "datasets"
    for name in (".a.partial-1", ".b.partial-2"):
        written(root / name / "train.jsonl", "ada")
    handle = os.open(root / ".b.partial-2", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        (left,) = forget(data, ADA).unreached
        assert left["why"] == "it is being built now"
        assert left["remedy"] == "Run the erasure again when its job has ended."
    finally:
        os.close(handle)
    assert quiet(forget(data, ADA))
    assert list(root.iterdir()) == []


def test_the_lineage_keeps_a_pseudonym_and_still_answers(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    pairs = [row.model_copy(update={"user": user, "session": f"of-{user}"}).plain() for row, user in whose()]
    first = registry.add("polite", make_adapter(tmp_path / "p1", 1), {"parent": None}, pairs)
    heir = registry.add("polite", make_adapter(tmp_path / "p2", 2), {"parent": first.digest}, [])

    def learnt(user: str) -> set[str]:
        return {version.digest for version in registry.of_user(user)}

    both = {first.digest, heir.digest}
    assert learnt("ada") == both
    done = forget(tmp_path, ADA)
    assert done.adapters == [{"name": "polite", "version": first.short}]
    assert b'"ada"' not in bytes_below(registry.folder)
    assert b"of-ada" not in bytes_below(registry.folder)
    assert [pair["session"] for pair in first.pairs()] == [None, "of-bo"]
    assert registry.check(first) == first
    assert (learnt("ada"), learnt("bo"), learnt("ad")) == (both, both, set())
    key = registry.pseudonyms.file
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert quiet(forget(tmp_path, ADA))
    key.unlink()  # from then on nobody can ask
    assert (learnt("ada"), learnt("bo")) == (set(), both)


def whose() -> list[tuple[PreferenceRow, str]]:
    return list(zip(rows(2), ("ada", "bo"), strict=True))


def test_the_command_forgets_what_lies_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    build([written(tmp_path / "a.jsonl", "ada", "bo")], out / "datasets" / "d", Plan())
    done = rlhf("forget", "ada", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert "10 of 20 rows were theirs" in done.stdout
    assert "0 datasets" in rlhf("forget", "ada", str(out)).stdout
