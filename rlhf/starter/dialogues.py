"""Dialogues of people with a booking service, as conversations with tools that must be read from their
listing.

Whole services are held out. Names are rewritten in other styles, optional arguments leave the listing, and
names that were said are replaced by others now and then, so that a call is read off the listing and the
dialogue and not remembered.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from rlhf.starter.passages import Pair
from rlhf.starter.persona import OTHERS
from rlhf.starter.sample import Sample, calls, says, silent, system, tool, user
from rlhf.starter.template import Message, Tool
from rlhf.starter.words import CLEAN, Words

HELD_OUT = ("Events_2", "Flights_2", "Hotels_3", "RentalCars_2", "Services_2", "Weather_1")
Record = dict[str, Any]
NAMES = ("city", "person", "title", "group")
"""Pools that a name is replaced from."""


def is_held_out(record: Record) -> bool:
    """True where any service of the dialogue is held out."""
    return any(service in HELD_OUT for service in record["services"])


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class DialogueMaker:
    """Cuts samples out of dialogues."""

    def __init__(
        self, rng: random.Random, tools: dict[str, list[Tool]], words: Words, window: int = 11
    ) -> None:
        self.rng, self.tools, self.words, self.window = rng, tools, words, window

    def sample(self, record: Record, plain: bool = False) -> Sample | None:
        """The dialogue up to one of its calls; `plain` leaves names and listing as they are."""
        messages: list[Message] = record["messages"]
        ends = [i for i, m in enumerate(messages) if m.get("tool_calls")]
        if not ends:
            return None
        end = self.rng.choice(ends)
        begin = self._begin(messages, end)
        if not plain and self.rng.random() < 0.6:
            messages = self._renamed(messages, begin, end, record["services"])
        restyle = snake if not plain and self.rng.random() < 0.5 else str
        listed, order = self._listing(record["services"], messages[begin : end + 1], restyle, plain)
        out: list[Message] = [system(OTHERS[0])] if plain or self.rng.random() < 0.7 else []
        for i, message in enumerate(messages[begin : end + 1], begin):
            quiet = message["role"] == "assistant" and self._is_quiet(messages[begin:i], message)
            if quiet and i == end and not plain:
                return None
            made = self._message(message, order, restyle)
            out.append(silent(made) if quiet else made)
        return Sample("dialogue", out, listed)

    def _is_quiet(self, before: Sequence[Message], message: Message) -> bool:
        """Whether an assistant's message is context only: talk, and mostly a call with a name that was said
        before the window began, which could only be guessed."""
        if not message.get("tool_calls"):
            return self.rng.random() > 0.08
        said = json.dumps(list(before), ensure_ascii=False).lower()
        given = message["tool_calls"][0]["function"]["arguments"].values()
        return any(v[:1].isupper() and v not in ("True", "False") and v.lower() not in said for v in given)

    def _begin(self, messages: Sequence[Message], end: int) -> int:
        """The first message kept: a user's, a window back, so that most arguments are still said."""
        starts = [i for i in range(end) if messages[i]["role"] == "user" and end - i <= self.window]
        return starts[0]

    def _renamed(
        self, messages: Sequence[Message], begin: int, end: int, services: Sequence[str]
    ) -> list[Message]:
        """The dialogue with other names in the place of those that its users said and its calls repeat."""
        window = messages[begin : end + 1]
        said = " ".join(m["content"] for m in window if m["role"] == "user")
        listed = {value for service in services for tool in self.tools[service] for value in _choices(tool)}
        given = {
            value
            for m in window
            for call in m.get("tool_calls") or ()
            for value in call["function"]["arguments"].values()
            if value[:1].isupper() and CLEAN.match(value) and value not in listed
        }
        names = sorted(v for v in given if re.search(rf"\b{re.escape(v)}\b", said))
        others = {name: self.words.pick(self.rng, self.rng.choice(NAMES)) for name in names}
        if not others:
            return list(messages)
        found = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(others, key=len, reverse=True)))})\b")
        return [
            _replaced(message, lambda text: found.sub(lambda m: others[m[0]], text)) for message in messages
        ]

    def _message(self, message: Message, order: dict[str, list[str]], restyle: Any) -> Message:
        if message["role"] == "user":
            return user(message["content"])
        if message["role"] == "tool":
            return tool(
                "\n".join(json.dumps(row, ensure_ascii=False) for row in message["content"][:1])
                or "No result."
            )
        if not message.get("tool_calls"):
            return says(message["content"])
        function = message["tool_calls"][0]["function"]
        given = function["arguments"]
        names = [name for name in order[function["name"]] if name in given]
        return calls((restyle(function["name"]), {name: given[name] for name in names}))

    def _listing(
        self, services: Sequence[str], window: Sequence[Message], restyle: Any, plain: bool
    ) -> tuple[list[Tool], dict[str, list[str]]]:
        """(tools as shown, argument order by original name)."""
        used: dict[str, set[str]] = {}
        for message in window:
            for call in message.get("tool_calls", ()):
                used.setdefault(call["function"]["name"], set()).update(call["function"]["arguments"])
        own = {t["function"]["name"]: t for service in services for t in self.tools[service]}
        if not plain:
            others = [s for s in self.tools if s not in services and s not in HELD_OUT]
            for service in self.rng.sample(others, min(len(others), self.rng.choice((0, 0, 1, 2)))):
                for one in self.tools[service]:
                    own.setdefault(one["function"]["name"], one)
        chosen = list(own.values())
        if not plain:
            chosen = [t for t in chosen if t["function"]["name"] in used or self.rng.random() < 0.7]
            self.rng.shuffle(chosen)
        shown = [self._shown(t, used.get(t["function"]["name"], set()), restyle, plain) for t in chosen]
        order = {
            t["function"]["name"]: list(s["function"]["parameters"]["properties"])
            for t, s in zip(chosen, shown, strict=True)
        }
        return shown, order

    def _shown(self, one: Tool, used: set[str], restyle: Any, plain: bool) -> Tool:
        function = one["function"]
        required = function["parameters"]["required"]
        properties = list(function["parameters"]["properties"].items())
        if not plain:
            properties = [
                (n, p) for n, p in properties if n in required or n in used or self.rng.random() < 0.7
            ]
            if self.rng.random() < 0.3:
                self.rng.shuffle(properties)
        parameters = {**function["parameters"], "properties": dict(properties)}
        shown = {**function, "name": restyle(function["name"]), "parameters": parameters}
        return {"type": "function", "function": shown}


def _choices(one: Tool) -> list[str]:
    """Every value that an argument of the tool is chosen from."""
    properties = one["function"]["parameters"]["properties"].values()
    return [value for each in properties for value in each.get("enum", ())]


def _replaced(value: Any, change: Callable[[str], str]) -> Any:
    """JSON with its texts changed, keys as they are."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _replaced(one, change) for key, one in value.items()}
    return [_replaced(one, change) for one in value] if isinstance(value, list) else value


def replies(records: Sequence[Record]) -> list[Pair]:
    """People's questions with the assistant's plain reply."""
    out = []
    for record in records:
        messages = record["messages"]
        for one, other in pairwise(messages):
            if one["role"] != "user" or other["role"] != "assistant" or not other.get("content"):
                continue
            asked = re.findall(r"[A-Z][^.?!]{12,110}\?", one["content"])
            said = re.findall(r"[A-Z][^?!]{20,160}\.", other["content"])
            if len(asked) == 1 and len(said) == 1 and '"' not in said[0]:
                out.append(Pair(asked[0], said[0].split(". ")[0].rstrip(".") + "."))
    return out
