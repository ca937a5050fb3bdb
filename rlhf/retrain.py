"""From pairs to a promoted adapter in one go: dataset, training, evaluation, gate, deployment, report.

Every step is kept in OUT/steps with the hash of what it depends on; the same command again does only what is
missing or has changed.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlhf.data.build import Plan, build
from rlhf.data.folder import manifest_digest, withdrawal
from rlhf.data.limit import MEGABYTES, refuse_large
from rlhf.data.pii import configured
from rlhf.data.split import KEYS
from rlhf.deploy import deploy, loaded
from rlhf.dpo import DEPENDS, train
from rlhf.evaluate import CANDIDATE, CURRENT, Evaluation, Sides, checks, evaluate, judged
from rlhf.gate import Decision, decide
from rlhf.judge_people import write_pairs
from rlhf.judging import PEOPLE, REWARD, halved, judge_of
from rlhf.methods import RewardRecipe, read_recipe
from rlhf.pairs import read_rows
from rlhf.preference import planted
from rlhf.recipe import Evaluate, Recipe
from rlhf.registry import (
    LIVE,
    SHORT,
    Registry,
    Version,
    content_digest,
    file_sha256,
    folder_digest,
    weights_of,
)
from rlhf.report import rate_of, write_report
from rlhf.runs import code_versions
from rlhf.serving import Server
from rlhf.steps import Result, Steps

JUDGING = {"judge", "judge_model", "judge_share", "judged"}
"""What a plan says of the judge alone: the answers are the same whoever judges them."""
TO_JUDGE = "to_judge.jsonl"
STARTER = Path(__file__).parent / "starter" / "model"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is wanted."""

    name: str
    out: Path
    recipe: Recipe
    pairs: Path | None = None
    """JSON lines of preferences; None plants `planted` of our own."""
    planted: int = 200
    base: Path = STARTER
    from_live: bool = False
    """Go on from the adapter that is live instead of beginning a new one."""
    dry: bool = False
    """Decide, and deploy nothing."""
    megabytes: int = MEGABYTES
    """Most that is read of the file of pairs."""


class Retraining:
    """One chain in one folder."""

    def __init__(self, order: Order, server: Server, tell: Tell) -> None:
        self.order, self.server, self.tell = order, server, tell
        order.out.mkdir(parents=True, exist_ok=True)
        order.recipe.save(order.out / "recipe.yaml")
        self.registry = Registry(order.out)
        self.steps = Steps(order.out / "steps", tell)
        self.dataset, self.work = order.out / "datasets", order.out / "train"
        self.plan: Evaluate = order.recipe.evaluate

    def run(self) -> dict[str, Any]:
        """Everything; the report's content. RlhfError of the step that failed."""
        began = time.monotonic()
        self._pairs()
        digest = self._dataset()["digest"]
        if self.plan.judge == REWARD and not self.plan.judge_model:
            digest = self._judge_of_its_own()
        parent = self._parent()
        trained = self._train(digest, parent)
        version = self._registered(trained, digest, parent)
        found = self._judged(self._evaluate(version, digest))
        decision = self._gate(found, trained)
        deployed = self._deploy(version, decision, digest)
        content = {
            "title": f"{self.order.name} {version.short}",
            "adapter": {"name": self.order.name, "digest": version.digest},
            "recipe": self.order.recipe.model_dump(mode="json"),
            "decision": asdict(decision),
            "evaluation": found.as_json(),
            "trained": trained,
            "deployed": deployed,
            "steps": [
                (s.name, s.seconds, "reused" if s.reused else "done", summary(s.name, s.result))
                for s in self.steps.done
            ],
            "seconds": round(time.monotonic() - began, 1),
        }
        write_report(version.folder, content)
        write_report(self.order.out, content)
        return content

    def _pairs(self) -> Result:
        file = self.order.out / "pairs.jsonl"

        if self.order.pairs is not None:
            refuse_large([self.order.pairs], self.order.megabytes)
            return {"pairs": len(read_rows(self.order.pairs)), "sha256": file_sha256(self.order.pairs)}
        lines = [
            json.dumps(row, ensure_ascii=False) + "\n"
            for row in planted(self.order.planted, self.order.recipe.seed)
        ]

        def work() -> Result:
            file.write_text("".join(lines), encoding="utf-8")
            return {"pairs": len(lines), "sha256": file_sha256(file)}

        return self.steps.run("pairs", lines, work, lambda r: same_file(file, r["sha256"]))

    def _dataset(self) -> Result:
        source = self.order.pairs or self.order.out / "pairs.jsonl"
        recipe, data = self.order.recipe, self.order.recipe.data
        inputs = [file_sha256(source), recipe.digest("data", "seed")]
        inputs += [json.dumps(configured().facts)] if data.redact_pii else []
        # A dataset is never changed: other rows, or another split, are another folder.
        self.dataset = self.order.out / "datasets" / Steps.key("dataset", inputs)[:SHORT]

        def work() -> Result:
            kept = tuple(key for key in KEYS if key != "user" or not data.users_may_cross)
            plan = Plan(data.held_out, recipe.seed, data.redact_pii, kept)
            manifest, _ = build([source], self.dataset, plan, self.order.megabytes)
            if left := {name: count for name, count in manifest["left_out"].items() if count}:
                self.tell(f"left out of the dataset: {', '.join(f'{n} {what}' for what, n in left.items())}")
            return {"digest": manifest["digest"], "rows": manifest["rows"]}

        def still(result: Result) -> bool:
            file = self.dataset / "manifest.json"
            same = file.is_file() and json.loads(file.read_text())["digest"] == result["digest"]
            return same and not withdrawal(self.dataset)

        return self.steps.run("dataset", inputs, work, still)

    def _parent(self) -> Version | None:
        live = self.registry.aliases(self.order.name).get(LIVE)
        return self.registry.find(self.order.name, live) if self.order.from_live and live else None

    def _train(self, dataset: str, parent: Version | None) -> Result:
        recipe, adapter = self.order.recipe, self.work / "adapter"
        what = recipe.digest(*DEPENDS)

        def work() -> Result:
            return asdict(
                train(
                    recipe,
                    self.dataset,
                    self.work,
                    self.order.base,
                    parent.folder if parent else None,
                    self.tell,
                )
            )

        def still(result: Result) -> bool:
            return adapter.is_dir() and content_digest(adapter) == result["digest"]

        inputs = [dataset, what, weights_of(self.order.base), parent.digest if parent else None]
        return self.steps.run("train", inputs, work, still)

    def _registered(self, trained: Result, dataset: str, parent: Version | None) -> Version:
        held = trained["held_out"]
        lineage = {
            "base": {"path": str(self.order.base), "sha256": weights_of(self.order.base)},
            "dataset_digest": dataset,
            # As it was resolved: nothing in it is `auto`.
            "recipe": trained["recipe"],
            "code": code_versions(),
            "metrics": held,
            "parent": parent.digest if parent else None,
        }
        pairs = read_rows(self.dataset / "train.jsonl")
        version = self.registry.add(self.order.name, self.work / "adapter", lineage, pairs)
        if self.registry.aliases(self.order.name).get(LIVE) != version.digest:
            self.registry.propose(version)
        return version

    def _judge_of_its_own(self) -> str:
        """Train a reward model on a part of the rows, which the adapter then does not learn from; the digest
        of the rest.
        """
        share, seed = self.plan.judge_share, self.order.recipe.seed
        self.dataset, rows = halved(self.dataset, self.order.out / "datasets", share, seed)
        recipe, run = (
            read_recipe(REWARD, seed=seed, threads=self.order.recipe.threads),
            self.order.out / "judge",
        )
        assert isinstance(recipe, RewardRecipe)

        def work() -> Result:
            from rlhf.reward import train as train_judge

            return asdict(train_judge(recipe, rows, run, self.order.base, None, self.tell))

        def still(result: Result) -> bool:
            return (run / REWARD).is_dir() and folder_digest(run / REWARD) == result["digest"]

        inputs = [manifest_digest(rows), recipe.digest(), weights_of(self.order.base)]
        self.steps.run(REWARD, inputs, work, still)
        self.plan = self.plan.model_copy(update={"judge_model": str(run)})
        return manifest_digest(self.dataset)

    def _evaluate(self, version: Version, dataset: str) -> Evaluation:
        was = self.server.stable(self.order.name)
        file = self.order.out / "steps" / "evaluate.json"
        if was == version.digest and file.is_file():
            # It is live already: what it was compared with then is gone from the name, and still recorded.
            was = json.loads(file.read_text())["result"].get("against")
        base = self.server.base()
        current = base + (f":{self.order.name}@{was}" if was else "")
        folders = {CURRENT: self.registry.find(self.order.name, was).folder} if was else {}

        def work() -> Result:
            rows = read_rows(self.dataset / "held_out.jsonl")
            with loaded(self.server, version) as candidate:
                sides = Sides(
                    base, current, candidate, {**folders, CANDIDATE: version.folder}, self.order.base
                )
                found = evaluate(self.server, sides, rows, self.plan, self.tell)
            return {**found.as_json(), "against": was}

        asked = self.plan.model_dump(mode="json", exclude=JUDGING)
        asked |= {"regression": file_sha256(Path(self.plan.regression)) if self.plan.regression else ""}
        result = dict(self.steps.run("evaluate", [version.digest, was, dataset, asked], work, lambda _: True))
        result.pop("against")
        return Evaluation(**result)

    def _judged(self, found: Evaluation) -> Evaluation:
        rows = read_rows(self.dataset / "held_out.jsonl")
        if self.plan.judge == PEOPLE and not self.plan.judged:
            # Beside the evaluation, which goes too when somebody is forgotten.
            file = self.steps.folder / TO_JUDGE
            count = write_pairs(found.answers, rows, file)
            self.tell(f"{count} pairs to judge are in {file}; then set evaluate.judged to what was said")

        def work() -> Result:
            judge = judge_of(self.plan, self.server, self.order.base, self.dataset)
            return judged(found, judge, rows).as_json()

        how = self.plan.model_dump(mode="json", include=JUDGING)
        how |= {"judged": file_sha256(Path(self.plan.judged)) if self.plan.judged else ""}
        return Evaluation(**self.steps.run("judge", [found.as_json(), how], work, lambda _: True))

    def _gate(self, found: Evaluation, trained: Result) -> Decision:
        gate = self.order.recipe.gate
        decision = decide(
            found.judged(),
            checks(found, trained, gate),
            minimum=gate.minimum,
            confidence=gate.confidence,
        )
        inputs = [found.as_json(), self.order.recipe.digest("gate")]
        self.steps.run("gate", inputs, lambda: asdict(decision), lambda _: True)
        return decision

    def _deploy(self, version: Version, decision: Decision, dataset: str) -> Result | None:
        if decision.verdict != "promote" or self.order.dry:
            return None

        def work() -> Result:
            rows = read_rows(self.dataset / "held_out.jsonl")
            return asdict(
                deploy(
                    self.server,
                    self.registry,
                    version,
                    self.order.base,
                    rows,
                    self.order.recipe.deploy,
                    self.tell,
                )
            )

        def still(result: Result) -> bool:
            return bool(self.server.stable(self.order.name) == result["digest"])

        inputs = [version.digest, self.server.url, self.order.recipe.digest("deploy")]
        return self.steps.run("deploy", inputs, work, still)


def summary(name: str, result: Result) -> str:
    """A step's result in a few words."""
    shown = {
        "pairs": lambda r: f"{r['pairs']} pairs",
        "dataset": lambda r: f"{r['rows']['train']} to train on, {r['rows']['held_out']} held out",
        "train": lambda r: (
            f"{r['digest'][7:19]}, {r['steps']} steps, "
            f"{r['held_out'].get('reward_accuracy', 0):.0%} of held-out pairs ordered rightly"
        ),
        "evaluate": lambda r: (
            f"{len(r['answers'])} prompts, {sum(s[CURRENT]['count'] for s in r['suites'].values())} cases"
        ),
        "judge": lambda r: f"{len(r['judgements'])} pairs, by {r['judge']}",
        REWARD: lambda r: (
            f"the judge orders {r['held_out'].get('reward_accuracy', 0):.0%} of held-out pairs rightly"
        ),
        "gate": lambda r: f"{r['verdict']}: win rate {rate_of(r)} ({r['low']:.2f} to {r['high']:.2f})",
        "deploy": lambda r: f"{r['model']} is {r['digest'][7:19]}, parity {r['parity']:.2%}",
    }
    return str(shown[name](result))


def same_file(file: Path, sha256: str) -> bool:
    """Whether a file is what it was."""
    return file.is_file() and file_sha256(file) == sha256
