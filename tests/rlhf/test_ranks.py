"""Two processes learn what one would with batches twice as large; one of them fails, and it is said."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rlhf.errors import TrainingError
from rlhf.methods import train
from rlhf.ranks import train_in_ranks
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import dataset, recipe

LEARNT = [f"base_model.model.model.layers.{i}.self_attn.v_proj.lora_B.weight" for i in range(2)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("ranks") / "tiny")


def test_two_processes_are_one_with_twice_the_batch(base: Path, tmp_path: Path) -> None:
    data, lines = dataset(tmp_path / "data", count=8), list[str]()
    # All rows a step, whatever their order, and the preference alone, whose loss is a mean over rows.
    how = {"epochs": 6, "sft_weight": 0}
    one = train(recipe(train={**how, "batch": 8}), data, tmp_path / "one", base, tell=lines.append)
    several = recipe(processes=2, train={**how, "batch": 4})
    two = train(several, data, tmp_path / "two", base, tell=lines.append)
    assert (two.steps, two.rows) == (one.steps, one.rows)
    assert two.held_out["reward_accuracy"] == one.held_out["reward_accuracy"]
    losses = [[step["loss"] for step in trained.history] for trained in (one, two)]
    assert losses[0][-1] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)
    alike = [_cosine(*(_learnt(tmp_path / out, name) for out in ("one", "two"))) for name in LEARNT]
    assert min(alike) > 0.9, alike
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )
    assert sum("training: 8 pairs" in line for line in lines) == 2  # once a run, not once a process


def test_what_the_first_process_says_is_raised(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", count=2)
    short = recipe(processes=2, train={"max_tokens": 16})
    with pytest.raises(TrainingError, match=r"no row to train on: .*too long"):
        train(short, data, tmp_path / "out", base, tell=lambda _: None)
    gpus = recipe(processes=64, device="cuda")
    with pytest.raises(TrainingError, match=r"asks for 64 processes, one a GPU, and \d+ GPUs"):
        train_in_ranks(gpus, data, tmp_path / "out", base, None, print)


def test_killed_nothing_goes_on_computing(base: Path, tmp_path: Path) -> None:
    data, out = dataset(tmp_path / "data"), tmp_path / "out"
    long = recipe(processes=2, train={"batch": 2, "epochs": 400})
    long.save(tmp_path / "recipe.yaml")
    command = [sys.executable, "-m", "rlhf", "train", str(tmp_path / "recipe.yaml"), "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--base", str(base)], start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        while not list(out.glob("run/checkpoint-*")):
            assert process.poll() is None
            time.sleep(0.2)
        assert len(_computing(out)) == 2
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    until = time.monotonic() + 30
    while _computing(out) and time.monotonic() < until:
        time.sleep(0.1)
    assert _computing(out) == []
    order = json.loads((out / "ranks.json").read_text())
    assert order["recipe"]["processes"] == 2


def _learnt(out: Path, name: str) -> np.ndarray:
    found: np.ndarray = load_file(out / "adapter" / "adapter_model.safetensors")[name].ravel()
    return found


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Steps of Adam turn rounding into signs, so the same weights to a digit cannot be asked for."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def _computing(out: Path) -> list[int]:
    """Processes that train into a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            b"rlhf.ranks" in words
            and str(out / "ranks.json").encode() in words
            and b"--standalone" not in words
        ):
            found.append(int(path.parent.name))
    return found
