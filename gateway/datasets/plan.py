"""What a dataset is to be made of, looked at before anybody waits for a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.datasets.schemas import BuildIn
from gateway.datasets.store import Dataset
from gateway.errors import BadRequest
from rlhf.data.columns import Map, made_by, refuse_unknown
from rlhf.data.kinds import OF_SHAPE, nearest
from rlhf.data.steps import refuse_unfit, steps_of
from rlhf.errors import DatasetError


def kind_of(wanted: BuildIn, sources: Sequence[Dataset]) -> str:
    """The kind of rows that is named, that a mapping makes or that files hold. Raises BadRequest where it is
    none, or several.
    """
    if wanted.kind:
        return wanted.kind
    try:
        made = made_by(steps_of(wanted.declared()), columns_of(sources[0]))
    except DatasetError as error:
        raise BadRequest(str(error), param="steps") from error
    return nearest(made).name if made else _of_shape(sources)


def columns_of(source: Dataset) -> list[str]:
    """The columns that a file has."""
    return [str(column["name"]) for column in source.facts.get("columns", [])]


def refuse_steps(declared: Sequence[Any], kind: str | None, sources: Sequence[Dataset]) -> None:
    """Raises BadRequest where steps make no sense, not for this kind, or name columns that files have not."""
    try:
        steps = steps_of(declared)
        if kind:
            refuse_unfit(steps, kind)
        # Only the first step sees the columns of the file.
        if steps and isinstance(steps[0], Map):
            for source in sources:
                refuse_unknown(steps[0], columns_of(source), repr(source.name))
    except DatasetError as error:
        raise BadRequest(str(error), param="steps") from error


def _of_shape(sources: Sequence[Dataset]) -> str:
    found = {source.name: OF_SHAPE.get(str(source.facts.get("shape"))) for source in sources}
    if strange := next((source for source in sources if found[source.name] is None), None):
        likely = strange.facts.get("suggested")
        such = f", such as {likely['columns']} of the kind {likely['kind']}" if likely else ""
        raise BadRequest(
            f"{strange.name!r} holds rows of the shape {strange.facts.get('shape')!r}, which are nothing to "
            f"train on; name `mapping`{such}, or `kind` and `steps` with a template that writes its columns. "
            f"Shapes: {', '.join(OF_SHAPE)}.",
            param="sources",
        )
    if len(set(found.values())) > 1:
        held = ", ".join(f"{name!r} {kind}" for name, kind in found.items())
        raise BadRequest(f"The files hold rows of several kinds ({held}); build each alone.", param="sources")
    return str(next(iter(found.values())))
