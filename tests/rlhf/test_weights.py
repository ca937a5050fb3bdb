"""A row of half weight counts half, one of no weight not at all, and the record counts them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf.dpo import Dpo
from rlhf.kto import Kto
from rlhf.methods import train
from rlhf.pairs import Used
from rlhf.reward import Reward
from rlhf.sft import Sft
from rlhf.training import begin
from rlhf.troubles import hushed
from rlhf.weights import weighed
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import recipe as dpo_plan
from tests.rlhf.preferring import rows, write
from tests.rlhf.trainings import plan, quiet

SMALL: dict[str, Any] = {"lora": {"rank": 4, "alpha": 8}}
METHODS: dict[str, Any] = {"dpo": Dpo, "sft": Sft, "kto": Kto, "reward": Reward}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("weights") / "tiny")


def content(method: str, weights: list[float]) -> list[dict[str, Any]]:
    """Rows of these weights; answers of different lengths, so that no two losses are alike."""
    found = []
    for at, (row, weight) in enumerate(zip(rows(len(weights)), weights, strict=True)):
        said = [{"role": "assistant", "content": "oak " * (at + 1)}]
        answered = {"prompt": row["prompt"], "completion": said, "weight": weight}
        found.append(
            {
                "dpo": {**row, "chosen": said, "weight": weight},
                "reward": {**row, "chosen": said, "weight": weight},
                "sft": answered,
                "kto": {**answered, "label": at % 2 == 0},
            }[method]
        )
    return found


def recipe(method: str) -> Any:
    return dpo_plan() if method == "dpo" else plan(method, **SMALL)


def trainer_of(method: str, base: Path, folder: Path) -> Any:
    """A trainer whose batches have weights, with an adapter that is not its reference."""
    folder.mkdir()
    write(folder / "train.jsonl", content(method, [1.0, 0.5, 1.0, 0.5]))
    own = METHODS[method]()
    used = own.read(folder / "train.jsonl", begin(recipe(method), base), recipe(method))
    with hushed():
        made = own.prepare(recipe(method), used, Used(), folder / "out", base, None)
    torch.manual_seed(1)
    for name, parameter in made.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def losses(trainer: Any, weights: list[float]) -> float:
    """The loss of the whole of its rows, weighed so."""
    batch = dict(next(iter(trainer.get_train_dataloader())))
    assert len(batch["weight"]) == 4
    with hushed(), torch.no_grad():
        return float(trainer.compute_loss(trainer.model, {**batch, "weight": torch.tensor(weights)}))


@pytest.mark.parametrize("method", METHODS)
def test_a_weight_is_the_share_of_a_rows_loss(method: str, base: Path, tmp_path: Path) -> None:
    trainer = trainer_of(method, base, tmp_path / "rows")
    trainer.model.eval()
    single = [losses(trainer, [float(at == one) for at in range(4)]) for one in range(4)]
    assert min(single) > 0
    assert losses(trainer, [1.0, 1.0, 1.0, 1.0]) == pytest.approx(sum(single), rel=1e-4)
    assert losses(trainer, [1.0, 0.5, 0.0, 0.5]) == pytest.approx(
        single[0] + 0.5 * single[1] + 0.5 * single[3], rel=1e-4
    )


@pytest.mark.parametrize("method", METHODS)
def test_equal_weights_are_no_weights(method: str, base: Path, tmp_path: Path) -> None:
    trainer = trainer_of(method, base, tmp_path / "rows")
    trainer.model.eval()
    batch = dict(next(iter(trainer.get_train_dataloader())))
    plain = {name: value for name, value in batch.items() if name != "weight"}
    with hushed(), torch.no_grad():
        unweighed = float(trainer.compute_loss(trainer.model, plain))
    # DPO's own loss takes the mean of the chosen answers' likelihood over tokens, not over rows.
    assert losses(trainer, [1.0] * 4) == pytest.approx(unweighed, rel=1e-4)


def test_weights_have_a_mean_of_one_and_equal_ones_are_left_away() -> None:
    one, half = weighed(Used([{"weight": 1.0}, {"weight": 0.5}]))
    assert (one["weight"], half["weight"]) == (pytest.approx(4 / 3), pytest.approx(2 / 3))
    assert weighed(Used([{"weight": 0.5, "a": 1}, {"weight": 0.5, "a": 2}])) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("method", METHODS)
def test_light_rows_teach_less_and_the_record_counts_them(method: str, base: Path, tmp_path: Path) -> None:
    found, lines = {}, list[str]()
    for light in (1.0, 0.5):
        data = tmp_path / str(light)
        data.mkdir()
        write(data / "train.jsonl", content(method, [1.0, light] * 4))
        out = tmp_path / f"out-{light}"
        trained = train(recipe(method), data, out, base, tell=lines.append if light < 1 else quiet)
        found[light] = trained.digest
        record = json.loads((out / "trained.json").read_text())["rows"]["train"]
        assert record.get("weights") == ({"0.5": 4, "1": 4} if light < 1 else None)
    assert found[1.0] != found[0.5]
    assert "4 of weight 0.5, 4 of weight 1" in lines[0]
