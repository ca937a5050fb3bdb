"""The MCP servers `training` and `jobs`: what the worker is asked to do, through the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import Field

from tools.context import MANAGE, Callers, requires
from tools.data.server import Reference
from tools.edge import DESTROYS, READ_ONLY, WRITES, Edge, add_tool
from tools.gateway_api import GatewayApi
from tools.settings import Settings
from tools.training.schemas import (
    METHODS,
    Compared,
    JobItem,
    JobList,
    JobStatus,
    Log,
    Method,
    MethodItem,
    MethodList,
)

JOBS = "jobs"
LINES = 200
"""Of a log at a time."""
ENDED = ("done", "failed", "cancelled")
PAUSE = 0.5
WATCHED = 45.0
"""Seconds: what a call may do through the gateway is lent for a minute."""
Job = Annotated[
    str,
    Field(min_length=1, max_length=100, description="Id of the job.", json_schema_extra={"x-span": True}),
]


class TrainingServer:
    """The tools, with what they share."""

    def __init__(self, settings: Settings, callers: Callers) -> None:
        self._api = GatewayApi(settings, callers)

    @asynccontextmanager
    async def lifespan(self, _: FastMCP[Any]) -> AsyncIterator[None]:
        """Let go of the connections at the end."""
        try:
            yield
        finally:
            await self._api.close()

    async def methods(self) -> ToolResult:
        """List the methods of training and the rows that each takes."""
        listed = MethodList(methods=[MethodItem(name=name, takes=takes) for name, takes in METHODS.items()])
        return ToolResult(content=listed.text(), structured_content=listed)

    async def start(
        self,
        dataset: Reference,
        method: Annotated[Method, Field(description="What is trained, and how.")],
        epochs: Annotated[int, Field(ge=0, le=100, description="0 is what the method's recipe says.")] = 0,
        name: Annotated[str, Field(max_length=64, description="Of the result; empty: made up.")] = "",
        parent: Annotated[str, Field(max_length=150, description="NAME or NAME@VERSION to go on from.")] = "",
        base: Annotated[
            str, Field(max_length=4096, description="Prepared model to train; empty: the usual one.")
        ] = "",
        resource: Annotated[
            Literal["cpu", "gpu"], Field(description="gpu where the worker has one.")
        ] = "cpu",
    ) -> ToolResult:
        """Start a training job on a dataset."""
        recipe = {"train": {"epochs": epochs}} if epochs else {}
        body = {"kind": "train", "dataset": dataset, "method": method, "recipe": recipe, "name": name}
        body |= {"parent": parent, "base": base, "resource": resource}
        job = JobItem.model_validate(await self._api.post(JOBS, json=body))
        return ToolResult(content=job.text(), structured_content=job)

    async def evaluate(
        self,
        name: Annotated[str, Field(min_length=1, max_length=64, description="Of the adapter.")],
        dataset: Annotated[
            str, Field(min_length=1, max_length=100, description="Dataset of preferences that was built.")
        ],
        version: Annotated[
            str, Field(min_length=1, max_length=80, description="Digits of its digest, or an alias.")
        ] = "candidate",
        judge: Annotated[
            Literal["like_chosen", "cite_first", "model"],
            Field(description="Who says which answer is better: two rules, or a model."),
        ] = "like_chosen",
        judge_model: Annotated[str, Field(max_length=200, description="Id of the model that judges.")] = "",
        prompts: Annotated[
            int, Field(ge=1, le=2000, description="Held-out prompts that are answered, at most.")
        ] = 200,
        cases: Annotated[int, Field(ge=0, le=500, description="Cases of each kind of the suites.")] = 60,
        likelihood: Annotated[
            int, Field(ge=0, le=2000, description="Answers whose likelihood is measured.")
        ] = 60,
    ) -> ToolResult:
        """Start the comparison of an adapter with what is live and with the base; nothing is promoted."""
        body: dict[str, Any] = {"kind": "evaluate", "name": name, "version": version, "dataset": dataset}
        body |= {"judge": judge, "judge_model": judge_model}
        body |= {"prompts": prompts, "cases": cases, "likelihood": likelihood}
        job = JobItem.model_validate(await self._api.post(JOBS, json=body))
        return ToolResult(content=job.text(), structured_content=job)

    async def compare(self, job: Job) -> ToolResult:
        """Show what a comparison has found: base, live and candidate side by side."""
        found = Compared.model_validate(await self._api.get(JOBS, job, "comparison"))
        return ToolResult(content=found.text(), structured_content=found)

    async def watch(
        self,
        ctx: Context,
        job: Job,
        seconds: Annotated[
            float, Field(ge=0, le=WATCHED, description="How long it may take; less where the job ends.")
        ] = 30,
    ) -> ToolResult:
        """Wait for a job, with its progress, until it ends or the time is over."""
        ends = time.monotonic() + seconds
        while True:
            found = JobStatus.model_validate(await self._api.get(JOBS, job))
            if found.progress:
                await ctx.report_progress(found.progress.done, 1.0, found.progress.text or found.state)
            if found.state in ENDED or time.monotonic() >= ends:
                return ToolResult(content=found.text(), structured_content=found)
            await asyncio.sleep(min(PAUSE, max(0.0, ends - time.monotonic())))

    async def list(self) -> ToolResult:
        """List the latest jobs."""
        jobs = JobList.model_validate(await self._api.get(JOBS, limit=20))
        return ToolResult(content=jobs.text(), structured_content=jobs)

    async def status(self, job: Job) -> ToolResult:
        """Show the state of a job."""
        found = JobStatus.model_validate(await self._api.get(JOBS, job))
        return ToolResult(content=found.text(), structured_content=found)

    async def log(
        self,
        job: Job,
        after: Annotated[int, Field(ge=0, description="Number of the last line that is known.")] = 0,
    ) -> ToolResult:
        """Show what a job said, from a line on."""
        found = Log.model_validate(await self._api.get(JOBS, job, "log", after=after))
        shown = Log(items=found.items[:LINES])
        return ToolResult(content=shown.text(), structured_content=shown)

    async def cancel(self, job: Job) -> ToolResult:
        """Cancel a running job."""
        found = JobItem.model_validate(await self._api.post(JOBS, job, "cancel"))
        return ToolResult(content=found.text(), structured_content=found)

    async def resume(self, job: Job) -> ToolResult:
        """Run a job again that has failed or was cancelled."""
        found = JobItem.model_validate(await self._api.post(JOBS, job, "resume"))
        return ToolResult(content=found.text(), structured_content=found)


def create_training(settings: Settings, callers: Callers) -> FastMCP:
    """The `training` server; every call asks `callers` on whose behalf it runs."""
    training = TrainingServer(settings, callers)
    server: FastMCP = FastMCP(
        "training", middleware=[Edge()], mask_error_details=True, lifespan=training.lifespan
    )
    manage = requires(callers, MANAGE)
    add_tool(server, training.methods, auth=manage, annotations=READ_ONLY, output=MethodList)
    add_tool(server, training.start, auth=manage, annotations=WRITES, output=JobItem)
    add_tool(server, training.evaluate, auth=manage, annotations=WRITES, output=JobItem)
    add_tool(server, training.compare, auth=manage, annotations=READ_ONLY, output=Compared)
    return server


def create_jobs(settings: Settings, callers: Callers) -> FastMCP:
    """The `jobs` server: jobs of every kind."""
    training = TrainingServer(settings, callers)
    server: FastMCP = FastMCP(
        "jobs", middleware=[Edge()], mask_error_details=True, lifespan=training.lifespan
    )
    manage = requires(callers, MANAGE)
    add_tool(server, training.list, auth=manage, annotations=READ_ONLY, output=JobList)
    add_tool(server, training.status, auth=manage, annotations=READ_ONLY, output=JobStatus)
    add_tool(server, training.watch, auth=manage, annotations=READ_ONLY, output=JobStatus)
    add_tool(server, training.log, auth=manage, annotations=READ_ONLY, output=Log)
    add_tool(server, training.cancel, auth=manage, annotations=DESTROYS, output=JobItem)
    add_tool(server, training.resume, auth=manage, annotations=WRITES, output=JobItem)
    return server
