"""What was measured beside what it has to be, as a Markdown table."""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.trial.tables import table

HEAD = ("what", "measured", "pass line", "met")


@dataclass(frozen=True, slots=True)
class Line:
    """One row; `met` is None where nothing is demanded."""

    what: str
    measured: str
    line: str = ""
    met: bool | None = None


def told(what: str, value: float, unit: str = "", digits: int = 0) -> Line:
    """A figure without a pass line."""
    return Line(what, _figure(value, unit, digits))


def most(what: str, value: float, limit: float, unit: str = "", digits: int = 0) -> Line:
    """A figure that must not be larger than `limit`; one that is no number has failed."""
    line = f"at most {_figure(limit, unit, digits)}"
    return Line(what, _figure(value, unit, digits), line, value <= limit)


def least(what: str, value: float, limit: float, unit: str = "", digits: int = 0) -> Line:
    """A figure that must not be smaller than `limit`."""
    line = f"at least {_figure(limit, unit, digits)}"
    return Line(what, _figure(value, unit, digits), line, value >= limit)


def show(lines: Iterable[Line]) -> int:
    """Print the table; 1 where a pass line is not met, else 0."""
    rows = list(lines)
    cells = [(row.what, row.measured, row.line, "" if row.met is None else row.met) for row in rows]
    sys.stdout.write(table(HEAD, cells))
    return int(any(row.met is False for row in rows))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; not a number where there are none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _figure(value: float, unit: str, digits: int) -> str:
    return f"{value:.{digits}f} {unit}".strip()
