"""Calls that need more days than anybody has named, for models too small to tell a return from a single trip.

Of 438 return flights in the trained part of the starter's dialogues 14 would not be offered (3 %), while of
574 flights one way 345 (60 %) are left without a rival that needs two days.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm_server.constraints.english import COUNTED, DAYS, MONTHS

_MONTHS = "|".join(MONTHS)
_LONG = rf"(?:\d+|an?|one|{'|'.join(COUNTED)}) (?:days?|nights?|weeks?)"
"""With one day, how long it is gives the other."""
_NTH = r"\d{1,2}(?:st|nd|rd|th)"
_DAY = re.compile(
    rf"\b(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}[/.]\d{{1,2}}|(?:{_MONTHS}) (?:the )?(?:{_NTH}|\d{{1,2}})"
    rf"|\d{{1,2}} (?:of )?(?:{_MONTHS})|{_NTH}|{'|'.join(DAYS)}|(?<!day )next week|{_LONG})\b"
)
_NAMES_A_DAY = re.compile(r"(?:^|_|(?<=[a-z])(?=D))(?:date|day)(?:_|$)", re.IGNORECASE)


def with_days(functions: Sequence[dict[str, Any]], texts: Iterable[str]) -> list[dict[str, Any]]:
    """The functions whose required days do not outnumber those that are named in the conversation; all of
    them where that leaves none.
    """
    said = {day for text in texts for day in _DAY.findall(text.lower())}
    kept = [function for function in functions if _needed(function) <= max(1, len(said))]
    return kept or list(functions)


def _needed(function: Mapping[str, Any]) -> int:
    """How many days a call cannot do without."""
    parameters = function.get("parameters") or {}
    return sum(_NAMES_A_DAY.search(str(name)) is not None for name in parameters.get("required") or ())
