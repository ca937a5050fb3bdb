"""Services that were made up: calls fit their listing, can be read off what was said, and repeat by seed."""

import datetime
import json
import random
import re

from rlhf.preference import own_words
from rlhf.starter.made_up import HELD_OUT, TODAY, MadeUpMaker
from rlhf.starter.sample import Sample


def drawn(count: int, seed: int = 3) -> list[Sample]:
    maker = MadeUpMaker(random.Random(seed), own_words())
    return [maker.sample() for _ in range(count)]


def test_the_same_seed_gives_the_same_conversations() -> None:
    assert drawn(20) == drawn(20)
    assert drawn(20) != drawn(20, seed=4)


def test_every_call_fits_its_listing() -> None:
    for sample in drawn(200):
        tools = {t["function"]["name"]: t["function"]["parameters"] for t in sample.tools}
        made = [m for m in sample.messages if m.get("tool_calls")]
        assert made
        for message in made:
            [call] = message["tool_calls"]
            schema, given = tools[call["function"]["name"]], call["function"]["arguments"]
            assert set(schema["required"]) <= set(given) <= set(schema["properties"])
            assert list(given) == [name for name in schema["properties"] if name in given]
            assert all(
                given[n] in p["enum"] for n, p in schema["properties"].items() if "enum" in p and n in given
            )


def test_what_is_given_was_said_before() -> None:
    for sample in drawn(200):
        before = ""
        for message in sample.messages:
            for call in message.get("tool_calls") or ():
                for value in call["function"]["arguments"].values():
                    if not re.fullmatch(r"[\d:.-]+", value):
                        assert value.lower() in before.lower(), (value, before)
            before += json.dumps(message, ensure_ascii=False)


def test_only_calls_are_learnt() -> None:
    for sample in drawn(50):
        spoken = [m for m in sample.messages if m["role"] == "assistant" and not m.get("tool_calls")]
        assert all(message["silent"] for message in spoken)


def test_a_second_day_comes_after_the_first() -> None:
    days = re.compile(r"\d{4}-\d{2}-\d{2}")
    pairs = 0
    for sample in drawn(300):
        for message in sample.messages:
            for call in message.get("tool_calls") or ():
                given = call["function"]["arguments"]
                ends = [n for n in given if n in ("end_date", "to_date", "return_date", "last_day")]
                starts = [n for n in given if n in ("start_date", "from_date", "departure_date", "first_day")]
                assert all(
                    datetime.date.fromisoformat(d) >= TODAY
                    for d in map(str, given.values())
                    if days.fullmatch(d)
                )
                if ends and starts:
                    pairs += given[ends[0]] > given[starts[0]]
    assert pairs > 20


def test_services_that_are_held_out_stay_unknown() -> None:
    names = {t["function"]["name"].lower() for sample in drawn(300) for t in sample.tools}
    assert not any(
        HELD_OUT.search(re.sub("^(get|find|check|show|read|report|search)", "", name)) for name in names
    )
