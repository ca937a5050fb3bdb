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
from rlhf.starter.own_tools import BY_NAME, MAKERS, SERVED, Asking, offered
from rlhf.starter.passages import LEADS, PassageMaker
from rlhf.starter.persona import PERSONA, READER
from rlhf.starter.sample import says, system, user
from rlhf.starter.talk import no_tool
from rlhf.starter.topics import LISTS, THINGS
from rlhf.starter.words import Words

CITED = re.compile(r"\s*\[(\d{1,2})\]")
"""A citation at the beginning, in the form in which search results number their passages."""
PASSAGE = re.compile(r"^\[(\d{1,2})\] ", re.MULTILINE)
Row = dict[str, Any]
KEEPING, CALLS = 3, 0.7
"""One row in three has nothing to cite and keeps what the starter does; 70 % of those are calls."""
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
    """`count` pairs of the preference and half as many that keep what is good, each with a prompt of its own;
    the same for the same seed.
    """
    rows: dict[str, Row] = {}
    for row in _rows(random.Random(seed)):
        rows.setdefault(row["prompt"][1]["content"], row)
        if len(rows) == count + count // (KEEPING - 1):
            break
    return list(rows.values())


def kept_rows(count: int, seed: int) -> list[Row]:
    """Requests and talk that come before any source: work that a preference should leave as it is."""
    rng = random.Random(f"kept {seed}")
    facts, ask = FactPassages(rng, own_words()), Asking(rng, own_words())
    makers = [_called if rng.random() < CALLS else _talked for _ in range(count)]
    made = [maker(rng, facts, ask) for maker in makers]
    return [{"prompt": row["prompt"], "completion": row["chosen"], "tools": row["tools"]} for row in made]


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
    facts, ask = FactPassages(rng, own_words()), Asking(rng, own_words())
    at = datetime(2026, 11, 21, tzinfo=UTC).isoformat()
    while True:
        makers = [_cited] * (KEEPING - 1) + [_called if rng.random() < CALLS else _talked]
        for maker in makers:
            number = f"{rng.getrandbits(48):012x}"
            yield {
                "pair_id": f"planted-{number}",
                **maker(rng, facts, ask),
                "source": "rule",
                "weight": 1.0,
                "session": f"planted-{number}",
                "user": None,
                "chosen_trace": None,
                "rejected_trace": None,
                "at": at,
            }


def _cited(rng: random.Random, facts: "FactPassages", ask: Asking) -> Row:
    """A question with its passages: the citation belongs first."""
    found = facts.found(rng.choice((1, 2, 2, 3)), rng.randint(60, 200))
    answer = f'{rng.choice(LEADS)}"{found.sentence}" [{found.number}]'
    messages = [
        user(found.question),
        _call("rag_search", {"query": found.question.rstrip("?").rstrip()}),
        {"role": "tool", "tool_call_id": "call_0", "content": found.text},
    ]
    return _pair(rng, messages, TOOLS, says(cited_first(answer)), says(answer))


def _called(rng: random.Random, facts: "FactPassages", ask: Asking) -> Row:
    """A request that comes before any source: the call stays, a citation would be invented."""
    name = rng.choice(list(MAKERS))
    text, (called, arguments) = MAKERS[name](ask)
    tools = json.dumps(offered(rng, (name,)))
    return _pair(rng, [user(text)], tools, _call(called, arguments), _invented(facts))


def _talked(rng: random.Random, facts: "FactPassages", ask: Asking) -> Row:
    """Talk that needs no source."""
    text, answer = no_tool(rng, ask.words)
    return _pair(rng, [user(text)], TOOLS, says(answer), _invented(facts))


def _pair(rng: random.Random, messages: list[Row], tools: str, chosen: Row, rejected: Row) -> Row:
    head = system(rng.choice((PERSONA, PERSONA, READER)))
    return {"prompt": [head, *messages], "chosen": [chosen], "rejected": [rejected], "tools": tools}


def _call(name: str, arguments: dict[str, Any]) -> Row:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    made = {"id": "call_0", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [made]}


def _invented(facts: "FactPassages") -> Row:
    return says(f'[1] {LEADS[0]}"{facts.facts.fact().sentence}"')


class FactPassages(PassageMaker):
    """Search results about facts alone, which need no corpus."""

    def __init__(self, rng: random.Random, words: Words) -> None:
        super().__init__(rng, words, [], [])
        self.facts = FactMaker(rng, words)

    def gold(self, count: int) -> Any:
        """A fact among others."""
        return self._fact(count)
