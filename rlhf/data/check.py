"""What is wrong with preference rows before anybody trains on them.

An error makes a row useless: a dataset leaves it out. A warning is for a person to look at; the row stays.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlhf.data.near import near_pairs, prompt_words
from rlhf.data.pii import redact_row
from rlhf.records import BadRow, Message, PreferenceRow, canonical

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
_MARKERS = re.compile(r"<\|\w+\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>")
# UTF-8 that was read as Latin-1 or Windows-1252: é became Ã©, a curly apostrophe â€™.
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf]|â€[\u0080-\u00bf™œ\u009d]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


@dataclass(frozen=True)
class Placed:
    """A row and where it was read."""

    file: str
    line: int
    row: PreferenceRow

    @property
    def where(self) -> str:
        """As in compilers' messages."""
        return f"{self.file}:{self.line}"


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
        f"{placed[b].where} prefers what {placed[a].where} rejects" for a, b in _contradictions(rows)
    ]
    for rule, text in _whole(rows):
        found["warning", rule].append(text)
    findings = (
        Finding(level, rule, len(where), tuple(where[:EXAMPLES]))
        for (level, rule), where in sorted(found.items())
        if where
    )
    return Report(len(placed), tuple(findings), frozenset(useless))


def text_of(messages: Iterable[Message]) -> str:
    """What messages say, tool calls included."""
    parts = []
    for message in messages:
        parts.append(message.content or "")
        parts.extend(canonical(call).decode() for call in message.tool_calls or ())
    return "\n".join(parts).strip()


def content_key(row: PreferenceRow) -> bytes:
    """The same for rows that teach the same."""
    return canonical([row.plain()[column] for column in ("prompt", "chosen", "rejected", "tools")])


def _row_rules(row: PreferenceRow) -> Iterator[tuple[Level, str]]:
    chosen, rejected = text_of(row.chosen), text_of(row.rejected)
    if not any(message.role == "user" and (message.content or "").strip() for message in row.prompt):
        yield "error", "empty prompt"
    if not chosen or not rejected:
        yield "error", "empty answer"
    elif chosen == rejected:
        yield "error", "chosen equals rejected"
    longest = max(len(chosen), len(rejected))
    if longest > ABSURD:
        yield "error", f"answer over {ABSURD} characters"
    elif longest > LONG:
        yield "warning", f"answer over {LONG} characters"
    yield from (("warning", rule) for rule in _signs(row, chosen))


def _signs(row: PreferenceRow, chosen: str) -> Iterator[str]:
    whole = "\n".join(text_of(part) for part in (row.prompt, row.chosen, row.rejected))
    personal: Counter[str] = Counter()
    redact_row(row, personal)
    yield from (f"personal data: {kind}" for kind in sorted(personal))
    if _CONTROL.search(whole):
        yield "control or replacement characters"
    if _MOJIBAKE.search(whole):
        yield "wrongly decoded text"
    if _MARKERS.search(text_of(row.chosen) + text_of(row.rejected)):
        yield "template markers in an answer"
    if chosen and chosen == text_of(row.prompt[-1:]):
        yield "chosen repeats the prompt"
    lines = Counter(line for line in chosen.splitlines() if len(line) > 10)
    if lines and max(lines.values()) >= REPEATS:
        yield "chosen repeats a line"


def _same(rows: Sequence[PreferenceRow]) -> Iterator[tuple[int, int]]:
    first: dict[bytes, int] = {}
    for at, row in enumerate(rows):
        if (seen := first.setdefault(content_key(row), at)) != at:
            yield seen, at


def _near(rows: Sequence[PreferenceRow]) -> Iterator[tuple[int, int]]:
    words = [prompt_words(row.prompt) for row in rows]
    # Several pairs about one prompt are what feedback looks like; only prompts that differ are told.
    return ((one, other) for one, other in near_pairs(words) if words[one] != words[other])


def _contradictions(rows: Sequence[PreferenceRow]) -> Iterator[tuple[int, int]]:
    first: dict[tuple[bytes, str, str], int] = {}
    for at, row in enumerate(rows):
        prompt = canonical([message.plain() for message in row.prompt])
        chosen, rejected = text_of(row.chosen), text_of(row.rejected)
        first.setdefault((prompt, chosen, rejected), at)
        if chosen != rejected and (seen := first.get((prompt, rejected, chosen))) is not None:
            yield seen, at


def _whole(rows: Sequence[PreferenceRow]) -> Iterator[tuple[str, str]]:
    if len(rows) < ENOUGH:
        return
    longer = sum(len(text_of(row.chosen)) > len(text_of(row.rejected)) for row in rows) / len(rows)
    if longer > MANY:
        yield "length bias", f"chosen is longer in {longer:.0%} of the rows: length would be learnt"
    thumbs = sum(row.source == "thumbs" for row in rows) / len(rows)
    if thumbs > HALF:
        yield "mostly thumbs", f"{thumbs:.0%} of the rows come from thumbs, which favour agreeable answers"
