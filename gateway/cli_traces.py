"""`loopyard traces`: take traces out, see whom an adapter learnt from, forget a user."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli_errors import CommandError

if TYPE_CHECKING:
    import httpx

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Take traces out, see which adapters learnt from a user, forget a user.",
)
DataOption = Annotated[
    Path, typer.Option("--data", envvar="LOOPYARD_DATA", help="Data folder of the installation.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DATA = Path("data")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}
PIECE = 1 << 16
"""Bytes that are written at once."""


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="File to write, JSON lines; `-` is the terminal.")],
    since: Annotated[str, typer.Option(help="Only what began since: 7d, 12h, or a time in ISO 8601.")] = "",
    data: DataOption = DATA,
) -> None:
    """Write every trace as a line of JSON, with its observations and scores, the oldest first.

    Example: [bold]loopyard traces export --since 7d --out traces.jsonl[/]
    """
    params = {"fromTimestamp": begin_of(since, datetime.now(UTC))} if since else {}
    with _opened(data, params) as answer:
        if str(out) == "-":
            for piece in answer.iter_bytes():
                typer.echo(piece, nl=False)
            return
        # Named only when it is complete: half of an export looks like a whole one.
        partial = out.with_name(f".{out.name}.partial")
        try:
            with partial.open("wb") as file:
                count = _copy(answer.iter_bytes(PIECE), file)
            partial.replace(out)
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror or error}") from error
        finally:
            partial.unlink(missing_ok=True)
    typer.echo(f"{count} traces are in {out}")


@app.command()
def lineage(
    user: Annotated[str, typer.Argument(help="The user's id, as traces have it.")],
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """Show which adapters answered a user, and which ones learnt from them.

    Example: [bold]loopyard traces lineage 0199-ada[/]
    """
    found = _ask("GET", data, f"/api/v1/users/{quote(user, safe='')}/lineage")
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(told(found)))


@app.command()
def erase(
    user: Annotated[str, typer.Argument(help="The user's id, as traces have it.")],
    data: DataOption = DATA,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase what a user said, and what was made of it. It cannot be undone, and it may be repeated.

    Conversations, feedback, traces, scores and annotation tasks go, those in Label Studio too. Datasets with
    rows of theirs are withdrawn: a manifest with counts and digests stays. Adapters that learnt from them are
    named; they are not changed, but know the user by a pseudonym from then on.

    Exit code 1 if something could not be reached; what and why is said, and the remedy.

    Example: [bold]loopyard traces erase 0199-ada --yes[/]
    """
    if not yes:
        typer.confirm(f"Erase everything that {user} said?", abort=True)
    found = _ask("DELETE", data, f"/api/v1/users/{quote(user, safe='')}/data")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo("\n".join([*erased(found), *told(found)]))
    raise typer.Exit(1 if found["unreached"] else 0)


def erased(found: dict[str, Any]) -> list[str]:
    """What went from where, and what is left with its remedy, a line each."""
    counts = f"{found['conversations']} conversations, {found['feedback']} feedbacks"
    if removed := found["traces"]:
        counts += f", {removed['traces']} traces and {removed['scores']} scores"
    made, datasets = found["annotation"], found["datasets"]
    lines = [
        f"Erased: {counts}.",
        f"Annotation: {made['tasks']} tasks, {made['judgements']} judgements, {made['rows']} rows, "
        f"{made['label_studio']} tasks in Label Studio.",
        f"Datasets: {len(datasets['withdrawn'])} withdrawn, {datasets['copies']} copies deleted, "
        f"{datasets['reports']} reports of adapters without their answers.",
    ]
    for one in datasets["withdrawn"]:
        learnt = f"; trained on it: {', '.join(one['adapters'])}" if one["adapters"] else ""
        called = ", ".join(one["names"]) or one["digest"][:12]
        lines.append(f"  {called}: {one['theirs']} of {one['rows']} rows were theirs{learnt}")
    if names := datasets["unattributed"]:
        lines.append(f"  These have rows that name no user, so look at them yourself: {', '.join(names)}")
    lines.append(f"Adapters: {len(found['adapters'])} know the user by a pseudonym now.")
    for left in found["unreached"]:
        why = left["why"].rstrip(".")
        lines.append(f"NOT REACHED: {left['what']}: {why}. {left['remedy']}")
    return lines


def told(found: dict[str, Any]) -> list[str]:
    """What is known of a user's adapters, a line each."""
    lines = [
        f"answered by {entry['adapter_version']}: {entry['observations']} observations"
        for entry in found["answered_by"] or []
    ]
    for entry in found["taught"]:
        aliases = f" ({', '.join(entry['aliases'])})" if entry["aliases"] else ""
        lines.append(f"learnt from: {entry['name']} {entry['version']}{aliases}")
    return lines or ["No adapter has to do with this user."]


def begin_of(text: str, now: datetime) -> str:
    """A time in ISO 8601 of `7d`, `12h`, `30m` or of what is one already. CommandError for anything else."""
    if found := re.fullmatch(r"(\d{1,6})([dhm])", text):
        return (now - timedelta(**{UNITS[found[2]]: int(found[1])})).isoformat()
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise CommandError(f"{text!r} is no time", "say 7d, 12h, 30m or 2026-11-21") from None


def _copy(pieces: Iterator[bytes], file: IO[bytes]) -> int:
    """How many lines."""
    count = 0
    for piece in pieces:
        file.write(piece)
        count += piece.count(b"\n")
    return count


def _ask(method: str, data: Path, path: str) -> dict[str, Any]:
    from gateway.cli_client import GatewayClient, gateway_url, read_admin_key

    with GatewayClient(gateway_url(data), read_admin_key(data), timeout=600) as client:
        found: dict[str, Any] = client.request(method, path).json()
        return found


@contextmanager
def _opened(data: Path, params: dict[str, str]) -> Iterator[httpx.Response]:
    """The export as it comes, with the first key pair of the data folder. CommandError where it fails."""
    import httpx

    from gateway.cli_client import START_IT, gateway_url
    from gateway.traces.keys import read_key_file

    try:
        pair = read_key_file(data.absolute() / "langfuse-keys.json")[0]
    except (OSError, ValueError, IndexError) as error:
        raise CommandError(f"There are no trace keys: {error}", START_IT) from error
    address, auth = f"{gateway_url(data)}/api/public/export", (pair.public, pair.secret)
    try:
        with httpx.stream("GET", address, params=params, auth=auth, timeout=120, trust_env=False) as answer:
            if answer.is_error:
                answer.read()
                raise CommandError(f"The trace store answers {answer.status_code}: {answer.text[:200]}")
            yield answer
    except httpx.HTTPError as error:
        raise CommandError(f"The export broke off: {error}", START_IT) from error
