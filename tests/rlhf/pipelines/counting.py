"""The steps of a real retraining, on a tiny model, each start of one written down."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlhf.pipelines.kinds import Kind, Work
from rlhf.pipelines.standard import KINDS
from tests.rlhf.pipelines.writing import note
from tests.rlhf.preferring import recipe

PLUGIN = "tests.rlhf.pipelines.counting:register"
NAMES = ("collect", "dataset", "validate", "train", "register")
"""In the order in which they run."""
LEDGER = "ledger"


def counted(kind: Kind) -> Kind:
    """The same kind, which writes its name and its folder's into the ledger when it begins."""

    def run(work: Work) -> Mapping[str, Any]:
        note(str(work.registry / LEDGER), f"{kind.name} {work.folder.name}")
        return kind.run(work)

    return replace(kind, name=f"counted-{kind.name}", run=run)


def register(add: Callable[[Kind], None]) -> None:
    """The plugin."""
    for kind in KINDS:
        if kind.name in NAMES:
            add(counted(kind))


def started(root: Path) -> list[tuple[str, str]]:
    """(kind, key of its output) of every start, in order."""
    file = root / LEDGER
    lines = file.read_text().splitlines() if file.exists() else []
    return [(kind, key) for kind, _, key in (line.partition(" ") for line in lines)]


def repeated(root: Path) -> int:
    """How many starts were of a step that had begun before."""
    starts = Counter(started(root))
    return starts.total() - len(starts)


def retraining(rows: Path, base: Path, name: str, fresh: bool = False, **changes: Any) -> dict[str, Any]:
    """Rows become a registered adapter, with a checkpoint after every step of the training."""
    plan = recipe(**{"train": {"save_steps": 1}, **changes}).model_dump(mode="json")
    again = {"times": 20, "seconds": 0}
    steps: dict[str, dict[str, Any]] = {
        "collect": {"with": {"rows": str(rows)}},
        "dataset": {"with": {"users_may_cross": True}, "from": {"rows": "collect"}},
        "validate": {"from": {"dataset": "dataset"}},
        "train": {"with": {"recipe": plan, "base": str(base)}, "from": {"dataset": "validate"}},
        "register": {
            "with": {"name": name},
            "from": {"adapter": "train", "dataset": "validate", "trained": "train"},
        },
    }
    whole = {step: {"kind": f"counted-{step}", "retry": again, **facts} for step, facts in steps.items()}
    return {"name": name, "steps": whole, "fresh": list(NAMES) if fresh else []}


def made(result: Mapping[str, Any]) -> dict[str, Any]:
    """What came out of every step: hashes, and what a training says of itself. Where it lies is left out."""
    return {
        f"{step}.{port}": value.get("digest", value)
        for step, ports in result.items()
        for port, value in ports.items()
    }
