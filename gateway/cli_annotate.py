"""`loopyard annotate`: pairs of answers to people, and their judgements back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli_annotate_scores import bring_scores
from gateway.cli_errors import CommandError

if TYPE_CHECKING:
    from rich.console import Console

    from annotation.places import Places
    from annotation.pull import Pulled
    from annotation.record import Record
    from rlhf.records import PreferenceRow


class Format(StrEnum):
    """What preferences can be exported to."""

    TRL = "trl"
    TRLX = "trlx"
    CSV = "csv"


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Have people compare two answers, blind, and train on what they say.\n\n"
    "On the console's page: `loopyard annotate collect`. In Label Studio, in this order:\n\n"
    "  loopyard annotate serve\n\n  loopyard annotate push --project demo --since 7d\n\n"
    "  loopyard annotate pull --project demo --follow\n\n  loopyard annotate quality --project demo\n\n"
    "  loopyard annotate export --project demo --format trl --out export\n\n"
    "A Label Studio of your own is named by LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.",
)
DataOption = Annotated[
    Path, typer.Option("--data", envvar="LOOPYARD_DATA", help="Data folder of the installation.")
]
ProjectOption = Annotated[
    str, typer.Option("--project", "-p", help="Project of the chats, and the title in Label Studio.")
]
PairsOption = Annotated[
    Path | None, typer.Option("--pairs", help="JSON lines of pairs, instead of the project's traces.")
]
DATA = Path("data")


@app.command()
def serve(
    data: DataOption = DATA,
    port: Annotated[int, typer.Option(help="Port of Label Studio.")] = 8091,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 lets others in; put a proxy with TLS before it.")
    ] = "127.0.0.1",
) -> None:
    """Start a Label Studio of this installation's own; Ctrl-C stops it.

    Its first start makes a database and takes a minute. `make label-studio` installs it (about 1 GB).

    Example: [bold]loopyard annotate serve --port 8092[/]
    """
    import json
    import os
    import signal
    import subprocess
    import sys

    from annotation.places import RUNNING
    from annotation.server import USER
    from gateway.ports import require_free
    from gateway.processes import LAUNCH

    require_free(host, port, "--port")
    with _told():
        places = _places(data)
        own = places.own_server(port, host)
        log, running = places.data / "run" / "logs" / "label-studio.log", places.data / "run" / RUNNING
        command = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), *own.command()]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with log.open("ab") as sink:
            process = subprocess.Popen(command, env=own.environment(), stdout=sink, stderr=subprocess.STDOUT)
        try:
            with _console().status("Starting Label Studio"):
                own.wait(process, log)
            running.write_text(json.dumps({"url": own.url, "pid": process.pid}))
            _say(f"Label Studio: {own.url}")
            _say(f"Sign in as {USER}; the password is in {places.data / 'secrets' / 'label-studio-password'}")
            process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            running.unlink(missing_ok=True)
            process.terminate()
            process.wait()


@app.command()
def push(
    project: ProjectOption = "demo",
    pairs: PairsOption = None,
    since: Annotated[str, typer.Option(help="Traces from then on: a date, or 36h, 7d, 2w.")] = "30d",
    limit: Annotated[
        int, typer.Option(min=0, help="Second answers that are asked for; 0 asks for none.")
    ] = 50,
    model: Annotated[
        str, typer.Option(help="Model for second answers, such as base:adapter; else the one that answered.")
    ] = "",
    model_url: Annotated[str, typer.Option(help="Its server, with /v1; else this installation's.")] = "",
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of second answers.")] = 1.0,
    again: Annotated[
        float, typer.Option(min=0, max=1, help="Share of pairs that is shown twice, sides changed.")
    ] = 0.1,
    data: DataOption = DATA,
) -> None:
    """Bring pairs to Label Studio: blind, in random order, each once. May be repeated after any failure.

    Pairs come from a file, or from the project's traces: corrections, and thumbs up and down on one prompt,
    become preferences at once; an answer alone gets a second one from a model, disliked answers first.

    Examples: [bold]loopyard annotate push --project demo --since 7d --limit 20[/],
    [bold]loopyard annotate push --project contracts --pairs pairs.jsonl[/] with lines such as
    {"prompt": "How long is the notice period?", "answers": ["Four weeks.", "It depends."]}
    """
    from annotation.pair_files import read_tasks
    from annotation.push import push as run_push
    from annotation.push import repeated

    with _told():
        places = _places(data)
        # Read first: a file that is wrong is told before any server is asked.
        tasks = read_tasks(pairs) if pairs else []
        record = places.record(project)
        with closing(places.studio()) as studio:
            studio.check()
            if not pairs:
                _mine(places, record, project, since, limit, (model_url, model, temperature))
                tasks = [task for task in record.tasks() if not task.again]
            with _bar("Pushing") as bar:
                done = run_push(studio, record, project, repeated(tasks, again), bar)
        _say(f"{project}: {done.made} tasks pushed, {done.there} were there, {done.removed} copies removed")
        _say(f"Judge them at {studio.url}/projects/{done.project}/data")


@app.command()
def pull(
    project: ProjectOption = "demo",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay, and pull whenever somebody judges.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port for Label Studio's webhooks; 0 is any.")] = 0,
    data: DataOption = DATA,
) -> None:
    """Fetch judgements from Label Studio and make preferences of them.

    They are kept in DATA/annotation/PROJECT/preferences.jsonl, for `rlhf dataset build`, and as scores.

    Example: [bold]loopyard annotate pull --project demo --follow[/]
    """
    from annotation.pull import pull as run_pull

    with _told():
        places = _places(data)
        record = places.record(project)
        with closing(places.studio()) as studio:
            if not follow:
                _report(run_pull(studio, record, project), record, project)
                bring_scores(record, places.traces)
                return
            import signal
            import threading

            from annotation.follow import Doorbell, webhook
            from annotation.follow import follow as run_follow

            number = studio.project(project, make=False)
            with closing(Doorbell(port)) as bell, webhook(studio, number, bell):
                _say(f"Following {project}; Ctrl-C ends it")
                last = ""

                def told(found: Pulled | Exception) -> None:
                    nonlocal last
                    if str(found) != last:
                        _report(found, record, project)
                    last = str(found)
                    bring_scores(record, places.traces)

                stop = threading.Event()
                for sign in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(sign, lambda *_: stop.set())
                run_follow(studio, record, project, bell, told, stop)
                _say("Stopped.")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder that receives train, held_out and the card.")],
    project: ProjectOption = "demo",
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="JSON lines with prompt, chosen and rejected, instead.")
    ] = None,
    format: Annotated[Format, typer.Option(help="Whose format.")] = Format.TRL,
    held_out: Annotated[float, typer.Option(help="Share that is kept for the examination.")] = 0.2,
    users_may_cross: Annotated[
        bool, typer.Option("--users-may-cross", help="Needed where all pairs are of one user.")
    ] = False,
    data: DataOption = DATA,
) -> None:
    """Write preferences for a trainer, split and with a card that says what is in them.

    Example: [bold]loopyard annotate export --project demo --format trl --out export[/]
    """
    from annotation.pair_files import read_rows

    with _told():
        rows = read_rows(pairs) if pairs else _places(data).record(project).rows()
        if not rows:
            text = f"the project {project} has no preferences"
            raise CommandError(
                text, "`loopyard annotate pull` fetches judgements; or name a file with --pairs"
            )
        _export(rows, out, format.value, held_out, users_may_cross)


@app.command()
def quality(
    project: ProjectOption = "demo",
    pairs: Annotated[Path | None, typer.Option("--pairs", help="Tasks as JSON lines, instead.")] = None,
    judgements: Annotated[
        Path | None, typer.Option("--judgements", help="Judgements as JSON lines, with --pairs.")
    ] = None,
    data: DataOption = DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """How far judgements can be trusted: agreement, known answers, position bias, flips, time.

    Example: [bold]loopyard annotate quality --project demo[/]
    """
    import json

    from annotation.pair_files import read_judgements, read_tasks
    from annotation.quality import quality as work_out

    if (pairs is None) != (judgements is None):
        raise CommandError("--pairs and --judgements belong together", "give both, or --project alone")
    with _told():
        if pairs and judgements:
            tasks, given = read_tasks(pairs), read_judgements(judgements)
        else:
            record = _places(data).record(project)
            tasks, given = record.tasks(), record.judgements()
        found = work_out(tasks, given)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print_quality(found)


def _places(data: Path) -> Places:
    from annotation.places import Places
    from annotation.settings import Settings

    return Places(data, Settings.from_environment())


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong in the rooms, as one line and a remedy."""
    from annotation.errors import AnnotationError
    from rlhf.errors import RlhfError

    try:
        yield
    except AnnotationError as error:
        text = str(error)
        raise CommandError(text[:1].upper() + text[1:], error.remedy) from error
    except RlhfError as error:
        raise CommandError(str(error)) from error


def _mine(
    places: Places, record: Record, project: str, begin: str, limit: int, asked: tuple[str, str, float]
) -> None:
    from annotation.pairs import fill, read
    from annotation.places import since

    with closing(places.traces()) as traces:
        with _console().status("Reading traces"):
            mined = read(traces, since(begin), project)
        with closing(places.model(*asked, traces)) as model, _bar("Second answers") as bar:
            same = fill(record, mined, model if limit else None, limit, bar)
    _say(
        f"From traces: {len(mined.rows)} preferences of users, {len(mined.tasks)} pairs, "
        f"{len(mined.alone)} answers alone"
    )
    if same:
        _say(f"{same} of them got no other answer; a higher --temperature or another --model may give one")


def _report(found: Pulled | Exception, record: Record, project: str) -> None:
    if isinstance(found, Exception):
        _say(f"Not yet: {found}")
        return
    _say(f"{project}: {found.judgements} judgements, {found.rows} preferences in {record.folder}")
    if found.unknown:
        _say(f"{found.unknown} judgements are on tasks that this installation did not push")
    for text in found.unusable[:10]:
        _say(f"Not usable: {text}")


def _export(
    rows: Sequence[PreferenceRow], out: Path, to: str, held_out: float, users_may_cross: bool
) -> None:
    """By way of a dataset, so that what is held out and what is left out are the same as in training."""
    import shutil
    from tempfile import TemporaryDirectory
    from typing import cast

    from rlhf.data.build import Plan, build
    from rlhf.data.export import Target
    from rlhf.data.export import export as run_export
    from rlhf.data.folder import CARD, MANIFEST
    from rlhf.data.split import KEYS
    from rlhf.records import write_jsonl

    keys = tuple(key for key in KEYS if not (users_may_cross and key == "user"))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".dataset-") as made:
            source, folder = Path(made) / "preferences.jsonl", Path(made) / "dataset"
            write_jsonl(source, rows)
            build([source], folder, Plan(held_out=held_out, split_by=keys))
            written = run_export(folder, cast(Target, to), out)
            for name in (CARD, MANIFEST):
                shutil.copyfile(folder / name, out / name)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}", "choose another --out") from error
    for path, (count, others) in written.items():
        left = f", {others} left out because they do not fit {to}" if others else ""
        _say(f"{path}: {count} pairs{left}")
    _say(f"{out / CARD} says what is in them")


def _print_quality(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    agreement = found["agreement"]
    _say(f"{found['judged']} of {found['tasks']} tasks judged, {found['judgements']} judgements")
    _say(
        f"Agreement on {agreement['pairs_judged_by_several']} pairs judged by several: "
        f"kappa {_number(agreement['kappa'])}, alpha {_number(agreement['alpha'])}"
    )
    table = Table("", "judgements", "known answers", "left chosen", "p", "flips", "seconds")
    for name, one in {"all": found, **found["annotators"]}.items():
        table.add_row(
            Text(name),
            str(one["judgements"]),
            f"{one['gold']['right']} of {one['gold']['judged']}",
            _number(one["position"]["left_share"]),
            _number(one["position"]["p_value"]),
            f"{_number(one['flips']['rate'])} of {one['flips']['pairs']}",
            _number(one["median_seconds"]),
        )
    _console().print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield told


def _console() -> Console:
    from rich.console import Console

    return Console()


def _say(text: str) -> None:
    print(text, flush=True)
