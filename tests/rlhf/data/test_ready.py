"""No training begins with a folder whose held-out part leaks, whatever the method, and it says why."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlhf.cli import app
from rlhf.cli_train import ENVIRONMENT
from rlhf.data.build import Plan, build
from rlhf.data.folder import digest, read_dataset
from rlhf.data.ready import VERIFIED, refuse_unready
from rlhf.errors import DatasetError, Leak
from rlhf.methods import read_recipe, train
from rlhf.records import PreferenceRow, write_jsonl
from tests.rlhf.rows import rows
from tests.rlhf.trainings import quiet

LONG = "please tell me how long the notice period of our contract with the supplier in Lisbon is"
OTHER = "which of the two warehouses near the harbour keeps the spare parts for older machines"


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


SAID = [{"role": "assistant", "content": "So."}]


def made(method: str, text: str) -> dict[str, Any]:
    """A row that a method trains on."""
    known: dict[str, dict[str, Any]] = {
        "dpo": {"prompt": asked(text), "chosen": SAID, "rejected": [{**SAID[0], "content": "No."}]},
        "kto": {"prompt": asked(text), "completion": SAID, "label": True},
        "sft": {"prompt": asked(text), "completion": SAID},
        "embedding": {"query": text, "positive": "An answer."},
        "classifier": {"text": text, "label": "contract"},
    }
    return known["dpo" if method == "reward" else method]


def folder(root: Path, train: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> Path:
    root.mkdir(exist_ok=True)
    for name, content in (("train", train), ("held_out", held_out)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    return root


METHODS = ("dpo", "reward", "kto", "sft", "embedding", "classifier")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        ((LONG, {}), (f"{LONG} today", {}), "nearly the same prompt"),
        ((LONG, {"session": "s1"}), (OTHER, {"session": "s1"}), "one session"),
        ((LONG, {"user": "ann"}), (OTHER, {"user": "ann"}), "one user"),
    ],
)
def test_every_method_refuses_what_leaks(
    method: str,
    ours: tuple[str, dict[str, str]],
    theirs: tuple[str, dict[str, str]],
    why: str,
    tmp_path: Path,
) -> None:
    one, other = ({**made(method, text), **more} for text, more in (ours, theirs))
    data = folder(tmp_path / "data", [one], [other])
    with pytest.raises(Leak, match=f"trains on what it is examined on.*\n.* are of {why}"):
        train(read_recipe(method), data, tmp_path / "out", tmp_path / "no-base", tell=quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_share_nothing_are_accepted(method: str, tmp_path: Path) -> None:
    refuse_unready(folder(tmp_path / "data", [made(method, LONG)], [made(method, OTHER)]), method)


def test_the_command_line_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        # As it is once the command has begun again with what training needs.
        monkeypatch.setenv(name, value)
    data = folder(tmp_path / "data", [made("sft", LONG)], [made("sft", LONG)])
    done = CliRunner().invoke(app, ["train", "sft", "--data", str(data), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, Leak)
    assert "are of nearly the same prompt" in str(done.exception)


def built(tmp_path: Path, plan: Plan) -> Path:
    """A dataset of one user's rows on both sides."""
    them = [one.model_copy(update={"user": "ann"}) for one in rows(20)]
    write_jsonl(tmp_path / "rows.jsonl", them)
    build([tmp_path / "rows.jsonl"], tmp_path / "set", plan)
    return tmp_path / "set"


def leaking(data: Path, row: PreferenceRow) -> None:
    """Put a row into the training part, with a manifest that agrees."""
    found = read_dataset(data)
    more = [*found.train, row]
    write_jsonl(data / "train.jsonl", more)
    own = digest(more, found.held_out, found.manifest["transform"])
    (data / "manifest.json").write_text(json.dumps({**found.manifest, "digest": own}))


def test_users_cross_where_the_dataset_was_built_so_and_nothing_else_does(tmp_path: Path) -> None:
    data = built(tmp_path, Plan(split_by=("prompt", "session")))
    refuse_unready(data, "dpo")
    leaking(data, read_dataset(data).held_out[0].model_copy(update={"pair_id": "leak"}))
    with pytest.raises(Leak, match=r"leak and .* are of nearly the same prompt"):
        refuse_unready(data, "dpo")


def test_the_same_content_is_looked_through_once(tmp_path: Path) -> None:
    data = built(tmp_path, Plan(split_by=("prompt", "session")))
    for _ in range(2):
        refuse_unready(data, "dpo")
        assert len(list((tmp_path / VERIFIED).iterdir())) == 1
    assert {path.name for path in data.iterdir()} == {
        "README.md",
        "held_out.jsonl",
        "manifest.json",
        "train.jsonl",
    }
    (data / "train.jsonl").write_text((data / "train.jsonl").read_text() + "\n")
    with pytest.raises(DatasetError, match="no whole dataset"):
        refuse_unready(data, "dpo")
    assert len(list((tmp_path / VERIFIED).iterdir())) == 1


def test_rows_of_another_kind_are_refused_by_name(tmp_path: Path) -> None:
    data = built(tmp_path, Plan(split_by=("prompt", "session")))
    with pytest.raises(DatasetError, match=r"kind preference, and kto trains on kto .*derive .* --to kto"):
        refuse_unready(data, "kto")
    with pytest.raises(DatasetError, match="kind preference, and classifier trains on label"):
        train(read_recipe("classifier"), data, tmp_path / "out", tmp_path / "no-base", tell=quiet)
