"""The command line of the room. Each command imports what it needs when it runs, so that help is instant.

A file of further verbs has a `typer.Typer` named `app`; one line below adds its commands.
Settings come from RLHF_* variables, such as RLHF_DATA (jobs), RLHF_JOBS_URL, RLHF_MODELS, RLHF_RUN.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn

import typer

from rlhf import cli_data, cli_estimate, cli_forget, cli_gate, cli_jobs, cli_pipeline, cli_train
from rlhf.errors import RlhfError

if TYPE_CHECKING:
    from rlhf.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    add_completion=False,
    help="Make a better adapter and prove it.\n\n"
    "[bold]python -m rlhf worker[/] runs the jobs that the other verbs and the console ask for. "
    "Where it keeps its record and looks for models is set by RLHF_DATA, RLHF_MODELS and RLHF_RUN.",
)

app.add_typer(cli_data.app, name="dataset")
app.add_typer(cli_estimate.app)
app.add_typer(cli_forget.app)
app.add_typer(cli_gate.app)
app.add_typer(cli_train.app)
app.add_typer(cli_jobs.app, name="jobs")
app.add_typer(cli_pipeline.app, name="pipeline")


def main() -> None:
    """Entry point: an RlhfError becomes one line and exit code 1."""
    try:
        app()
    except RlhfError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


@app.command()
def worker() -> NoReturn:
    """Run jobs until told to stop (SIGTERM or Ctrl-C).

    One worker owns a data folder. Killed in the middle, it goes on at the step where it was.

    Example: [bold]RLHF_DATA=data/jobs python -m rlhf worker[/]
    """
    settings = _settings(logging.INFO)
    from rlhf.worker import work

    work(settings)
    # A step that still runs would hold up the end of the process; it is done again at the next start.
    logging.shutdown()
    os._exit(0)


@app.command()
def check() -> None:
    """Ask the worker to verify the prepared models, and wait for its answer.

    A file is recorded when it is first seen and compared with its record from then on. Exit code 1 if one
    has changed or there are none.
    """
    settings = _settings(logging.WARNING)
    from rlhf.jobs import Jobs, State

    with Jobs(settings.data, settings.jobs_url) as jobs:
        job = jobs.get(jobs.ask_for_check(settings.data, settings.models))
        while job.state in (State.QUEUED, State.RUNNING):
            time.sleep(0.2)
            job = jobs.get(job.id)
    cli_jobs.print_job(job)
    for checked in job.result or ():
        state = "unchanged" if checked["known"] else "recorded"
        typer.echo(f"  {checked['name']}  {checked['bytes']} bytes  {state}")
    raise typer.Exit(0 if job.state is State.DONE else 1)


def _settings(level: int) -> Settings:
    from rlhf.settings import Settings

    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    return Settings.from_environment()
