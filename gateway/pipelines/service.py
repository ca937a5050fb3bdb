"""Pipelines that run by themselves, and whether one makes sense."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from gateway.datasets import child
from gateway.errors import BadRequest, NotFound
from gateway.pipelines.schemas import PlanOut, ScheduleOut, SpecIn
from rlhf.errors import PipelineError
from rlhf.pipelines import schedule
from rlhf.pipelines.schedule import Scheduled

CHARACTERS = 100_000
"""Of parameters, which go on a command line."""


class Pipelines:
    """Args:
    folder: the worker's RLHF_DATA, where schedules lie.
    steps: the worker's RLHF_STEPS.
    """

    def __init__(self, folder: Path, steps: str) -> None:
        self._folder, self._steps = folder, steps
        # A schedule is one file that is written; two requests must not cross.
        self._changing = asyncio.Lock()

    async def check(self, wanted: SpecIn) -> PlanOut:
        """The steps in order. Raises BadRequest with everything that is wrong, a line each."""
        given = [f"--set={name}={json.dumps(value)}" for name, value in wanted.parameters.items()]
        if sum(map(len, given)) > CHARACTERS:
            raise BadRequest(f"The parameters have over {CHARACTERS} characters.", param="parameters")
        try:
            said = await child.run(
                *("pipeline", "check", "--json", *given, "--", "-"),
                given=json.dumps(wanted.spec),
                env={"RLHF_STEPS": self._steps},
            )
        except BadRequest as error:
            raise BadRequest(str(error), param="spec") from error
        return PlanOut.model_validate_json(said.splitlines()[-1])

    async def schedules(self) -> list[ScheduleOut]:
        return [_out(one) for one in await asyncio.to_thread(schedule.listed, self._folder)]

    async def keep(self, wanted: SpecIn) -> ScheduleOut:
        """Let one run by itself, in the place of another of its name. Raises BadRequest."""
        await self.check(wanted)
        async with self._changing:
            try:
                await asyncio.to_thread(schedule.keep, self._folder, wanted.spec, wanted.parameters)
            except (PipelineError, ValueError, OSError) as error:
                raise BadRequest(str(error), param="spec") from error
            return next(one for one in await self.schedules() if one.name == wanted.spec["name"])

    async def forget(self, name: str) -> None:
        """Raises NotFound."""
        async with self._changing:
            try:
                await asyncio.to_thread(schedule.forget, self._folder, name)
            except PipelineError as error:
                names = ", ".join(one.name for one in await self.schedules()) or "none"
                raise NotFound(f"{error}. Those that do: {names}.") from error


def _out(one: Scheduled) -> ScheduleOut:
    return ScheduleOut(
        name=one.name, when=one.when, parameters=dict(one.given), seen_at=one.seen_at, job_id=one.job
    )
