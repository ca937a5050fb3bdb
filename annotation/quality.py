"""How far the judgements of a set of tasks can be trusted, in one table of numbers."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any

from annotation.agreement import Shown, cohen_kappa, flip_rate, krippendorff_alpha, position_bias
from annotation.tasks import Judgement, Task

PLACES: Mapping[str, Shown] = {"left": "first", "right": "second", "tie": "tie", "both_bad": "tie"}
Found = list[tuple[Task, Judgement]]


def quality(tasks: Iterable[Task], judgements: Iterable[Judgement]) -> dict[str, Any]:
    """Agreement, accuracy on tasks with a known answer, and what verdicts depend on. Plain JSON.

    The newest judgement of a person on a task counts. Shares are between 0 and 1, times in seconds; a number
    that there is not enough to work out is None.

    Returns:
        tasks, judged (tasks), judgements, of_unknown_tasks (not counted elsewhere), choices {choice: how
        often}, agreement {pairs_judged_by_several, kappa (mean over pairs of annotators), alpha
        (Krippendorff, nominal)}, and the measures of `_measures` over all and, in `annotators`, by name.
        Labels of `agreement` are which of the two answers is better, not its side.
    """
    known = {task.task_id: task for task in tasks}
    given = list(judgements)
    found = [(known[j.task_id], j) for j in newest(given) if j.task_id in known]
    people = sorted({judgement.annotator for _, judgement in found})
    return {
        "tasks": len(known),
        "judged": len({task.task_id for task, _ in found}),
        "judgements": len(found),
        "of_unknown_tasks": sum(judgement.task_id not in known for judgement in given),
        "choices": dict(sorted(Counter(judgement.choice for _, judgement in found).items())),
        "agreement": _agreement(found, people),
        **_measures(found),
        "annotators": {
            name: {"judgements": len(own), **_measures(own)}
            for name in people
            for own in [[pair for pair in found if pair[1].annotator == name]]
        },
    }


def newest(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Of each person and task the last word."""
    last: dict[tuple[str, str], Judgement] = {}
    for judgement in sorted(judgements, key=lambda j: j.at):
        last[judgement.task_id, judgement.annotator] = judgement
    return list(last.values())


def _measures(found: Found) -> dict[str, Any]:
    """gold {judged, right, accuracy}, position {left, right, left_share, p_value}, flips {pairs, rate},
    median_seconds."""
    gold = [task.gold == judgement.choice for task, judgement in found if task.gold]
    bias = position_bias([PLACES[judgement.choice] for _, judgement in found])
    twice = _both_orders(found)
    times = [judgement.seconds for _, judgement in found if judgement.seconds is not None]
    return {
        "gold": {
            "judged": len(gold),
            "right": sum(gold),
            "accuracy": sum(gold) / len(gold) if gold else None,
        },
        "position": {
            "left": bias.first,
            "right": bias.second,
            "left_share": bias.share,
            "p_value": bias.p_value,
        },
        "flips": {"pairs": len(twice), "rate": flip_rate(twice)},
        "median_seconds": median(times) if times else None,
    }


def _both_orders(found: Found) -> list[tuple[Shown, Shown]]:
    """Verdicts of one person on one pair, shown in one order and in the other."""
    shown: dict[tuple[str, str], dict[bool, Shown]] = defaultdict(dict)
    for task, judgement in found:
        shown[task.pair, judgement.annotator][task.left_is_first] = PLACES[judgement.choice]
    return [(orders[True], orders[False]) for orders in shown.values() if len(orders) == 2]


def _agreement(found: Found, people: Sequence[str]) -> dict[str, Any]:
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    for task, judgement in sorted(found, key=lambda pair: pair[1].at):
        # The first time counts: somebody who sees a pair again is no second witness.
        labels[task.pair].setdefault(judgement.annotator, _better(task, judgement))
    units = [[unit.get(name) for name in people] for unit in labels.values()]
    several = [unit for unit in units if sum(label is not None for label in unit) > 1]
    columns = list(zip(*units, strict=True))
    kappas = [cohen_kappa(one, other) for one, other in combinations(columns, 2)]
    measured = [kappa for kappa in kappas if kappa is not None]
    return {
        "pairs_judged_by_several": len(several),
        "kappa": sum(measured) / len(measured) if measured else None,
        "alpha": krippendorff_alpha(units),
    }


def _better(task: Task, judgement: Judgement) -> str:
    """Which answer was preferred, named independently of the side that it was on."""
    if judgement.choice in ("left", "right"):
        return "one" if (judgement.choice == "left") == task.left_is_first else "other"
    return judgement.choice
