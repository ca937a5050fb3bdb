"""The first steps of retrain.yaml on a real gateway and a real worker: from chats to rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rlhf.jobs import ENDED, Job, Jobs, Kind, State
from rlhf.pipelines.document import read
from rlhf.pipelines.schedule import keep
from rlhf.recipe import RECIPES
from rlhf.records import parse
from tests.gateway.service import ADMIN_KEY, Gateway, until
from tests.gateway.traces.test_collect import AT, asked, given, house, traced
from tests.gateway.worker import worker

pytestmark = pytest.mark.timeout(300)
FIRST = ("mine", "pair", "annotate", "annotated", "collect")


def beginning(**more: Any) -> dict[str, Any]:
    """retrain.yaml up to the rows."""
    content, _ = read(RECIPES / "retrain.yaml")
    return {**content, "steps": {name: content["steps"][name] for name in FIRST}, **more}


@asynccontextmanager
async def at_work(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Jobs]]:
    """A gateway with three answers in its traces, one of them corrected, and a worker that may ask it."""
    async with house(tmp_path) as (gateway, store):
        chats = await asked(gateway, "Hello", "Tell me more", "And then")
        await given(gateway, chats[0], correction="Good morning.")
        await traced(store, 3)

        async def scored() -> bool:
            found = await store.client.get("/api/public/v3/scores", params={"name": "correction"})
            return bool(found.json()["data"])

        await until(scored, 30)
        reach = {
            "RLHF_GATEWAY_URL": gateway.url,
            "RLHF_GATEWAY_KEY": ADMIN_KEY,
            "RLHF_SCHEDULE_SECONDS": "0.5",
        }
        with worker(tmp_path, **reach), Jobs(tmp_path / "jobs") as jobs:
            yield gateway, jobs


async def judge(gateway: Gateway, count: int) -> None:
    for _ in range(count):
        task = (await gateway.client.get(f"{AT}/next")).json()["task"]
        body = {"choice": "left"}
        (await gateway.client.put(f"{AT}/tasks/{task['id']}/judgement", json=body)).raise_for_status()


async def ended(jobs: Jobs, job_id: str) -> Job:
    async def over() -> Job | None:
        job = await asyncio.to_thread(jobs.get, job_id)
        return job if job.state in ENDED else None

    found: Job = await until(over, 120)
    return found


async def says(jobs: Jobs, job_id: str, text: str) -> None:
    async def said() -> bool:
        return any(text in line.text for line in await asyncio.to_thread(jobs.log, job_id))

    await until(said, 120)


async def test_chats_are_mined_paired_judged_and_become_rows(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (gateway, jobs):
        wanted = {"project": "demo", "judged": 2, "second": 5}
        job_id = await asyncio.to_thread(jobs.ask, Kind.PIPELINE, beginning(), wanted)
        await says(jobs, job_id, "0 of 2 pairs are judged, 1 preferences so far")
        parts = {part.name: part for part in await asyncio.to_thread(jobs.parts, job_id)}
        assert parts["annotate"].waits_for_approval
        assert parts["collect"].state is None
        await judge(gateway, 2)
        job = await ended(jobs, job_id)
        assert job.state is State.DONE, job.error
        file = Path(job.result["collect"]["rows"]["path"])
        rows = [parse(line) for line in (await asyncio.to_thread(file.read_text)).splitlines()]
        assert {row.source for row in rows} >= {"correction"}
        # What is exported at the same moment, line by line.
        exported = (await gateway.client.get(f"{AT}/export")).text.splitlines()
        assert [row.line() for row in rows] == [parse(line).line() for line in exported]

        # Nobody wants to wait for the rest: somebody lets it go on.
        before = (await gateway.client.get(f"{AT}/standing")).json()
        second = await asyncio.to_thread(jobs.ask, Kind.PIPELINE, beginning(), {**wanted, "judged": 100})
        await says(jobs, second, f"2 of {before['tasks']} pairs are judged")
        await asyncio.to_thread(jobs.approve, second, "annotate", True, "ada")
        assert (await ended(jobs, second)).state is State.DONE
        assert (await gateway.client.get(f"{AT}/standing")).json() == before
        log = "".join(line.text for line in await asyncio.to_thread(jobs.log, second))
        assert "1 preferences of users, 0 pairs, 2 answers alone; 0 new tasks" in log
        assert ADMIN_KEY not in log

        # With what users said alone nobody is waited for.
        third = await asyncio.to_thread(jobs.ask, Kind.PIPELINE, beginning(), {**wanted, "judged": 0})
        assert (await ended(jobs, third)).state is State.DONE


async def test_a_judgement_on_the_page_sets_a_pipeline_off(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (gateway, jobs):
        first = await asyncio.to_thread(
            jobs.ask, Kind.PIPELINE, beginning(), {"project": "demo", "second": 5}
        )
        assert (await ended(jobs, first)).state is State.DONE
        watching = beginning(name="watching", schedule={"project": "demo", "new_rows": 1})
        keep(tmp_path / "jobs", watching, {"project": "demo"})
        file = tmp_path / "jobs" / "schedules" / "watching.json"

        async def looked() -> bool:
            entry = json.loads(await asyncio.to_thread(file.read_text))
            return entry["state"]["seen"] is not None

        await until(looked, 60)
        while not (await gateway.client.get(f"{AT}/standing")).json()["preferences"] > 1:
            await judge(gateway, 1)  # one with a known answer is no preference

        async def due() -> bool:
            return any(job.title == "watching" for job in await asyncio.to_thread(jobs.list))

        await until(due, 60)


async def test_a_project_without_preferences_says_how_to_give_some(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (gateway, jobs):
        (await gateway.client.post("/api/v1/projects", json={"name": "silent"})).raise_for_status()
        job_id = await asyncio.to_thread(jobs.ask, Kind.PIPELINE, beginning(), {"project": "silent"})
        job = await ended(jobs, job_id)
        assert job.state is State.FAILED
        assert "nobody has preferred anything in the project silent yet: press thumbs" in job.error
        missing = await asyncio.to_thread(jobs.ask, Kind.PIPELINE, beginning(), {"project": "nowhere"})
        assert "nowhere" in (await ended(jobs, missing)).error
