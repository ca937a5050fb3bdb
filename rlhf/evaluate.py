"""A candidate beside what is served now, through the server alone: new answers, tool calls, what is kept."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from rlhf.gate import Check, Judgement
from rlhf.judge import KEPT, Judge, RuleJudge
from rlhf.pairs import Row
from rlhf.preference import own_words
from rlhf.recipe import Evaluate, Gate
from rlhf.serving import Server
from rlhf.starter.answering import ServerAnswerer
from rlhf.starter.cases import Case, handwritten, own, quiet
from rlhf.starter.evaluate import mean, score

WRITTEN = Path(__file__).parent / "starter" / "handwritten.yaml"
Tell = Callable[[str], None]
SIDES: dict[str, dict[str, str]] = {
    "candidate first": {"first": "candidate", "second": "current", "tie": "tie"},
    "current first": {"first": "current", "second": "candidate", "tie": "tie"},
}


@dataclass(frozen=True)
class Evaluation:
    """What was seen; as JSON it is the middle of the report."""

    current: str
    """Id of the model that the candidate is compared with."""
    candidate: str
    judge: str
    judgements: list[dict[str, str]]
    answers: list[dict[str, str]]
    """`prompt_id`, `current`, `candidate` of each held-out prompt."""
    kept: dict[str, float] | None
    """Share of answers that keep the judge's rule, where it is one that an answer can keep."""
    length_ratio: float
    tool_calls: dict[str, dict[str, float]]
    """`current` and `candidate`: share of `exact` calls, of the right `tool`, of `valid` ones; `count`."""
    kinds: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """The same by kind of case; `tool` only where a call is wanted."""

    def as_json(self) -> dict[str, Any]:
        """For files."""
        return asdict(self)

    def judged(self) -> list[Judgement]:
        """For the gate."""
        return [Judgement(**one) for one in self.judgements]  # type: ignore[arg-type]  # literals from JSON


def evaluate(
    server: Server,
    current: str,
    candidate: str,
    rows: Sequence[Row],
    judge: Judge,
    plan: Evaluate,
    tell: Tell,
) -> Evaluation:
    """Ask both models the held-out prompts and the tool-call cases. DeployError where the server fails."""
    rows = rows[: plan.prompts]
    said = {}
    for side, model in (("current", current), ("candidate", candidate)):
        with ThreadPoolExecutor(plan.in_flight) as pool:
            said[side] = list(pool.map(lambda row, model=model: sampled(server, model, row, plan), rows))
        tell(f"{model}: {len(rows)} held-out prompts answered")
    answers = [
        {"prompt_id": str(row["pair_id"]), "current": one, "candidate": other}
        for row, one, other in zip(rows, said["current"], said["candidate"], strict=True)
    ]
    cases = tool_cases(plan.cases, plan.seed)
    kinds = {
        side: figures(server, model, cases, tell)
        for side, model in (("current", current), ("candidate", candidate))
    }
    return Evaluation(
        current,
        candidate,
        judge.name,
        [both_orders(judge, row, a["candidate"], a["current"]) for row, a in zip(rows, answers, strict=True)],
        answers,
        kept(judge, rows, said),
        round(sum(map(len, said["candidate"])) / max(1, sum(map(len, said["current"]))), 4),
        {side: overall(found) for side, found in kinds.items()},
        kinds,
    )


def sampled(server: Server, model: str, row: Row, plan: Evaluate) -> str:
    """A new answer; both models draw with the seed of the prompt."""
    seed = int.from_bytes(hashlib.sha256(str(row["pair_id"]).encode()).digest()[:4])
    options = {"temperature": plan.temperature, "max_tokens": plan.max_tokens, "seed": seed}
    message = server.chat(model, row, **options)["choices"][0]["message"]
    calls = "".join(str(call["function"]) for call in message.get("tool_calls") or ())
    return (message.get("content") or "") + calls


def both_orders(judge: Judge, row: Row, candidate: str, current: str) -> dict[str, str]:
    """One judgement: what the judge says when the candidate comes first, and when it comes second."""
    return {
        "prompt_id": str(row["pair_id"]),
        "first": SIDES["candidate first"][judge.compare(row, candidate, current)],
        "second": SIDES["current first"][judge.compare(row, current, candidate)],
    }


def kept(judge: Judge, rows: Sequence[Row], said: dict[str, list[str]]) -> dict[str, float] | None:
    """Share of answers that keep the rule, of those that it is about."""
    if not isinstance(judge, RuleJudge) or judge.name not in KEPT:
        return None
    about = [at for at, row in enumerate(rows) if KEPT[judge.name](row)]
    if not about:
        return None
    return {
        side: sum(judge.score(rows[at], texts[at]) for at in about) / len(about)
        for side, texts in said.items()
    }


def tool_cases(count: int, seed: int) -> list[Case]:
    """The starter's own examination of calls: known and new wording, talk, hand-written sentences."""
    if not count:
        return []
    rng, words = Random(seed), own_words()
    cases = [*own(rng, words, False, count), *own(rng, words, True, count), *quiet(rng, words, count)]
    return cases + list(handwritten(WRITTEN))


def figures(server: Server, model: str, cases: Sequence[Case], tell: Tell) -> dict[str, dict[str, float]]:
    """Shares by kind of case, greedy."""
    if not cases:
        return {}
    asked = ServerAnswerer(server.url, server.key, server.base())
    # An exact version answers to its id and is in no list.
    asked.model = model
    by_kind, _ = score(cases, asked, lambda text: tell(f"{model}: {text}"))
    return by_kind


def overall(kinds: dict[str, dict[str, float]]) -> dict[str, float]:
    """Over all kinds."""
    rows = list(kinds.values())
    called = [row for row in rows if "tool" in row]
    count = sum(row["count"] for row in rows)
    if not count:
        return {"count": 0}
    return {
        "count": count,
        "exact": mean(rows, "exact"),
        "tool": mean(called, "tool"),
        "valid": mean(rows, "valid"),
    }


def checks(found: Evaluation, trained: dict[str, Any], gate: Gate) -> list[Check]:
    """What must hold beside the win rate."""
    low, high = gate.length
    out = [
        Check("length", low <= found.length_ratio <= high, f"{found.length_ratio:.2f} of the current model's")
    ]
    before, after = found.tool_calls["current"], found.tool_calls["candidate"]
    for name in ("exact", "tool") if before["count"] else ():
        lost = before[name] - after[name]
        text = f"{before[name]:.1%} before, {after[name]:.1%} after, on {before['count']} cases"
        out.append(Check(f"tool calls, {name}", lost <= gate.tool_calls + 1e-9, text))
    held = trained["held_out"]
    if held["rows"]:
        right, change = held["reward_accuracy"], held["chosen_change"]
        text = f"{right:.1%} of {held['rows']} held-out pairs ordered rightly"
        out.append(Check("reward accuracy", right >= gate.reward_accuracy, text))
        text = f"chosen answers {change:+.3f} nats a token"
        out.append(Check("likelihood of chosen answers", change >= -gate.chosen_loss, text))
    if gate.keeps is not None and found.kept is not None:
        text = f"{found.kept['current']:.1%} before, {found.kept['candidate']:.1%} after"
        out.append(Check("rule kept", found.kept["candidate"] >= gate.keeps, text))
    return out
