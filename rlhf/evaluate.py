"""A candidate beside what is served now and the base: new answers, suites, likelihoods, what is kept."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rlhf.gate import Check, Judgement
from rlhf.judge import KEPT, Judge, RuleJudge
from rlhf.likelihood import BASE, likelihoods
from rlhf.pairs import Row
from rlhf.preference import kept_rows
from rlhf.recipe import Evaluate, Gate
from rlhf.regression import faults, read_set
from rlhf.serving import Server
from rlhf.starter.answering import ServerAnswerer
from rlhf.starter.cases import Case
from rlhf.starter.evaluate import score
from rlhf.suites import CALLS, SUITES, cases_of, overall

Tell = Callable[[str], None]
CURRENT, CANDIDATE = "current", "candidate"
ORDERS: dict[str, dict[str, str]] = {
    "candidate first": {"first": CANDIDATE, "second": CURRENT, "tie": "tie"},
    "current first": {"first": CURRENT, "second": CANDIDATE, "tie": "tie"},
}
HELD_OUT, OTHER = "held-out answers", "other work"


@dataclass(frozen=True)
class Sides:
    """The models that are compared: ids of the server, and the PEFT folders of those that have one here."""

    base: str
    current: str
    candidate: str
    folders: Mapping[str, Path] = field(default_factory=dict)
    """`current` and `candidate`."""
    base_folder: Path | None = None
    """transformers folder of the base; without it nothing is said of likelihoods."""

    def models(self) -> dict[str, str]:
        """Side to id; the base is a side of its own only where something else is served now."""
        sides = {CURRENT: self.current, CANDIDATE: self.candidate}
        return sides if self.current == self.base else {BASE: self.base, **sides}


@dataclass(frozen=True)
class Evaluation:
    """What was seen; as JSON it is the middle of the report. A side is base, current or candidate."""

    current: str
    """Id of the model that the candidate is compared with."""
    candidate: str
    judge: str
    """Who judged; empty before anybody did."""
    judgements: list[dict[str, str]]
    answers: list[dict[str, str]]
    """`prompt_id`, `current`, `candidate` of each held-out prompt."""
    kept: dict[str, float] | None
    """Share of answers that keep the judge's rule, where it is one that an answer can keep."""
    length_ratio: float
    suites: dict[str, dict[str, dict[str, float]]]
    """Suite to side to shares over its kinds of cases: `exact`, `valid`, the right `tool`; `count`."""
    kinds: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """Side to kind of case to the same."""
    likelihood: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """`held-out answers` and `other work` to side to `perplexity`, `kl` from the base and `tokens`."""
    regression: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Line of the regression set to side to what was wrong, null where nothing was."""

    def as_json(self) -> dict[str, Any]:
        """For files."""
        return asdict(self)

    def judged(self) -> list[Judgement]:
        """For the gate."""
        return [Judgement(**one) for one in self.judgements]  # type: ignore[arg-type]  # literals from JSON


def evaluate(server: Server, sides: Sides, rows: Sequence[Row], plan: Evaluate, tell: Tell) -> Evaluation:
    """Ask all sides the held-out prompts, the suites and the regression set; nothing is judged yet.

    Raises:
        DeployError: the server fails, or an adapter does not go on the base.
        BadRecords: a line of the regression set is none.
    """
    lines = read_set(Path(plan.regression)) if plan.regression else []
    rows = rows[: plan.prompts]
    said = {side: _answers(server, getattr(sides, side), rows, plan, tell) for side in (CURRENT, CANDIDATE)}
    answers = [
        {"prompt_id": str(row["pair_id"]), CURRENT: one, CANDIDATE: other}
        for row, one, other in zip(rows, said[CURRENT], said[CANDIDATE], strict=True)
    ]
    suites: dict[str, dict[str, dict[str, float]]] = {suite: {} for suite in SUITES}
    kinds: dict[str, dict[str, dict[str, float]]] = {}
    wrong: dict[str, dict[str, str | None]] = {line.name: {} for line in lines}
    for side, model in sides.models().items():
        found = {
            suite: figures(server, model, cases_of(suite, plan.cases, plan.seed), tell) for suite in SUITES
        }
        kinds[side] = {kind: row for by_kind in found.values() for kind, row in by_kind.items()}
        for suite, by_kind in found.items():
            suites[suite][side] = overall(by_kind)
        for name, fault in faults(server, model, lines).items():
            wrong[name][side] = fault
    length = round(sum(map(len, said[CANDIDATE])) / max(1, sum(map(len, said[CURRENT]))), 4)
    likely = _likelihood(sides, rows, plan)
    return Evaluation(
        sides.current, sides.candidate, "", [], answers, None, length, suites, kinds, likely, wrong
    )


def judged(found: Evaluation, judge: Judge, rows: Sequence[Row]) -> Evaluation:
    """The same with each pair of answers judged in both orders. `rows`: the held-out ones, in any order."""
    by_id = {str(row["pair_id"]): row for row in rows}
    asked = [by_id[one["prompt_id"]] for one in found.answers]
    judgements = [
        both_orders(judge, row, one[CANDIDATE], one[CURRENT])
        for row, one in zip(asked, found.answers, strict=True)
    ]
    said = {side: [one[side] for one in found.answers] for side in (CURRENT, CANDIDATE)}
    return replace(found, judge=judge.name, judgements=judgements, kept=kept(judge, asked, said))


def _answers(server: Server, model: str, rows: Sequence[Row], plan: Evaluate, tell: Tell) -> list[str]:
    with ThreadPoolExecutor(plan.in_flight) as pool:
        out = list(pool.map(lambda row: sampled(server, model, row, plan), rows))
    tell(f"{model}: {len(rows)} held-out prompts answered")
    return out


def sampled(server: Server, model: str, row: Row, plan: Evaluate) -> str:
    """A new answer; all models draw with the seed of the prompt."""
    seed = int.from_bytes(hashlib.sha256(str(row["pair_id"]).encode()).digest()[:4])
    options = {"temperature": plan.temperature, "max_tokens": plan.max_tokens, "seed": seed}
    message = server.chat(model, row, **options)["choices"][0]["message"]
    calls = "".join(str(call["function"]) for call in message.get("tool_calls") or ())
    return (message.get("content") or "") + calls


def both_orders(judge: Judge, row: Row, candidate: str, current: str) -> dict[str, str]:
    """One judgement: what the judge says when the candidate comes first, and when it comes second."""
    return {
        "prompt_id": str(row["pair_id"]),
        "first": ORDERS["candidate first"][judge.compare(row, candidate, current)],
        "second": ORDERS["current first"][judge.compare(row, current, candidate)],
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


def figures(server: Server, model: str, cases: Sequence[Case], tell: Tell) -> dict[str, dict[str, float]]:
    """Shares by kind of case, greedy."""
    if not cases:
        return {}
    asked = ServerAnswerer(server.url, server.key, server.base())
    # An exact version answers to its id and is in no list.
    asked.model = model
    by_kind, _ = score(cases, asked, lambda text: tell(f"{model}: {text}"))
    return by_kind


def _likelihood(sides: Sides, rows: Sequence[Row], plan: Evaluate) -> dict[str, dict[str, dict[str, float]]]:
    """On the preferred answers to the held-out prompts, and on work that no preference is about."""
    if sides.base_folder is None or not plan.likelihood:
        return {}
    other = [row | {"chosen": row["completion"]} for row in kept_rows(plan.likelihood, plan.seed)]
    texts = {HELD_OUT: rows[: plan.likelihood], OTHER: other}
    return {
        what: likelihoods(sides.base_folder, sides.folders, some, plan.likelihood_tokens)
        for what, some in texts.items()
    }


def checks(found: Evaluation, trained: dict[str, Any], gate: Gate) -> list[Check]:
    """What must hold beside the win rate."""
    low, high = gate.length
    text = f"{found.length_ratio:.2f} of the current model's"
    out = [Check("length", low <= found.length_ratio <= high, text)]
    out += [check for suite in found.suites for check in _suite_checks(found, suite, gate)]
    held = trained["held_out"]
    if "reward_accuracy" in held:
        right = held["reward_accuracy"]
        text = f"{right:.1%} of {held['rows']} held-out pairs ordered rightly"
        out.append(Check("reward accuracy", right >= gate.reward_accuracy, text))
    if "chosen_change" in held:
        change = held["chosen_change"]
        text = f"chosen answers {change:+.3f} nats a token"
        out.append(Check("likelihood of chosen answers", change >= -gate.chosen_loss, text))
    out += _likelihood_checks(found, gate)
    if found.regression:
        lost = [name for name, wrong in found.regression.items() if wrong[CANDIDATE] and not wrong[CURRENT]]
        text = f"{len(lost)} of {len(found.regression)} lines lost" + (
            f": {', '.join(lost[:3])}" if lost else ""
        )
        out.append(Check("regression set", not lost, text))
    if gate.keeps is not None and found.kept is not None:
        text = f"{found.kept[CURRENT]:.1%} before, {found.kept[CANDIDATE]:.1%} after"
        out.append(Check("rule kept", found.kept[CANDIDATE] >= gate.keeps, text))
    return out


def _suite_checks(found: Evaluation, suite: str, gate: Gate) -> list[Check]:
    """Shares of a suite that may be lost: the right tool counts in calls alone."""
    before, after = found.suites[suite].get(CURRENT), found.suites[suite].get(CANDIDATE)
    if not before or not after or not before["count"]:
        return []
    allowed = gate.tool_calls if suite == CALLS else gate.suites
    return [
        Check(
            f"{suite}, {name}",
            before[name] - after[name] <= allowed + 1e-9,
            f"{before[name]:.1%} before, {after[name]:.1%} after, on {before['count']} cases",
        )
        for name in (("exact", "tool") if suite == CALLS else ("exact",))
    ]


def _likelihood_checks(found: Evaluation, gate: Gate) -> list[Check]:
    """How far it went from the base, and how likely it finds work that the preference is not about."""
    out = []
    for what, sides in found.likelihood.items():
        if CANDIDATE in sides:
            spent = sides[CANDIDATE]["kl"]
            text = f"{spent:.3f} nats a token from the base, {gate.kl:g} allowed"
            out.append(Check(f"divergence, {what}", spent <= gate.kl, text))
    if CANDIDATE in (other := found.likelihood.get(OTHER, {})):
        before = other.get(CURRENT, other[BASE])["perplexity"]
        ratio = other[CANDIDATE]["perplexity"] / before
        text = f"{before:.3f} before, {other[CANDIDATE]['perplexity']:.3f} after"
        out.append(Check(f"perplexity, {OTHER}", ratio <= gate.perplexity, text))
    return out
