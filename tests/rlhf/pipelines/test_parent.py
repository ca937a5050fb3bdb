"""Which adapter a training goes on from: the one that is live under its name, if that is wanted."""

from pathlib import Path
from typing import Any

from rlhf.pipelines.document import read
from rlhf.pipelines.kinds import Work, load
from rlhf.pipelines.spec import plan
from rlhf.recipe import RECIPES
from rlhf.registry import Registry
from tests.rlhf.test_registry import added


def parent_of(root: Path, **given: Any) -> tuple[Any, list[str]]:
    kind, said = load()["parent"], list[str]()
    asked = kind.parameters.model_validate({"name": "polite", **given})
    nothing = {"inputs": {}, "folder": root, "objects": root, "device": "cpu", "advance": lambda *_: None}
    found = kind.run(Work(parameters=asked, registry=root, tell=said.append, **nothing))  # type: ignore[arg-type]
    return found["version"], said


def test_the_live_version_is_gone_on_from_where_that_is_wanted(tmp_path: Path) -> None:
    assert parent_of(tmp_path) == (None, ["polite has no live version: a new adapter"])
    version = added(tmp_path, 1)
    Registry(tmp_path).promote(version)
    found, said = parent_of(tmp_path)
    assert (found["digest"], Path(found["path"])) == (version.digest, version.folder)
    assert said == [f"goes on from polite {version.short}"]
    assert parent_of(tmp_path, needed=False) == (None, ["a new adapter"])


def test_the_whole_loop_trains_and_registers_with_its_parent() -> None:
    content, lines = read(RECIPES / "retrain.yaml")
    steps = {step.name: step for step in plan(content, {"from_live": True}, load(), "retrain.yaml", lines)}
    assert steps["parent"].parameters == {"name": "preferred", "needed": True}
    for name in ("train", "register"):
        assert steps[name].inputs["parent"] == ("parent", "version")
    assert "validate" in steps["parent"].before
