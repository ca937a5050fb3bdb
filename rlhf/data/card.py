"""The card of a dataset: what is in it, where it comes from, what was left out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rlhf.records import PreferenceRow


def card(manifest: dict[str, Any], train: Sequence[PreferenceRow], held_out: Sequence[PreferenceRow]) -> str:
    """Markdown; the same for the same dataset."""
    rows, transform = [*train, *held_out], manifest["transform"]
    redacted = _listed(manifest["redacted"]) if transform["redact_pii"] else "not asked for"
    return f"""# Preferences {manifest["digest"][:12]}

Pairs of answers to one prompt, of which one was preferred, for DPO and the like.

| | training | held out |
| --- | --- | --- |
| pairs | {len(train)} | {len(held_out)} |
| sessions | {_distinct(r.session for r in train)} | {_distinct(r.session for r in held_out)} |
| users | {_distinct(r.user for r in train)} | {_distinct(r.user for r in held_out)} |
| from | {_listed(Counter(r.source for r in train))} | {_listed(Counter(r.source for r in held_out))} |

- Split: {transform["held_out"]:g} of the rows, seed {transform["seed"]}, whole groups of one \
{", ".join(transform["split_by"])}; prompts with a similarity of {transform["near_duplicate"]:g} count as one.
- Answers of: {_listed(Counter(t.model for r in rows for t in (r.chosen_trace, r.rejected_trace) if t))}.
- Left out: {_listed(manifest["left_out"])}.
- Found in the files: {_listed(manifest["findings"])}.
- Personal data replaced: {redacted}. Names and places are not looked for.
- Made from: {", ".join(f"{p['file']} ({p['rows']} rows, {p['sha256'][:12]})" for p in manifest["parents"])}.

`manifest.json` has the whole digests. Never edit these files: training refuses a dataset that was changed.
"""


def _distinct(names: Iterable[str | None]) -> int:
    return len({name for name in names if name is not None})


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "none"
