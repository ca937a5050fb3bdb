"""Pipelines that are asked for by themselves: by the calendar, when enough rows are new, when rows drift.

JOBS/schedules/NAME.json holds a pipeline and which rows were there when it ran last, by what they teach. The
worker looks every RLHF_SCHEDULE_SECONDS; the job's id follows from what made it due, so that several workers
ask for one job.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from croniter import croniter  # type: ignore[import-untyped]  # it has no types

from rlhf.annotations import quality_of
from rlhf.errors import JobNotFound, PipelineError, RlhfError
from rlhf.jobs import ENDED, Jobs, Kind
from rlhf.pipelines.drift import Row, identified, profile, psi
from rlhf.pipelines.gathering import people_of
from rlhf.pipelines.trigger import NAME, Trigger
from rlhf.registry import write
from rlhf.settings import Settings

FEW = 30
"""Fewer new rows than this say nothing about drift."""
_log = logging.getLogger(__name__)


def keep(folder: Path, content: Mapping[str, Any], given: Mapping[str, Any], now: float | None = None) -> str:
    """Let a pipeline be run by itself; says when. PipelineError where its `schedule` makes no sense."""
    trigger = Trigger.model_validate(content.get("schedule") or {})
    if not (trigger.cron or trigger.new_rows or trigger.drift or trigger.quality):
        text = "give its `schedule` one of `cron`, `new_rows`, `drift` and `quality`"
        raise PipelineError(f"{content['name']}: {text}")
    if bool(trigger.quality) != bool(trigger.adapter):
        raise PipelineError(
            f"{content['name']}: `quality` and `adapter`, the name that it is about, go together"
        )
    if trigger.cron is not None and not croniter.is_valid(trigger.cron):
        raise PipelineError(f"{content['name']}: `{trigger.cron}` is no cron expression (minute hour day …)")
    if (trigger.new_rows or trigger.drift) and bool(trigger.rows) == bool(trigger.project):
        text = "`new_rows` and `drift` need `rows`, a file of JSON lines, or `project`, one of the gateway"
        raise PipelineError(f"{content['name']}: {text}")
    file = _file(folder, str(content["name"]))
    file.parent.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC).timestamp() if now is None else now
    # The rows of a project are for the worker to read: it has the gateway's key.
    known = None if trigger.project else _rows(trigger)
    seen, looks = (None, {}) if known is None else (sorted(known), profile(known.values()))
    state = {"at": at, "seen": seen, "profile": looks, "job": None}
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
        try:
            asked += _ask(file, jobs, at)
        except (RlhfError, ValueError) as error:
            # Rows that cannot be read, or a gateway that is away, are no reason to keep the others waiting.
            _log.warning("cannot look for what is due", extra={"file": file.name, "error": str(error)})
    return asked


def _ask(file: Path, jobs: Jobs, at: float) -> list[str]:
    entry = json.loads(file.read_text())
    if _runs(jobs, entry["state"]["job"]):
        return []
    trigger = Trigger.model_validate(entry["content"]["schedule"])
    if trigger.quality and (once := _worse(entry, trigger)):
        return [_asked(file, entry, jobs, once, {**entry["state"], "quality": once})]
    rows = _rows(trigger)
    if not isinstance(entry["state"]["seen"], list):
        # The first look: what is there now is what later rows are compared with.
        state = {**entry["state"], "seen": sorted(rows), "profile": profile(rows.values())}
        write(file, {**entry, "state": state})
        return []
    if (found := due(entry, rows, at)) is None:
        return []
    once, state = found
    return [_asked(file, entry, jobs, once, {**entry["state"], **state})]


def _asked(file: Path, entry: Mapping[str, Any], jobs: Jobs, once: str, state: dict[str, Any]) -> str:
    """Ask for a pipeline under an id of its own, and note what was seen; the job's id."""
    title = entry["content"]["name"]
    job_id = jobs.ask(Kind.PIPELINE, entry["content"], entry["given"], once=once, title=title)
    write(file, {**entry, "state": {**state, "job": job_id}})
    return job_id


def _worse(entry: Mapping[str, Any], trigger: Trigger) -> str | None:
    """The id of the job, where what is live answers as the trigger says and nothing was asked for it yet."""
    settings = Settings.from_environment()
    key = settings.gateway_key.get_secret_value()
    seen = quality_of(settings.gateway_url, key, str(trigger.adapter))
    wanted = ("worse",) if trigger.quality == "worse" else ("watch", "worse")
    once = f"{entry['content']['name']}-quality-{str(seen['version']).removeprefix('sha256:')[:12]}"
    return once if seen["state"] in wanted and entry["state"].get("quality") != once else None


def due(entry: Mapping[str, Any], rows: Mapping[str, Row], now: float) -> tuple[str, dict[str, Any]] | None:
    """The id of the job and what is seen now, where a pipeline is due."""
    trigger = Trigger.model_validate(entry["content"]["schedule"])
    state, name = entry["state"], entry["content"]["name"]
    known = set(state["seen"])
    fresh = [row for identity, row in rows.items() if identity not in known]
    looks = profile(fresh)
    # One that is withdrawn and comes back is not new: what was seen stays so, and no set comes twice.
    new_state = {"at": now, "seen": sorted(known | rows.keys()), "profile": looks or state["profile"]}
    if trigger.cron is not None:
        planned = croniter(trigger.cron, datetime.fromtimestamp(state["at"], UTC)).get_next(float)
        if planned <= now:
            return f"{name}-at-{int(planned)}", new_state
    if trigger.new_rows is not None and len(fresh) >= trigger.new_rows:
        return f"{name}-rows-{_digest(state['seen'])}", new_state
    if trigger.drift is not None and len(fresh) >= FEW and psi(state["profile"], looks)[0] >= trigger.drift:
        return f"{name}-drift-{_digest(state['seen'])}", new_state
    return None


def _rows(trigger: Trigger) -> dict[str, Row]:
    """Those of the file or the project, by what they teach; none where there is no file. GatewayError."""
    if trigger.project:
        with people_of(trigger.project) as people:
            return identified(people.preferences())
    try:
        return identified(Path(trigger.rows).read_bytes()) if trigger.rows else {}
    except FileNotFoundError:
        return {}


def _digest(seen: Sequence[str]) -> str:
    return sha256("".join(seen).encode()).hexdigest()[:12]


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
    place = f"the project {trigger.project}" if trigger.project else trigger.rows
    reasons = []
    if trigger.cron is not None:
        reasons.append(f"at {trigger.cron} (UTC)")
    if trigger.new_rows is not None:
        reasons.append(f"after {trigger.new_rows} new rows in {place}")
    if trigger.drift is not None:
        reasons.append(f"when the new rows in {place} have a stability index of {trigger.drift:g}")
    if trigger.quality is not None:
        reasons.append(f"when {trigger.adapter} answers worse ({trigger.quality})")
    return ", or ".join(reasons)
