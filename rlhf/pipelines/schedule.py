"""Pipelines that are asked for by themselves: by the calendar, when enough rows are new, when rows drift.

JOBS/schedules/NAME.json holds a pipeline and what was seen when it ran last. The worker looks every
RLHF_SCHEDULE_SECONDS; the job's id follows from what made it due, so that several workers ask for one job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from croniter import croniter  # type: ignore[import-untyped]  # it has no types

from rlhf.errors import JobNotFound, PipelineError
from rlhf.jobs import ENDED, Jobs, Kind
from rlhf.pipelines.drift import profile, psi, rows_after
from rlhf.pipelines.trigger import NAME, Trigger
from rlhf.registry import write

FEW = 30
"""Fewer new rows than this say nothing about drift."""


def keep(folder: Path, content: Mapping[str, Any], given: Mapping[str, Any], now: float | None = None) -> str:
    """Let a pipeline be run by itself; says when. PipelineError where its `schedule` makes no sense."""
    trigger = Trigger.model_validate(content.get("schedule") or {})
    if trigger.cron is None and trigger.new_rows is None and trigger.drift is None:
        raise PipelineError(f"{content['name']}: give its `schedule` one of `cron`, `new_rows` and `drift`")
    if trigger.cron is not None and not croniter.is_valid(trigger.cron):
        raise PipelineError(f"{content['name']}: `{trigger.cron}` is no cron expression (minute hour day …)")
    if (trigger.new_rows or trigger.drift) and not trigger.rows:
        raise PipelineError(f"{content['name']}: `new_rows` and `drift` need `rows`, a file of JSON lines")
    file = _file(folder, str(content["name"]))
    file.parent.mkdir(parents=True, exist_ok=True)
    seen, rows = rows_after(Path(trigger.rows), 0) if trigger.rows else (0, [])
    at = datetime.now(UTC).timestamp() if now is None else now
    state = {"at": at, "seen": seen, "profile": profile(rows), "job": None}
    write(file, {"content": dict(content), "given": dict(given), "state": state})
    return _told(trigger)


@dataclass(frozen=True)
class Scheduled:
    """A pipeline that runs by itself.

    Attributes:
        when: in words.
        given: its parameters.
        seen_at: Unix time of its last run, or of when it was put here.
        job: id of the job that was asked for last.
    """

    name: str
    when: str
    given: Mapping[str, Any]
    seen_at: float
    job: str | None


def listed(folder: Path) -> list[Scheduled]:
    """All, by name."""
    return [
        _scheduled(json.loads(file.read_text())) for file in sorted((folder / "schedules").glob("*.json"))
    ]


def _scheduled(entry: Mapping[str, Any]) -> Scheduled:
    content, state = entry["content"], entry["state"]
    when = _told(Trigger.model_validate(content["schedule"]))
    return Scheduled(content["name"], when, entry["given"], state["at"], state["job"])


def forget(folder: Path, name: str) -> None:
    """Run it no longer by itself. PipelineError where it is not."""
    try:
        _file(folder, name).unlink()
    except FileNotFoundError as error:
        raise PipelineError(f"{name} does not run by itself") from error


def tick(folder: Path, jobs: Jobs, now: float | None = None) -> list[str]:
    """Ask for every pipeline that is due and does not run still; the ids of their jobs."""
    at = datetime.now(UTC).timestamp() if now is None else now
    asked = []
    for file in sorted((folder / "schedules").glob("*.json")):
        entry = json.loads(file.read_text())
        if not _runs(jobs, entry["state"]["job"]) and (found := due(entry, at)) is not None:
            once, state = found
            job_id = jobs.ask(
                Kind.PIPELINE, entry["content"], entry["given"], once=once, title=entry["content"]["name"]
            )
            write(file, {**entry, "state": {**state, "job": job_id}})
            asked.append(job_id)
    return asked


def due(entry: Mapping[str, Any], now: float) -> tuple[str, dict[str, Any]] | None:
    """The id of the job and what is seen now, where a pipeline is due."""
    trigger = Trigger.model_validate(entry["content"]["schedule"])
    state, name = entry["state"], entry["content"]["name"]
    seen, fresh = rows_after(Path(trigger.rows), state["seen"]) if trigger.rows else (0, [])
    looks = profile(fresh)
    new_state = {"at": now, "seen": seen, "profile": looks or state["profile"]}
    if trigger.cron is not None:
        planned = croniter(trigger.cron, datetime.fromtimestamp(state["at"], UTC)).get_next(float)
        if planned <= now:
            return f"{name}-at-{int(planned)}", new_state
    if trigger.new_rows is not None and len(fresh) >= trigger.new_rows:
        return f"{name}-rows-{state['seen']}", new_state
    if trigger.drift is not None and len(fresh) >= FEW and psi(state["profile"], looks)[0] >= trigger.drift:
        return f"{name}-drift-{state['seen']}", new_state
    return None


def _runs(jobs: Jobs, job_id: str | None) -> bool:
    if job_id is None:
        return False
    try:
        return jobs.get(job_id).state not in ENDED
    except JobNotFound:
        return False


def _file(folder: Path, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise PipelineError(f"the name `{name}` is not made of a-z, 0-9, - and _")
    return folder / "schedules" / f"{name}.json"


def _told(trigger: Trigger) -> str:
    reasons = []
    if trigger.cron is not None:
        reasons.append(f"at {trigger.cron} (UTC)")
    if trigger.new_rows is not None:
        reasons.append(f"after {trigger.new_rows} new rows in {trigger.rows}")
    if trigger.drift is not None:
        reasons.append(f"when the new rows in {trigger.rows} have a stability index of {trigger.drift:g}")
    return ", or ".join(reasons)
