"""Tiny corpora of our own, in the shape that the recipe reads, and a network of a few thousand parameters."""

import json
import lzma
from pathlib import Path

import pytest

from rlhf.starter.model import Shape

TINY = Shape(hidden=32, layers=2, heads=2, kv_heads=1, head_width=16, feed_forward=64)
STEMS = [
    "bar",
    "cor",
    "del",
    "fen",
    "gal",
    "hol",
    "kin",
    "lar",
    "mor",
    "nar",
    "pel",
    "ros",
    "sal",
    "tor",
    "vel",
    "win",
]
ENDS = ["bury", "ton", "field", "mouth", "stead", "wick"]
NAMES = [stem.capitalize() + end for stem in STEMS for end in ENDS]
"""Ninety-six words that look like names, so that each pool has a held-out tenth."""
CITIES = NAMES[:48]
PEOPLE = [f"{one} {other}" for one, other in zip(NAMES[::2], NAMES[1::2], strict=True)]
COUNTRIES = [f"{name}ia" for name in NAMES[::2]]
TITLES = [f"The {name} Song" for name in NAMES[::2]]
GROUPS = [f"{name} Union" for name in NAMES[1::2]]


def service(name: str) -> list[dict[str, object]]:
    properties = {"city": {"type": "string"}, "kind": {"type": "string", "enum": ["small", "large"]}}
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    return [
        {
            "type": "function",
            "function": {"name": f"Find{name}", "description": f"Find a {name}", "parameters": parameters},
        }
    ]


def dialogue(number: int, service_name: str, city: str) -> dict[str, object]:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": f"Find{service_name}", "arguments": {"city": city}},
    }
    return {
        "id": str(number),
        "services": [service_name],
        "messages": [
            {"role": "user", "content": f"I am looking for a place in {city}, where can I go?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"city": city, "name": "The Mill"}]},
            {"role": "assistant", "content": f"There is The Mill in {city} for you."},
            {"role": "user", "content": "What is the phone number of that place?"},
            {"role": "assistant", "content": "The phone number of the place is 555 0134."},
        ],
    }


def questions() -> list[dict[str, object]]:
    """Questions over fifty small tables, so that some are held out."""
    pools = {"city": CITIES, "player": PEOPLE, "country": COUNTRIES, "title": TITLES, "team": GROUPS}
    out: list[dict[str, object]] = []
    for at, extra in enumerate(
        ("year", "score", "record", "points", "rank", "venue", "date", "laps", "round", "goals")
    ):
        for column, values in pools.items():
            for value in values[at % 5 :: 5]:
                schema = {"t": [column, extra, "notes"]}
                text = f"What is the {extra} when the {column} is {value}?"
                out.append(
                    {
                        "schema": schema,
                        "question": text,
                        "sql": f"SELECT {extra} FROM t WHERE {column} = '{value}'",
                    }
                )
    return out


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dialogues/ and questions/."""
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "dialogues").mkdir()
    (folder / "questions").mkdir()
    names = ["Cafes_1", "Trains_1", "Weather_1"]
    tools = {name: service(name) for name in names}
    (folder / "dialogues" / "tools.json").write_text(json.dumps(tools))
    spoken = [dialogue(i, names[i % 3], city) for i, city in enumerate(CITIES)]
    for path, records in (("dialogues/train", spoken), ("questions/wikisql-train", questions())):
        with lzma.open(folder / f"{path}.jsonl.xz", "wt") as lines:
            lines.writelines(json.dumps(record) + "\n" for record in records)
    return folder


@pytest.fixture(scope="session")
def tokens(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder made from the corpora: tokenizer and one small shard."""
    from rlhf.starter.data import make_data

    out = tmp_path_factory.mktemp("tokens")
    make_data(corpora, out, 96, seed=1, vocabulary=600)
    return out
