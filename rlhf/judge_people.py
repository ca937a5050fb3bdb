"""People as the judge: pairs of answers as a file to annotate, and what was preferred as rows.

The file is one that `loopyard annotate push` and the console take; which answer is whose is in no line of it.
Nobody has to judge all of them: what was not judged, and what somebody found equal, is a tie. A pair that two
rows contradict each other about is a tie too.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from rlhf.judge import Better
from rlhf.pairs import Row
from rlhf.records import PreferenceRow, write_atomically

AGAIN = "-again"
"""Ends the name of a pair that was shown a second time, sides changed."""


class PeopleJudge:
    """Preferences that people gave on the answers of one evaluation; those on others say nothing."""

    name = "people"

    def __init__(self, rows: Sequence[PreferenceRow]) -> None:
        self._preferred: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            self._preferred[row.pair_id.removesuffix(AGAIN)].add(_text(row.chosen[-1].content))

    def compare(self, row: Row, first: str, second: str) -> Better:
        """What people preferred, whichever place it had."""
        preferred = self._preferred.get(pair_name(str(row["pair_id"]), first, second), set())
        liked = [_text(answer) in preferred for answer in (first, second)]
        if liked[0] == liked[1]:
            return "tie"
        return "first" if liked[0] else "second"


def pair_name(prompt_id: str, one: str, other: str) -> str:
    """Names two answers to a prompt, whatever their order."""
    said = json.dumps(sorted((_text(one), _text(other))))
    return f"judge-{prompt_id}-{sha256(said.encode()).hexdigest()[:8]}"


def write_pairs(answers: Sequence[Mapping[str, str]], rows: Sequence[Row], path: Path) -> int:
    """Write the pairs of `current` and `candidate` that differ; how many those are. OSError."""
    prompts = {str(row["pair_id"]): row for row in rows}
    lines = []
    for one in answers:
        said = sorted({_text(one["current"]), _text(one["candidate"])})
        if len(said) == 2 and all(said):
            row = prompts[one["prompt_id"]]
            pair = {
                "pair_id": pair_name(one["prompt_id"], *said),
                "prompt": row["prompt"],
                "tools": row.get("tools"),
                "answers": said,
            }
            lines.append(json.dumps(pair, ensure_ascii=False) + "\n")
    write_atomically(path, (line.encode() for line in lines))
    return len(lines)


def _text(content: str | None) -> str:
    return (content or "").strip()
