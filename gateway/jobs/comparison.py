"""Evaluations: the pipeline that compares an adapter, and what it has found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.jobs.schemas import CheckedOut, ComparisonOut, EvaluateIn, JobDetail
from rlhf.jobs import State

EVALUATE, REWARD, MODEL = "evaluate", "reward", "model"
SIDES = ("base", "current", "candidate")


def specification(wanted: EvaluateIn, digest: str, dataset: Path) -> dict[str, Any]:
    """A pipeline with the steps of `retrain` that compare, on a version that is there already."""
    said = wanted.model_dump(include={"judge", "judge_model", "prompts", "cases", "likelihood", "seed"})
    recipe = {"method": "dpo", EVALUATE: {name: value for name, value in said.items() if value is not None}}
    about = {"name": wanted.name, "digest": digest, "dataset": str(dataset)}
    steps = {
        "subject": {"kind": "subject", "with": about},
        EVALUATE: {
            "kind": EVALUATE,
            "with": {"name": wanted.name, "recipe": recipe},
            "from": {"version": "subject", "dataset": "subject"},
        },
        "judge": {
            "kind": "judge",
            "with": {"recipe": recipe},
            "from": {"evaluation": EVALUATE, "dataset": "subject"},
        },
        "gate": {
            "kind": "gate",
            "with": {"recipe": recipe},
            "from": {"evaluation": "judge", "trained": "subject"},
        },
        "report": {
            "kind": "report",
            "with": {"beside": False},
            "from": {"version": "subject", "decision": "gate", "evaluation": "judge", "trained": "subject"},
        },
    }
    # Once: whoever waits is to learn at once that the model server is away.
    return {
        "name": EVALUATE,
        "steps": {name: {**step, "retry": {"times": 0}} for name, step in steps.items()},
    }


def comparison(job: JobDetail) -> ComparisonOut:
    """Raises BadRequest for a job that compares nothing, Conflict for one that is not done."""
    decision, found = _output(job, "decision"), _output(job, "evaluation")
    figures = ("verdict", "reasons", "win_rate", "low", "high", "wins", "losses", "ties", "flips")
    wrong = found.get("regression") or {}
    return ComparisonOut(
        job_id=job.id,
        **{name: found[name] for name in ("candidate", "current", "judge", "kept", "length_ratio", "suites")},
        **{name: decision[name] for name in figures},
        checks=[CheckedOut(**check) for check in decision["checks"]],
        likelihood=found["likelihood"],
        regression={
            side: sum(bool(line.get(side)) for line in wrong.values())
            for side in SIDES
            if any(side in line for line in wrong.values())
        },
        html=f"/api/v1/jobs/{job.id}/report",
    )


async def report_of(job: JobDetail, objects: Path) -> Path:
    """The HTML page of a comparison. Raises as `comparison`, NotFound where it was cleared away."""
    page = Path(_output(job, "report")["path"])
    if not page.is_relative_to(objects) or not await asyncio.to_thread(page.is_file):
        raise NotFound(f"The report of job {job.id!r} is not there any more: evaluate again.")
    return page


def _output(job: JobDetail, port: str) -> Mapping[str, Any]:
    """What the last step with such an output gave: that of `judge` goes before that of `evaluate`."""
    if State(job.state) is not State.DONE:
        why = f": {job.error}" if job.error else ""
        raise Conflict(f"The job {job.id!r} is {job.state}{why}; a comparison is there once it is done.")
    steps = job.result.values() if isinstance(job.result, dict) else ()
    found = [step[port] for step in steps if isinstance(step, dict) and isinstance(step.get(port), dict)]
    if port == "evaluation":
        found = [one for one in found if one.get("judge")] or found
    if not found:
        raise BadRequest(f"The job {job.id!r} has compared nothing: it is no evaluation.", param="job")
    one: Mapping[str, Any] = found[-1]
    return one
