"""`evaluate`: the figures of the card, from cases that were never trained on."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlhf.starter.answering import Answerer
from rlhf.starter.cases import Case
from rlhf.starter.judge import Reply, Verdict, judge

CALLING = ("own tools", "hand-written", "dialogues", "SQL")


def score(
    cases: Sequence[Case], answerer: Answerer, tell: Callable[[str], None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(figures by kind, every miss)."""
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    misses = []
    began = time.monotonic()
    for case, reply in zip(cases, answerer.answer(cases), strict=True):
        verdict = judge(case, reply)
        verdicts[case.kind].append(verdict)
        if not verdict.exact:
            misses.append(miss(case, reply))
    figures = {kind: summary(kind, group) for kind, group in verdicts.items()}
    tell(f"{len(cases)} cases in {time.monotonic() - began:.0f} s")
    return figures, misses


def share(flags: Any) -> float:
    found = [bool(flag) for flag in flags]
    return round(sum(found) / max(1, len(found)), 4)


def summary(kind: str, group: Sequence[Verdict]) -> dict[str, Any]:
    out: dict[str, Any] = {"count": len(group), "valid": share(v.valid for v in group)}
    if kind.startswith(CALLING):
        out["tool"] = share(v.tool for v in group)
    out["exact"] = share(v.exact for v in group)
    return out


def miss(case: Case, reply: Reply) -> dict[str, Any]:
    said = next(m["content"] for m in reversed(case.messages) if m["role"] == "user")
    expected = case.answer if case.answer is not None else case.call
    return {"kind": case.kind, "said": said, "expected": expected, "got": reply.text}


def overall(figures: dict[str, Any]) -> dict[str, Any]:
    """Valid calls over all cases, the right tool over those that want one."""
    rows = [row for kind, row in figures.items() if kind != "all"]
    called = [row for row in rows if "tool" in row]
    return {
        "count": sum(row["count"] for row in rows),
        "valid": mean(rows, "valid"),
        "tool": mean(called, "tool"),
    }


def mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    """The mean of a share over kinds, each with its count of cases."""
    cases = sum(int(row["count"]) for row in rows)
    return round(sum(float(row[name]) * int(row["count"]) for row in rows) / max(1, cases), 4)


def write_report(path: Path, name: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Put one way of decoding's kinds into the report, keeping the rest; returns that way's part."""
    report = json.loads(path.read_text()) if path.exists() else {}
    part = {**report.get(name, {}), **figures}
    report[name] = {**part, "all": overall(part)}
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return dict(report[name])
