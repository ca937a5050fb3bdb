"""The judge that a recipe names: a rule, people, another model, or a reward model with rows of its own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlhf.data.build import counter_of, token_facts
from rlhf.data.folder import Dataset, read_dataset, write_dataset
from rlhf.data.split import KEYS, links, split
from rlhf.errors import Leak, RecipeError
from rlhf.judge import RULES, Judge, rule
from rlhf.judge_model import ModelJudge
from rlhf.judge_people import PeopleJudge
from rlhf.recipe import Evaluate
from rlhf.records import PreferenceRow, read_jsonl
from rlhf.registry import file_sha256
from rlhf.serving import Server

if TYPE_CHECKING:
    from rlhf.data.split import Key

PEOPLE, MODEL, REWARD = "people", "model", "reward"
JUDGE, POLICY = "judge", "policy"
"""The two halves of what is trained on, where a reward model is to judge."""


def judge_of(plan: Evaluate, server: Server, base: Path, dataset: Path) -> Judge:
    """Raises RecipeError where what the judge needs is not named or not there, Leak where a reward model has
    seen rows of the dataset.
    """
    if plan.judge in RULES:
        return rule(plan.judge)
    if plan.judge == PEOPLE:
        return PeopleJudge(read_jsonl(Path(plan.judged)) if plan.judged else [])
    if plan.judge == MODEL:
        return ModelJudge(server, _named(plan))
    return _reward_model(Path(_named(plan)), base, dataset)


def _named(plan: Evaluate) -> str:
    if not plan.judge_model:
        what = {
            MODEL: "the id of a model that the server has",
            REWARD: "the folder of a run of `train reward`",
        }
        raise RecipeError(f"the judge `{plan.judge}` needs `judge_model`: {what[plan.judge]}")
    return plan.judge_model


def _reward_model(run: Path, base: Path, dataset: Path) -> Judge:
    from rlhf.reward import RewardModel

    if not (run / "trained.json").is_file() or not (run / REWARD).is_dir():
        raise RecipeError(f"{run} is no run of `python -m rlhf train reward`: it has no trained.json")
    refuse_seen(learnt_from(run), read_dataset(dataset))
    return RewardModel(run / REWARD, base).judge()


def learnt_from(run: Path) -> list[PreferenceRow]:
    """The rows that a reward model was trained on, from the dataset that its run names. RecipeError where
    that is not there any more or is another one: nobody could say what the judge has seen.
    """
    trained = json.loads((run / "trained.json").read_text(encoding="utf-8"))
    folder = Path(str(trained.get("dataset") or ""))
    file = folder / "train.jsonl"
    if not trained.get("dataset") or not file.is_file():
        raise RecipeError(f"the rows that {run} learnt from are not in {folder}: train the judge again")
    if file_sha256(file) != trained["data"][file.name]:
        raise RecipeError(f"{file} is not what {run} learnt from: train the judge again")
    return read_jsonl(file)


def refuse_seen(seen: Sequence[PreferenceRow], dataset: Dataset[Any]) -> None:
    """Leak where rows that the judge learnt from belong together with rows that are trained on or held out:
    the judge would like what it knows, and the adapter would learn the judge.
    """
    rows = [*seen, *dataset.train, *dataset.held_out]
    keys: list[Key] = [key for key in KEYS if key in dataset.manifest["transform"].get("split_by", KEYS)]
    found = [(a, b, key) for a, b, key in links(rows, keys) if (a < len(seen)) != (b < len(seen))]
    if found:
        a, b, key = found[0]
        raise Leak(
            f"{len(found)} rows that the judge learnt from belong to rows of {dataset.folder}, such "
            f"as {rows[a].pair_id} and {rows[b].pair_id} (the same {key}): train it on rows of its own"
        )


def halved(dataset: Path, root: Path, share: float, seed: int) -> tuple[Path, Path]:
    """Two datasets below `root` whose rows to train on share no prompt, session or user: one for the adapter,
    one for its judge; both have what was held out. DatasetError where the rows hang together.
    """
    whole = read_dataset(dataset)
    keys: tuple[Key, ...] = tuple(whole.manifest["transform"].get("split_by", KEYS))
    policy, judge = split(whole.train, share, seed, keys)
    out = []
    for name, rows in ((POLICY, policy), (JUDGE, judge)):
        transform = {**whole.manifest["transform"], "of": whole.digest, "part": name, "judge_share": share}
        parent = {"file": dataset.name, "sha256": whole.digest, "rows": len(whole.train)}
        left = {"the other half": len(whole.train) - len(rows)}
        facts = {
            "kind": whole.manifest["kind"],
            "parents": [parent],
            "transform": transform,
            "left_out": left,
            "findings": {},
            "redacted": {},
            "tokens": token_facts(rows, whole.held_out, counter_of(whole.manifest["kind"])),
        }
        folder = root / f"{whole.digest[:12]}-{name}-{seed}"
        write_dataset(folder, rows, whole.held_out, facts)
        out.append(folder)
    return out[0], out[1]
