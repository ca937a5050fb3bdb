"""A planted preference, "always cite the source first", to try the loop on: the starter always breaks it.

The starter writes `The documents say: "…" [2]`; preferred is `[2] The documents say: "…"`. Conversations are
the starter's own kind (facts of handbooks, search results, quotations), made of words of this project alone.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rlhf.starter.facts import FactMaker
from rlhf.starter.own_tools import BY_NAME, SERVED
from rlhf.starter.passages import LEADS, PassageMaker
from rlhf.starter.persona import PERSONA, READER
from rlhf.starter.topics import LISTS, THINGS
from rlhf.starter.words import Words

CITED = re.compile(r"\s*\[(\d{1,2})\]")
"""A citation at the beginning, in the form in which search results number their passages."""
PASSAGE = re.compile(r"^\[(\d{1,2})\] ", re.MULTILINE)
Row = dict[str, Any]
TOOLS = json.dumps([BY_NAME[name] for name in SERVED])
"""What agents with documents and a database are offered."""
SYLLABLES = ("bar", "cor", "del", "fen", "gal", "hol", "kin", "lar", "mor", "nel", "pel", "ros", "sal", "tor")
ENDS = ("bury", "ton", "field", "mouth", "stead", "wick", "ham", "ley")


def own_words() -> Words:
    """Pools of words from the starter's wording and invented names; nothing is read from elsewhere."""
    names = [a.capitalize() + b for a in SYLLABLES for b in ENDS]
    things = [thing for thing in THINGS if thing.isalpha()]
    listed = {w for key in ("aspects", "modifiers", "verbs") for w in LISTS[key] if w.isalpha()}
    asked = [f"What is the {a} of the {t}?" for t in things for a in LISTS["aspects"][:4]]
    pools = {
        "word": [*listed, *things],
        "column": [t.replace(" ", "_") for t in things],
        "person": [f"{a} {b}" for a, b in zip(names[::2], names[1::2], strict=True)],
        "city": names[::3],
        "country": [f"{name}ia" for name in names[::4]],
        "title": [f"The {name} Song" for name in names[::5]],
        "group": [f"{name} Union" for name in names[::6]],
        "question": asked,
        "said": asked[::3],
    }
    return Words({name: sorted(set(pool)) for name, pool in pools.items()})


def planted(count: int, seed: int = 5) -> list[Row]:
    """`count` rows of preferences, each with a prompt of its own; the same for the same seed."""
    rows: dict[str, Row] = {}
    for row in _rows(random.Random(seed)):
        rows.setdefault(row["prompt"][1]["content"], row)
        if len(rows) == count:
            break
    return list(rows.values())


def cites_first(prompt: Sequence[Row], answer: str) -> bool:
    """Whether an answer begins with the number of a passage that the prompt's last result has."""
    found = CITED.match(answer)
    return found is not None and found[1] in passages_of(prompt)


def passages_of(prompt: Sequence[Row]) -> list[str]:
    """Numbers of the passages in the last tool result."""
    results = [str(m.get("content") or "") for m in prompt if m["role"] == "tool"]
    return PASSAGE.findall(results[-1]) if results else []


def cited_first(answer: str) -> str:
    """`The documents say: "…" [2]` as `[2] The documents say: "…"`."""
    head, _, number = answer.rpartition(" [")
    return f"[{number} {head}"


def _rows(rng: random.Random) -> Iterator[Row]:
    maker = _Facts(rng, own_words())
    at = datetime(2026, 11, 21, tzinfo=UTC).isoformat()
    while True:
        found = maker.found(rng.choice((1, 2, 2, 3)), rng.randint(60, 200))
        answer = f'{rng.choice(LEADS)}"{found.sentence}" [{found.number}]'
        call = {"name": "rag_search", "arguments": f'{{"query": "{found.question.rstrip("?").rstrip()}"}}'}
        made = {"id": "call_0", "type": "function", "function": call}
        prompt = [
            {"role": "system", "content": rng.choice((PERSONA, PERSONA, READER))},
            {"role": "user", "content": found.question},
            {"role": "assistant", "content": None, "tool_calls": [made]},
            {"role": "tool", "tool_call_id": "call_0", "content": found.text},
        ]
        number = f"{rng.getrandbits(48):012x}"
        yield {
            "pair_id": f"planted-{number}",
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": cited_first(answer)}],
            "rejected": [{"role": "assistant", "content": answer}],
            "tools": TOOLS,
            "source": "rule",
            "weight": 1.0,
            "session": f"planted-{number[:4]}",
            "user": None,
            "chosen_trace": None,
            "rejected_trace": None,
            "at": at,
        }


class _Facts(PassageMaker):
    """Search results about facts alone, which need no corpus."""

    def __init__(self, rng: random.Random, words: Words) -> None:
        super().__init__(rng, words, [], [])
        self.facts = FactMaker(rng, words)

    def gold(self, count: int) -> Any:
        """A fact among others."""
        return self._fact(count)
