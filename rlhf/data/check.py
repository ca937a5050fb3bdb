"""What is wrong with rows of any kind before anybody trains on them.

An error makes a row useless: a dataset leaves it out. A warning is for a person to look at; the row stays.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlhf.data.near import near_pairs, prompt_words
from rlhf.data.pii import redact_row
from rlhf.data.read import Placed
from rlhf.data.texts import answered, asked, text_of, texts_of
from rlhf.records import BadRow, PreferenceRow, canonical
from rlhf.shapes import AnyRow, KtoRow, LabelRow

Level = Literal["error", "warning"]
LONG = 8_000
"""Characters of an answer that few trainers keep whole (some 2,000 tokens)."""
ABSURD = 100_000
EXAMPLES = 5
MANY = 0.8
HALF = 0.5
ENOUGH = 20
"""Rows below which shares of the whole say nothing."""
REPEATS = 5
CONTENT = (
    *("prompt", "chosen", "rejected", "completion", "label", "tools"),
    *("query", "positive", "negative", "text"),
)
"""Columns that teach; the others say where a row comes from and how much it counts."""
_MARKERS = re.compile(r"<\|\w+\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>")
# UTF-8 that was read as Latin-1 or Windows-1252: é became Ã©, a curly apostrophe â€™.
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf]|â€[\u0080-\u00bf™œ\u009d]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


@dataclass(frozen=True)
class Finding:
    """A rule that some rows break. `examples`: the first few, `file:line` and details."""

    level: Level
    rule: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What was found in `rows` readable rows; `useless` are the indices of those with an error."""

    rows: int
    findings: tuple[Finding, ...]
    useless: frozenset[int]

    def count(self, level: Level) -> int:
        """How many findings of a level there are, over all rules."""
        return sum(finding.count for finding in self.findings if finding.level == level)


def check_rows(placed: Sequence[Placed], bad: Sequence[BadRow] = ()) -> Report:
    """Apply every rule to every row."""
    found: dict[tuple[Level, str], list[str]] = defaultdict(list)
    found["error", "unreadable"] = [str(row) for row in bad]
    useless = set()
    for at, one in enumerate(placed):
        for level, rule in _row_rules(one.row):
            found[level, rule].append(one.where)
            if level == "error":
                useless.add(at)
    rows = [one.row for one in placed]
    for rule, pairs in (("exact duplicate", _same(rows)), ("near-duplicate prompt", _near(rows))):
        found["warning", rule] = [f"{placed[b].where} is like {placed[a].where}" for a, b in pairs]
    found["warning", "contradiction"] = [
        f"{placed[b].where} prefers what {placed[a].where} rejects"
        if isinstance(rows[b], PreferenceRow)
        else f"{placed[b].where} has another label than {placed[a].where}"
        for a, b in _contradictions(rows)
    ]
    for rule, text in _whole(rows):
        found["warning", rule].append(text)
    findings = (
        Finding(level, rule, len(where), tuple(where[:EXAMPLES]))
        for (level, rule), where in sorted(found.items())
        if where
    )
    return Report(len(placed), tuple(findings), frozenset(useless))


def content_key(row: AnyRow) -> bytes:
    """The same for rows that teach the same."""
    plain = row.plain()
    return canonical([plain[column] for column in CONTENT if column in plain])


def _row_rules(row: AnyRow) -> Iterator[tuple[Level, str]]:
    said = answered(row)
    if not any(message.role == "user" and (message.content or "").strip() for message in asked(row)):
        yield "error", "empty prompt"
    if not all(said.values()):
        yield "error", "empty answer"
    elif len(said) == 2 and len(set(said.values())) == 1:
        yield "error", " equals ".join(said)
    longest = max(map(len, said.values()), default=len(text_of(asked(row))))
    if longest > ABSURD:
        yield "error", f"answer over {ABSURD} characters"
    elif longest > LONG:
        yield "warning", f"answer over {LONG} characters"
    yield from (("warning", rule) for rule in _signs(row, said))


def _signs(row: AnyRow, said: dict[str, str]) -> Iterator[str]:
    whole = "\n".join(texts_of(row))
    personal: Counter[str] = Counter()
    redact_row(row, personal)
    yield from (f"personal data: {kind}" for kind in sorted(personal))
    if _CONTROL.search(whole):
        yield "control or replacement characters"
    if _MOJIBAKE.search(whole):
        yield "wrongly decoded text"
    if _MARKERS.search("\n".join(said.values())):
        yield "template markers in an answer"
    name, first = next(iter(said.items()), ("", ""))
    if first and first == text_of(asked(row)[-1:]):
        yield f"{name} repeats the prompt"
    lines = Counter(line for line in first.splitlines() if len(line) > 10)
    if lines and max(lines.values()) >= REPEATS:
        yield f"{name} repeats a line"


def _same(rows: Sequence[AnyRow]) -> Iterator[tuple[int, int]]:
    first: dict[bytes, int] = {}
    for at, row in enumerate(rows):
        if (seen := first.setdefault(content_key(row), at)) != at:
            yield seen, at


def _near(rows: Sequence[AnyRow]) -> Iterator[tuple[int, int]]:
    words = [prompt_words(asked(row)) for row in rows]
    # Several pairs about one prompt are what feedback looks like; only prompts that differ are told.
    return ((one, other) for one, other in near_pairs(words) if words[one] != words[other])


def _contradictions(rows: Sequence[AnyRow]) -> Iterator[tuple[int, int]]:
    first: dict[bytes, dict[str, int]] = defaultdict(dict)
    for at, row in enumerate(rows):
        if (claim := _claim(row)) is None:
            continue
        before = first[claim[0]]
        yield from ((seen, at) for seen in [seen for said, seen in before.items() if said != claim[1]][:1])
        before.setdefault(claim[1], at)


def _claim(row: AnyRow) -> tuple[bytes, str] | None:
    """What a row is about, and what it says of it; None where rows cannot contradict each other."""
    if isinstance(row, LabelRow):
        return row.text.encode(), row.label
    prompt, said = [message.plain() for message in asked(row)], answered(row)
    if isinstance(row, KtoRow):
        return canonical([prompt, row.tools, said]), str(row.label)
    if isinstance(row, PreferenceRow):
        return canonical([prompt, sorted(said.values())]), said["chosen"]
    return None


def _whole(all_rows: Sequence[AnyRow]) -> Iterator[tuple[str, str]]:
    rows = [row for row in all_rows if isinstance(row, PreferenceRow)]
    if len(rows) < ENOUGH:
        return
    longer = sum(len(text_of(row.chosen)) > len(text_of(row.rejected)) for row in rows) / len(rows)
    if longer > MANY:
        yield "length bias", f"chosen is longer in {longer:.0%} of the rows: length would be learnt"
    thumbs = sum(row.source == "thumbs" for row in rows) / len(rows)
    if thumbs > HALF:
        yield "mostly thumbs", f"{thumbs:.0%} of the rows come from thumbs, which favour agreeable answers"
