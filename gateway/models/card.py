"""The card of a version as Markdown, from what is recorded of it."""

from __future__ import annotations

import json
from typing import Any

from rlhf.registry import Version


def card(version: Version, aliases: list[str], report: dict[str, Any] | None) -> str:
    """What it is, what it was made from, what was measured."""
    lineage = version.lineage()
    pairs = version.pairs()
    users = {pair["user"] for pair in pairs if pair["user"]}
    known = {k: v for k, v in lineage.items() if k not in ("kind", "digest", "created_at", "parent")}
    return f"""# {version.name} {version.short}

| | |
| --- | --- |
| kind | {version.kind} |
| digest | `{version.digest}` |
| made | {lineage.get("created_at", "unknown")} |
| means it | {", ".join(aliases) or "no alias"} |
| trained on from | {lineage.get("parent") or "the base"} |
| rows | {len(pairs)} of {len(users)} users |

## Made from

```json
{json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True)}
```

## Measured

{_measured(report)}
"""


def _measured(report: dict[str, Any] | None) -> str:
    if report is None:
        return "Nothing: there is no report beside this version."
    gate = report.get("gate") or report.get("decision") or report
    return f"```json\n{json.dumps(gate, indent=1, ensure_ascii=False)[:20_000]}\n```"
