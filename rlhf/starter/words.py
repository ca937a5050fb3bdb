"""Real words, names and values, taken from the public corpora that the recipe reads, plus random strings.

Everything that a model is asked to copy comes from here, in two halves by hash: one in ten is never trained
on.
"""

import json
import lzma
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.starter.sample import held_out

VALUE = re.compile(r"(\w+) = '((?:[^']|'')*)'")
CLEAN = re.compile(r"^[A-Za-z][\w .,&'-]{1,30}$")
KINDS = {
    "person": (
        "player",
        "driver",
        "winner",
        "rider",
        "artist",
        "athlete",
        "director",
        "directed_by",
        "written_by",
    ),
    "city": ("city", "location", "hometown", "venue", "stadium"),
    "country": ("country", "nation", "nationality", "state", "county"),
    "title": ("title", "episode", "film", "series", "album", "song"),
    "group": ("team", "club", "school", "college", "institution", "league", "label", "model", "chassis"),
}
SLOTS = {
    "city": ("city", "city_of_event", "location", "origin", "destination", "from_location", "to_location"),
    "person": ("artist", "stylist_name", "therapist_name", "dentist_name", "recipient_account_name"),
    "title": ("title", "movie_name", "song_name", "album", "event_name"),
    "group": ("restaurant_name", "hotel_name", "attraction_name", "airlines"),
}


@dataclass
class Words:
    """Pools of text; `pick` chooses from the trained or the held-out half."""

    pools: dict[str, list[str]]
    held: bool = False

    def __post_init__(self) -> None:
        self.chosen = {
            name: [e for e in pool if held_out(e) == self.held] for name, pool in self.pools.items()
        }

    def pick(self, rng: random.Random, pool: str) -> str:
        """One entry of a pool that belongs to this half; IndexError where it has none."""
        return rng.choice(self.chosen[pool])

    def other_half(self) -> "Words":
        return Words(self.pools, not self.held)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a `.jsonl.xz` file."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def collect(dialogues: Sequence[dict[str, Any]], questions: Sequence[dict[str, Any]]) -> Words:
    """Pools `person`, `city`, `country`, `title`, `group`, `column`, `word`, `question`, `said`."""
    pools: dict[str, set[str]] = defaultdict(set)
    counted: Counter[str] = Counter()
    for record in questions:
        counted.update(re.findall(r"[A-Za-z]{3,}", record["question"]))
        pools["column"].update(c for c in record["schema"]["t"] if re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", c))
        if 20 < len(record["question"]) < 110 and '"' not in record["question"]:
            pools["question"].add(record["question"].strip())
        for column, value in VALUE.findall(record["sql"]):
            add(pools, KINDS, column, value.replace("''", "'"))
    for dialogue in dialogues:
        for message in dialogue["messages"]:
            content = message.get("content")
            if message["role"] == "user":
                counted.update(re.findall(r"[A-Za-z]{3,}", content))
                if content.endswith("?") and 20 < len(content) < 110 and content.count(".") == 0:
                    pools["said"].add(content)
            for call in message.get("tool_calls", ()):
                for name, value in call["function"]["arguments"].items():
                    add(pools, SLOTS, name, str(value))
    pools["word"] = {word.lower() for word, n in counted.items() if n > 2}
    return Words({name: sorted(entries) for name, entries in pools.items()})


def add(pools: dict[str, set[str]], kinds: dict[str, tuple[str, ...]], column: str, value: str) -> None:
    value = value.strip(" .,'\"")
    if not CLEAN.match(value):
        return
    for kind, columns in kinds.items():
        if column in columns:
            pools[kind].add(value if value[0].isupper() or kind == "title" else value.title())


def nonsense(rng: random.Random) -> str:
    """A word that nobody has seen, so that every token becomes a copy target."""
    if rng.random() < 0.5:
        return "".join(
            rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiouy") for _ in range(rng.randint(1, 4))
        )
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 8)))


def any_word(rng: random.Random, words: Words) -> str:
    """A real word four times in five."""
    return nonsense(rng) if rng.random() < 0.2 else words.pick(rng, "word")


def identifier(rng: random.Random, words: Words) -> str:
    """A name as files, jobs and adapters have it: `orders_2024`, `sql-expert-v2`, `job-17`, `a91c3f`."""
    joint = rng.choice("-_-_-_-_./ ")
    if rng.random() < 0.05:
        return str(rng.randint(1, 9999))
    parts = [any_word(rng, words) for _ in range(rng.choice((1, 1, 2, 2, 2, 3)))]
    roll = rng.random()
    if roll < 0.15:
        parts.append(f"v{rng.randint(1, 12)}")
    elif roll < 0.3:
        parts.append(str(rng.choice((rng.randint(1, 99), rng.randint(1990, 2030)))))
    elif roll < 0.38:
        return "".join(rng.choice("0123456789abcdef") for _ in range(rng.choice((6, 8, 12))))
    elif roll < 0.46:
        return f"{rng.choice(('job', 'run', 'task', 'train', 'exp'))}{joint}{rng.randint(1, 9999)}"
    elif roll < 0.52:
        parts[-1] += rng.choice((".csv", ".jsonl", ".parquet", ".json"))
    elif roll < 0.58:
        return "".join(p.capitalize() for p in parts) + rng.choice(("", str(rng.randint(1, 9))))
    return joint.join(parts)
