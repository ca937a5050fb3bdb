"""A step is done again only where what it depends on has changed, or what it made is gone."""

from pathlib import Path
from typing import Any

from rlhf.steps import Steps


def test_steps_are_reused_while_nothing_changes(tmp_path: Path) -> None:
    done: list[int] = []

    def step(inputs: list[Any], there: bool = True) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            done.append(1)
            return {"value": len(done)}

        return Steps(tmp_path, lambda _: None).run("a", inputs, work, lambda _: there)

    assert step([1]) == step([1]) == {"value": 1}
    assert step([2]) == {"value": 2}
    assert step([2], there=False) == {"value": 3}
    assert step([2]) == {"value": 3}


def test_a_step_that_fails_leaves_no_record(tmp_path: Path) -> None:
    def broken() -> dict[str, Any]:
        raise ValueError

    steps = Steps(tmp_path, lambda _: None)
    for _ in range(2):
        try:
            steps.run("a", [], broken, lambda _: True)
        except ValueError:
            continue
        raise AssertionError("reused")
    assert steps.done == []
