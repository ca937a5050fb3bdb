"""python -m rlhf worker          run jobs until told to stop
python -m rlhf check           ask the worker to verify the prepared models, and wait
python -m rlhf jobs            list the latest jobs

Settings come from RLHF_* variables: RLHF_DATA (jobs), RLHF_MODELS, RLHF_RUN.
"""

import argparse
import logging
import os
import sys
import time
from typing import NoReturn

from rlhf.errors import RlhfError
from rlhf.jobs import Job, Jobs, State
from rlhf.settings import Settings


def main() -> int:
    """Run one verb; gives the exit status."""
    parser = argparse.ArgumentParser("python -m rlhf", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("verb", choices=["worker", "check", "jobs"])
    verb = parser.parse_args().verb
    level = logging.INFO if verb == "worker" else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        settings = Settings.from_environment()
        return {"worker": _worker, "check": _check, "jobs": _jobs}[verb](settings)
    except RlhfError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _worker(settings: Settings) -> NoReturn:
    from rlhf.worker import work

    work(settings)
    # A step that still runs would hold up the end of the process; it is done again at the next start.
    logging.shutdown()
    os._exit(0)


def _check(settings: Settings) -> int:
    with Jobs(settings.data) as jobs:
        job = jobs.get(jobs.ask_for_check(settings.data, settings.models))
        while job.state in (State.QUEUED, State.RUNNING):
            time.sleep(0.2)
            job = jobs.get(job.id)
    _print(job)
    for checked in job.result or ():
        state = "unchanged" if checked["known"] else "recorded"
        sys.stdout.write(f"  {checked['name']}  {checked['bytes']} bytes  {state}\n")
    return 0 if job.state is State.DONE else 1


def _jobs(settings: Settings) -> int:
    with Jobs(settings.data) as jobs:
        for job in jobs.list():
            _print(job)
    return 0


def _print(job: Job) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.created_at))
    sys.stdout.write(f"{job.id}  {when}  {job.kind}  {job.state}  {job.error}\n")


if __name__ == "__main__":
    sys.exit(main())
