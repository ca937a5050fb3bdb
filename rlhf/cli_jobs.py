"""`python -m rlhf jobs [list | show | logs | cancel | resume | approve]`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rlhf.jobs import Job, Jobs
    from rlhf.logbook import LogLine, Progress

app = typer.Typer(help="What was asked of the worker, and what became of it.")
PAUSE = 0.3
IdArgument = Annotated[str, typer.Argument(help="As `jobs list` prints it.")]


@contextmanager
def opened() -> Iterator[Jobs]:
    """The record that RLHF_DATA and RLHF_JOBS_URL name."""
    from rlhf.jobs import Jobs
    from rlhf.settings import Settings

    settings = Settings.from_environment()
    with Jobs(settings.data, settings.jobs_url) as jobs:
        yield jobs


@app.callback(invoke_without_command=True)
def jobs(context: typer.Context) -> None:
    """List the latest jobs; `python -m rlhf jobs --help` names the verbs."""
    if context.invoked_subcommand is None:
        list_jobs()


@app.command("list")
def list_jobs(limit: Annotated[int, typer.Option(min=1, max=1000)] = 50) -> None:
    """The latest jobs, the newest first: id, time, kind, state and why one failed."""
    with opened() as found:
        for job in found.list(limit):
            print_job(job)


@app.command()
def show(job_id: IdArgument) -> None:
    """A job, its steps, and how far each is."""
    with opened() as found:
        job = found.get(job_id)
        print_job(job)
        if job.progress is not None:
            typer.echo(f"  {said(job.progress)}")
        for part in found.parts(job_id):
            state = "waits for approval" if part.waits_for_approval else str(part.state or "not yet")
            how = "reused" if part.reused else f"{part.seconds} s" if part.seconds is not None else ""
            far = said(part.progress) if part.progress is not None and part.seconds is None else ""
            typer.echo(f"  {part.name}  {part.kind}  {state}  {how}{far}{part.error}".rstrip())


@app.command()
def logs(
    job_id: IdArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Begin after this line.")] = 0,
) -> None:
    """What a job said, each line with its number."""
    with opened() as found:
        if follow:
            watch(found, job_id, after)
            return
        for line in found.log(job_id, after):
            print_line(line)


@app.command()
def cancel(job_id: IdArgument) -> None:
    """Stop a job and everything that it has started."""
    with opened() as found:
        found.cancel(found.get(job_id).id)
        print_job(found.get(job_id))


@app.command()
def resume(job_id: IdArgument) -> None:
    """Run a job again that failed or was cancelled; what is done is not done again."""
    with opened() as found:
        found.resume(job_id)
        print_job(found.get(job_id))


@app.command()
def approve(
    job_id: IdArgument,
    step: str,
    by: Annotated[str, typer.Option(help="Who answers.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="Stop the pipeline instead.")] = False,
    note: str = "",
) -> None:
    """Answer a step that waits for a person."""
    with opened() as found:
        found.approve(job_id, step, not refuse, by, note)


def watch(found: Jobs, job_id: str, after: int = 0) -> Job:
    """Print the log, and how far the job is, until it has ended."""
    from rich.console import Console

    from rlhf.jobs import ENDED

    console = Console(stderr=True)
    with console.status("") as status:
        while True:
            job = found.get(job_id)
            for line in found.log(job_id, after):
                print_line(line)
                after = line.seq
            if job.state in ENDED:
                return job
            status.update(said(job.progress) if job.progress else str(job.state))
            time.sleep(PAUSE)


def print_job(job: Job) -> None:
    """One line."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.created_at))
    title = f" {job.title}" if job.title else ""
    typer.echo(f"{job.id}  {when}  {job.kind}{title}  {job.state}  {job.error}".rstrip())


def print_line(line: LogLine) -> None:
    """One line of a log."""
    when = time.strftime("%H:%M:%S", time.localtime(line.at))
    step = f"{line.step}: " if line.step else ""
    level = "" if line.level == "info" else f"{line.level}: "
    typer.echo(f"{line.seq:5}  {when}  {step}{level}{line.text}")


def said(progress: Progress) -> str:
    """`42 %  train: step 12 of 60  3.1/s  15 s left`."""
    cells = [f"{progress.done:.0%}", progress.text]
    cells += [f"{progress.rate:.3g}/s"] if progress.rate is not None else []
    cells += [f"{progress.left_s:.0f} s left"] if progress.left_s is not None else []
    return "  ".join(cells)
