"""Kinds of steps that bring in what people think: out of chats, by pairs that are judged, or both.

Without a project they do nothing, so that one pipeline serves files and projects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from rlhf.jobs import ANNOTATE
from rlhf.pipelines.kinds import Kind, Parameters, Work

if TYPE_CHECKING:
    from rlhf.annotations import Annotations
    from rlhf.settings import Settings

FOUND, JUDGED = "found", "judged"
Share = Annotated[float, Field(ge=0, le=1)]


class Mine(Parameters):
    """Which chats."""

    project: str = ""
    """Of the gateway; empty: none."""
    since: str = "30d"
    """A date, or so long ago: 36h, 7d, 2w."""


def mine(work: Work) -> dict[str, Any]:
    """Rows out of corrections, and of thumbs up and down on one prompt."""
    return {FOUND: _collected(work, {"second": 0, "to": "nowhere"})}


class Pair(Mine):
    """Which answers get a second one, and where people judge."""

    second: Annotated[int, Field(ge=0, le=1_000)] = 20
    """Second answers that are asked for, at most; disliked answers first."""
    model: str = ""
    """For second answers, such as base:adapter; empty: the one that answered."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    again: Share = 0.1
    """Share of the pairs that is shown twice, sides changed."""
    known: Share = 0.1
    """Share of tasks with a known answer, made of corrections."""
    place: Literal["console", "label_studio"] = "console"


def pair(work: Work) -> dict[str, Any]:
    """Pairs, with second answers of a model, to where people judge them; each once, however often it runs."""
    given: Pair = work.parameters
    wanted = given.model_dump(exclude={"project", "since", "place"})
    return {FOUND: _collected(work, {**wanted, "to": given.place})}


class Annotate(Parameters):
    """How much has to be judged."""

    project: str = ""
    place: Literal["console", "label_studio"] = "console"
    needed: Annotated[int, Field(ge=0)] = 0
    """Pairs that are judged before it goes on, or all that there are; 0: it goes on at once."""
    days: Annotated[float, Field(gt=0, le=365)] = 30.0
    """How long people are waited for."""


def annotate(work: Work) -> dict[str, Any]:
    """Never run: the worker waits without a process, and looks by `judged`."""
    raise AssertionError("a worker waits for people itself")


def judged(parameters: Mapping[str, Any], settings: Settings) -> tuple[bool, str]:
    """Whether enough is judged, and that in words. GatewayError."""
    given = Annotate.model_validate(parameters)
    with people_of(given.project, settings) as people:
        seen = people.standing(pull=given.place == "label_studio")
    needed = min(given.needed, seen["tasks"])
    text = f"{seen['judged']} of {needed} pairs are judged, {seen['preferences']} preferences so far"
    return seen["judged"] >= needed, text


@contextmanager
def people_of(project: str, settings: Settings | None = None) -> Iterator[Annotations]:
    """Those of a project, with the worker's own key: a specification is shown to people, and holds none."""
    from rlhf.annotations import Annotations
    from rlhf.settings import Settings

    settings = settings or Settings.from_environment()
    found = Annotations(settings.gateway_url, settings.gateway_key.get_secret_value(), project)
    try:
        yield found
    finally:
        found.close()


def _collected(work: Work, wanted: dict[str, Any]) -> dict[str, Any] | None:
    given = work.parameters
    if not given.project:
        work.tell("no project is named: nothing to do")
        return None

    def told(seen: dict[str, Any]) -> None:
        total = seen["total"]
        work.advance(seen["done"] / total if total else 0.0, seen["doing"], None, None)

    with people_of(given.project) as people:
        seen = people.collect(told, since=given.since, **wanted)
    work.tell(
        f"{seen['preferences']} preferences of users, {seen['pairs']} pairs, {seen['alone']} answers alone; "
        f"{seen['added']} new tasks"
    )
    if seen["cut"]:
        work.tell("there are more answers than one run looks at: only the newest were; shorten `since`")
    counts = ("preferences", "pairs", "alone", "thumbs", "same", "added")
    return {name: seen[name] for name in counts}


GATHERING: tuple[Kind, ...] = (
    Kind("mine", mine, Mine, outputs={FOUND: FOUND}, cached=False),
    Kind("pair", pair, Pair, {FOUND: FOUND}, frozenset({FOUND}), {FOUND: FOUND}, cached=False),
    Kind(ANNOTATE, annotate, Annotate, outputs={JUDGED: JUDGED}),
)
