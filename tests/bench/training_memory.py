"""What a training was estimated to need beside what it took: `python -m tests.bench.training_memory`.

Each line is a training of the starter on rows of some 640 tokens, in a process of its own, which the kernel
measures: the largest resident set since the base was loaded, less that before. Fails where a training took
more than was planned with: an estimate that is too small lets `auto` choose what does not fit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from rlhf.fit import SPARE
from rlhf.loads import load_of
from rlhf.memory import Estimate, size
from rlhf.methods import STARTER, known, read_recipe
from rlhf.recipe import Trainable
from tests.rlhf.preferring import WORDS, rows, write

NONE: dict[str, Any] = {"replay": {"rows": "none"}}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("sft", {}),
    ("sft", {"train": {"batch": 2, "accumulate": 4}}),
    ("sft", {"train": {"gradient_checkpointing": True}}),
    ("sft", {"train": {"precision": "bfloat16"}}),
    ("sft", {"train": {"precision": "bfloat16"}, "quantisation": "bfloat16"}),
    ("sft", {"quantisation": "int4"}),
    ("sft", {"tuning": "full"}),
    ("dpo", NONE),
    ("dpo", {"train": {"batch": 2}}),
    ("kto", {"train": {"batch": 4}, **NONE}),
    ("reward", {"train": {"batch": 4}}),
]
ROWS, LONG = 8, 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    one = parser.parse_args().one
    if one:
        print(json.dumps(measured(*json.loads(one))))
        return 0
    over = 0
    print("| training | estimated | taken |\n| --- | --- | --- |")
    with TemporaryDirectory() as folder:
        for at, (method, changes) in enumerate(CASES):
            data = Path(folder) / f"data-{method}"
            if not data.exists():
                written(data, method)
            order = json.dumps([method, changes, str(data), str(Path(folder) / f"out-{at}")])
            # Memory that is given back has to go back, or the largest set says nothing of the last part.
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
            command = [sys.executable, "-m", "tests.bench.training_memory", "--one", order]
            run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            needed, taken = json.loads(run.stdout.splitlines()[-1])
            over += taken > needed / SPARE
            print(f"| {named(method, changes)} | {size(needed)} | {size(taken)} |", flush=True)
    return over > 0


def named(method: str, changes: dict[str, Any]) -> str:
    """A training in words."""
    said = {**{key: value for key, value in changes.items() if key not in ("train", "replay")}}
    said |= changes.get("train", {})
    return ", ".join([method, *(f"{key} {value}".lower() for key, value in said.items())])


def written(folder: Path, method: str) -> None:
    """Rows whose prompts are long."""
    found = []
    for at, row in enumerate(rows(ROWS)):
        row["prompt"][0]["content"] = f"{at} " + " ".join(random.Random(at).choices(WORDS, k=LONG))
        thumb = {"prompt": row["prompt"], "completion": row["chosen"]}
        found.append(
            row
            if method in ("dpo", "reward")
            else thumb
            if method == "sft"
            else {**thumb, "label": at % 2 == 0}
        )
    folder.mkdir()
    write(folder / "train.jsonl", found)


def measured(method: str, changes: dict[str, Any], data: str, out: str) -> tuple[int, int]:
    """Bytes that one training is estimated to need, and that it takes."""
    from importlib import import_module

    from rlhf.training import begin, carry_out

    train = {"epochs": 1, "max_tokens": 2048, "save_steps": 100, **changes.get("train", {})}
    recipe = read_recipe(method, **{**changes, "threads": 2, "train": train})
    assert isinstance(recipe, Trainable)
    way: Any = getattr(import_module(known(method).module), known(method).way)
    tokenizer = begin(recipe, STARTER)
    load = load_of(recipe, way().read(Path(data) / "train.jsonl", tokenizer, recipe), tokenizer, False)
    needed = Estimate(STARTER, load).need(recipe).total
    process = psutil.Process()
    before = int(process.memory_info().rss)
    Path("/proc/self/clear_refs").write_text("5")  # begin anew with the largest set
    carry_out(way(), recipe, Path(data), Path(out), STARTER, None, lambda _: None)
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return needed, int(lines["VmHWM"].split()[0]) * 1024 - before


if __name__ == "__main__":
    sys.exit(main())
