"""Words of English that tell a question's names from its grammar: the language of the models that need it."""

from pathlib import Path

import yaml

_WORDS = yaml.safe_load(Path(__file__).with_name("english.yaml").read_text(encoding="utf-8"))
CUES: dict[str, str] = _WORDS["cues"]
"""Patterns over lower case by the kind of condition that they ask for."""
STOP_WORDS = frozenset(_WORDS["stop"].split())
"""Words of questions that are no names of things."""
OPENERS: list[str] = _WORDS["openers"].split()
"""Words that begin a sentence without being a name."""
COUNTED: dict[str, int] = _WORDS["counted"]
"""Numbers by their words; `one` says too many other things."""
MONTHS: list[str] = _WORDS["months"].split()
DAYS: list[str] = _WORDS["days"].split()
"""Words that name a day."""
MEASURES: dict[str, frozenset[str]] = {
    word: frozenset(parts.split()) for words, parts in _WORDS["measures"].items() for word in words.split()
}
"""Words of the columns that a comparison is about: `longest` is not about bytes."""
