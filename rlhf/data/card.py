"""The card of a dataset: what is in it, where it comes from, what was left out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rlhf.data.kinds import kind_of
from rlhf.records import Trace
from rlhf.shapes import AnyRow

TRACES = ("chosen_trace", "rejected_trace", "trace")


def card(manifest: dict[str, Any], train: Sequence[AnyRow], held_out: Sequence[AnyRow]) -> str:
    """Markdown; the same for the same dataset."""
    kind = kind_of(manifest["kind"])
    rows, transform = [*train, *held_out], manifest["transform"]
    redacted = _listed(manifest["redacted"]) if transform["redact_pii"] else "not asked for"
    names = transform.get("redacted_by", {}).get("names")
    about_names = f"Names and places by {names}" if names else "Names and places are not looked for"
    return f"""# {kind.title} {manifest["digest"][:12]}

{kind.about}

| | training | held out |
| --- | --- | --- |
| {kind.called} | {len(train)} | {len(held_out)} |
| sessions | {_distinct(r.session for r in train)} | {_distinct(r.session for r in held_out)} |
| users | {_distinct(r.user for r in train)} | {_distinct(r.user for r in held_out)} |
| from | {_listed(_sources(train))} | {_listed(_sources(held_out))} |

- Split: {transform["held_out"]:g} of the rows, seed {transform["seed"]}, whole groups of one \
{", ".join(transform["split_by"])}; prompts with a similarity of {transform["near_duplicate"]:g} count as one.
- Answers of: {_listed(Counter(trace.model for row in rows for trace in _traces(row)))}.
- Left out: {_listed(manifest["left_out"])}.
- Found in the files: {_listed(manifest["findings"])}.
- Personal data replaced: {redacted}. {about_names}.
- Tokens: {manifest["tokens"]["train"]} to train on, {manifest["tokens"]["held_out"]} held out \
({manifest["tokens"]["by"]}).
- Prepared: {"; ".join(_step(step) for step in manifest.get("steps", [])) or "not asked for"}.
{_origin(manifest)}- Made from: {", ".join(_parent(parent) for parent in manifest["parents"])}.

`manifest.json` has the whole digests. Never edit these files: training refuses a dataset that was changed.
"""


def _origin(manifest: dict[str, Any]) -> str:
    """By whom rows of documents were made."""
    if not (origin := manifest.get("origin")):
        return ""
    return f"- Questions of documents by {origin['by']}: {_listed(origin['counts'])}.\n"


def _parent(parent: dict[str, Any]) -> str:
    if "dataset" in parent:
        return f"the dataset {parent['dataset'][:12]} ({parent['rows']} rows)"
    return f"{parent['file']} ({parent['rows']} rows, {parent['sha256'][:12]})"


def _step(step: dict[str, Any]) -> str:
    did = {name: count for name, count in step.items() if name not in ("step", "rows")}
    return f"{step['step']} {step['rows']} rows ({_listed(did)})"


def _sources(rows: Sequence[AnyRow]) -> Counter[str]:
    return Counter(str(row.source) for row in rows if hasattr(row, "source"))


def _traces(row: AnyRow) -> list[Trace]:
    return [trace for name in TRACES if (trace := getattr(row, name, None)) is not None]


def _distinct(names: Iterable[str | None]) -> int:
    return len({name for name in names if name is not None})


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "none"
