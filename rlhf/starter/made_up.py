"""Conversations with services that were made up, so that a tool is chosen by its listing alone.

The people of the dialogues speak with some thirty tools, and whoever has seen only those knows them by heart.
Here each sample has tools of its own: what they are about, what their arguments are called, which
of two alike is meant. Requests go over several turns: places that are kept, days of which there
are one or two, hours as people say them, a change of mind, a yes.
"""

import datetime
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.starter.persona import OTHERS
from rlhf.starter.phrases import cased, expand
from rlhf.starter.sample import Sample, calls, says, silent, system, tool, user
from rlhf.starter.template import Message, Tool
from rlhf.starter.wording import wording
from rlhf.starter.words import Words

W = wording("services")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TODAY = datetime.date(2019, 3, 1)
"""The day on which the people of the dialogues speak."""
HELD_OUT = re.compile("weather|hotel|flight|car|event|dent|doctor|provider")
"""What the services of the dialogues that are held out are about."""
STATES = ("CA", "OR", "WA", "NY", "BC", "England", "France", "Australia")


@dataclass(frozen=True)
class Slot:
    """An argument: its kind, its name in the listing, the words before it."""

    kind: str
    name: str
    said: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """One tool: what it is about in words, how people ask for it, its slots."""

    name: str
    about: str
    asks: str
    description: str
    needs: tuple[Slot, ...]
    may: tuple[Slot, ...] = ()

    def listed(self, rng: random.Random) -> Tool:
        slots = [*self.needs, *self.may]
        if rng.random() < 0.4:
            rng.shuffle(slots)
        properties = {
            s.name: {"type": "string", **({"enum": list(s.choices)} if s.choices else {})} for s in slots
        }
        required = [s.name for s in slots if s in self.needs]
        parameters = {"type": "object", "properties": properties, "required": required}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


class MadeUpMaker:
    """One conversation a call of `sample`; nothing of one is kept for the next."""

    def __init__(self, rng: random.Random, words: Words, short: bool = False) -> None:
        self.rng, self.words, self.short = rng, words, short
        self.known: dict[str, str] = {}

    def sample(self) -> Sample:
        rng = self.rng
        self.known = {}
        things = rng.sample(W["things"], 2 if self.short else rng.choice((2, 3, 4)))
        groups = [self._services(self._thing(thing)) for thing in things]
        style = rng.choice((str, str, _snake))
        tools = [one.listed(rng) for group in groups for one in group]
        rng.shuffle(tools)
        order = {t["function"]["name"]: list(t["function"]["parameters"]["properties"]) for t in tools}
        messages: list[Message] = [system(rng.choice(OTHERS[:1] * 3 + OTHERS))]
        for turn in range(1 if self.short else rng.choice((1, 2, 2, 3))):
            messages += self._exchange(rng.choice(groups), order, style, first=turn == 0)
        for one in tools:
            one["function"]["name"] = style(one["function"]["name"])
        return Sample("service", messages, tools)

    # services

    def _thing(self, listed: str) -> str:
        """A thing from the list, or any word; those of services that are held out stay unknown."""
        word = self.words.pick(self.rng, "word")
        return listed if self.rng.random() < 0.75 or HELD_OUT.search(word) else word

    def _services(self, thing: str) -> list[Service]:
        """What there is for one thing: find it and book it, find it in two ways, or look at it."""
        rng, name = self.rng, thing.title()
        place = Slot("place", rng.choice(W["place_names"]))
        date = Slot("date", rng.choice(W["date_names"]))
        extras = [self._count(), self._kind()]
        rng.shuffle(extras)
        may = tuple(extras[: rng.choice((0, 1, 1, 2))])
        roll = rng.random()
        if roll < 0.2:
            about = expand(rng, W["describe_check"]).replace("{t}", thing)
            day = ((place, date), ()) if rng.random() < 0.5 else ((place,), (date,))
            return [Service(rng.choice(W["check"]) + name, thing, "ask_check", about, *day)]
        if roll < 0.5:
            return self._alike(thing, place, may)
        days: tuple[Slot, ...] = self._days() if rng.random() < 0.4 else (date,)
        title = Slot("name", f"{_snake(name)}_name" if rng.random() < 0.6 else "name")
        when = (*days, Slot("time", rng.choice(W["time_names"]))) if rng.random() < 0.5 else days
        find = Service(
            rng.choice(W["search"]) + name,
            thing,
            "ask_search",
            expand(rng, W["describe_search"]).replace("{t}", thing),
            (place, *when) if rng.random() < 0.35 else (place,),
            may,
        )
        book = Service(
            rng.choice(W["book"]) + name,
            thing,
            "ask_book",
            expand(rng, W["describe_book"]).replace("{t}", thing),
            (title, *when) if rng.random() < 0.5 else (title, place, *when),
            may[:1],
        )
        return [find, book]

    def _alike(self, thing: str, place: Slot, may: tuple[Slot, ...]) -> list[Service]:
        """Two tools that only the number of days, and a word, tell apart."""
        rng = self.rng
        one, two = rng.choice(W["pairs"])
        first, second = self._days()
        verb = rng.choice(W["search"])
        origin = (Slot("origin", rng.choice(W["origin_names"])),) if rng.random() < 0.6 else ()
        out = []
        for words, days, text in ((one, (first,), "describe_one"), (two, (first, second), "describe_two")):
            about = expand(rng, W[text]).replace("{m}", words[1]).replace("{t}", thing)
            said = f"{rng.choice(words[1:])} {thing}" if days[1:] or rng.random() < 0.5 else thing
            name = verb + words[0] + thing.title()
            out.append(Service(name, said, "ask_search", about, (*origin, place, *days), may))
        return out

    def _days(self) -> tuple[Slot, Slot]:
        first, second, said, other = self.rng.choice(W["spans"])
        return Slot("date", first, said), Slot("later", second, other)

    def _count(self) -> Slot:
        return Slot(
            "count", self.rng.choice(W["count_names"]), choices=tuple("123456"[: self.rng.randint(3, 6)])
        )

    def _kind(self) -> Slot:
        return Slot("kind", self.rng.choice(W["kind_names"]), choices=tuple(self.rng.choice(W["kinds"])))

    # what is said

    def _exchange(
        self, group: Sequence[Service], order: dict[str, list[str]], style: Any, first: bool
    ) -> list[Message]:
        """One thing asked for until it is called; then other ones, or the booking of what was found."""
        rng, wanted = self.rng, self.rng.choice(group)
        if not first and rng.random() < 0.5:
            self.known = {k: v for k, v in self.known.items() if k in ("place", "date")}
        else:
            self.known = {}
        kept = set(self.known)
        given: dict[str, str] = {}
        out = self._asked(wanted, given, kept, first)
        out += self._called(wanted, given, order, style)
        if wanted.asks == "ask_search" and rng.random() < 0.45:
            out += self._changed(wanted, given)
            out += self._called(wanted, given, order, style)
        booking = next((s for s in group if s.asks == "ask_book" and s is not wanted), None)
        if booking and wanted.asks == "ask_search" and rng.random() < 0.7:
            taken: dict[str, str] = {}
            out += [user(self._sentence(expand(rng, rng.choice(W["accept"]))))]
            out += self._missing(booking, taken, set(self.known), [])
            if rng.random() < 0.25 and "date" in taken:
                self.known.pop("date")
                taken["date"], text = self._value(next(s for s in booking.needs if s.kind == "date"))
                out += [silent(says(self._summary(taken)))]
                out += [user(self._sentence(expand(rng, rng.choice(W["change"])).replace("{s}", text)))]
            out += [
                silent(says(self._summary(taken))),
                user(self._sentence(expand(rng, rng.choice(W["confirm"])))),
            ]
            out += self._called(booking, taken, order, style)
        return out

    def _asked(self, wanted: Service, given: dict[str, str], kept: set[str], first: bool) -> list[Message]:
        """The request, with some of what the tool needs, and the turns that ask for the rest."""
        rng = self.rng
        text = expand(rng, rng.choice(W[wanted.asks])).replace("{t}", wanted.about)
        for slot in wanted.needs:
            if slot.kind in kept and rng.random() < 0.8:
                given[slot.kind] = self.known[slot.kind]
                if rng.random() < 0.6:
                    text += " " + expand(rng, rng.choice(W["there" if slot.kind == "place" else "same_day"]))
            elif slot.kind == "later" and "date" not in given:
                continue
            elif rng.random() < 0.5:
                given[slot.kind], said = self._value(slot)
                text += " " + said
        for slot in wanted.may:
            if rng.random() < 0.3:
                given[slot.kind], said = self._value(slot)
                text += rng.choice((" ", ", ", ". ")) + said
        if not first and rng.random() < 0.6:
            text = expand(rng, rng.choice(W["go_on"])).replace("{s}", text)
        return self._missing(wanted, given, set(), [user(self._sentence(text))])

    def _missing(
        self, wanted: Service, given: dict[str, str], kept: set[str], out: list[Message]
    ) -> list[Message]:
        """The turns in which what is missing is asked for and said, one thing at a time or two."""
        rng = self.rng
        lacking = []
        for slot in wanted.needs:
            if slot.kind in kept and slot.kind in self.known:
                given[slot.kind] = self.known[slot.kind]
            elif slot.kind not in given:
                lacking.append(slot)
        while lacking:
            now = lacking[: rng.choice((1, 1, 2))]
            del lacking[: len(now)]
            asked = " and ".join(s.name.replace("_", " ") for s in now)
            out.append(silent(says(expand(rng, rng.choice(W["which"])).replace("{s}", asked))))
            told = []
            for slot in now:
                given[slot.kind], said = self._value(slot, alone=True)
                told.append(said)
            out.append(user(self._sentence(rng.choice((" and ", ", ", ". ")).join(told))))
        return out

    def _changed(self, wanted: Service, given: dict[str, str]) -> list[Message]:
        """Others are asked for: elsewhere, on another day, or with something that was not said before."""
        rng = self.rng
        slots = [
            s for s in (*wanted.needs, *wanted.may) if s.kind in ("place", "date", "count", "kind", "later")
        ]
        text = expand(rng, rng.choice(W["again"]))
        slot = rng.choice(slots)
        if slot.kind in ("date", "later"):
            self.known.pop(slot.kind, None)
        given[slot.kind], said = self._value(slot, alone=rng.random() < 0.4)
        return [user(self._sentence(f"{text} {said}" if rng.random() < 0.6 else f"{text}? {said}"))]

    def _called(
        self, wanted: Service, given: dict[str, str], order: dict[str, list[str]], style: Any
    ) -> list[Message]:
        """The call, a row of its result and what the assistant says of it, which is context only."""
        rng = self.rng
        by_name = {s.name: given[s.kind] for s in (*wanted.needs, *wanted.may) if s.kind in given}
        arguments = {name: by_name[name] for name in order[wanted.name] if name in by_name}
        self.known |= given
        found = self.words.pick(rng, rng.choice(("title", "group", "person")))
        row = {**arguments, "price": str(rng.randint(5, 400))}
        if wanted.asks == "ask_search":
            row = {"name": found, **row}
            self.known["name"] = found
        text = expand(rng, rng.choice(W["done" if wanted.asks == "ask_book" else "offer"]))
        text = text.replace("{x}", found).replace("{p}", given.get("place", "town"))
        return [
            calls((style(wanted.name), arguments)),
            tool(json.dumps(row, ensure_ascii=False) if rng.random() < 0.9 else "No result."),
            silent(says(text)),
        ]

    def _summary(self, given: dict[str, str]) -> str:
        text = expand(self.rng, self.rng.choice(W["please_confirm"]))
        return text.replace("{s}", ", ".join(given.values()))

    def _sentence(self, text: str) -> str:
        # No slips of the hand: they would go into names, which are to be copied.
        text = cased(self.rng, text)
        return text if text[-1] in ".?!" else text + self.rng.choice((".", "", "?", "."))

    # values

    def _value(self, slot: Slot, alone: bool = False) -> tuple[str, str]:
        """(the argument, how it is said)."""
        rng = self.rng
        value, words = getattr(self, f"_{slot.kind}_value")(slot)
        if slot.said:
            text = expand(rng, slot.said).replace("{d}", words)
        else:
            kind = "date" if slot.kind == "later" else slot.kind
            text = expand(rng, rng.choice(W[f"{kind}_alone" if alone else kind]))
            for mark in ("{p}", "{d}", "{t}", "{n}", "{k}", "{x}"):
                text = text.replace(mark, words)
        if slot.kind in ("place", "date", "later"):
            self.known[slot.kind] = value
        return value, text

    def _place_value(self, _: Slot) -> tuple[str, str]:
        name = self.words.pick(self.rng, "city").split(",")[0].strip()
        return name, f"{name}, {self.rng.choice(STATES)}" if self.rng.random() < 0.2 else name

    _origin_value = _place_value

    def _name_value(self, _: Slot) -> tuple[str, str]:
        name = self.words.pick(self.rng, self.rng.choice(("title", "group", "person")))
        return name, name

    def _count_value(self, slot: Slot) -> tuple[str, str]:
        value = self.rng.choice(slot.choices)
        return value, NUMBERS[int(value) - 1] if self.rng.random() < 0.5 else value

    def _kind_value(self, slot: Slot) -> tuple[str, str]:
        value = self.rng.choice(slot.choices)
        return value, value if self.rng.random() < 0.4 else value.lower()

    def _date_value(self, _: Slot) -> tuple[str, str]:
        return self._said_day(
            TODAY + datetime.timedelta(self.rng.randint(0, 13 if self.rng.random() < 0.8 else 90))
        )

    def _later_value(self, _: Slot) -> tuple[str, str]:
        first = datetime.date.fromisoformat(self.known.get("date", TODAY.isoformat()))
        return self._said_day(first + datetime.timedelta(self.rng.randint(1, 12)))

    def _said_day(self, day: datetime.date) -> tuple[str, str]:
        rng, month = self.rng, day.strftime("%B")
        end = "th" if 10 < day.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
        nth = f"{day.day}{end}"
        ways = [f"{month} {nth}", f"the {nth} of {month}", f"{nth} of {month}", f"{month} {day.day}"]
        if day.month == TODAY.month:
            ways += [f"the {nth}", f"the {nth} of this month"]
        away = (day - TODAY).days
        if away < 3:
            ways += [("today", "tomorrow", "the day after tomorrow")[away]] * 2
        elif away < 10:
            ways += [f"next {day:%A}"] + [f"{day:%A} next week"] * (
                day.isocalendar().week > TODAY.isocalendar().week
            )
        return day.isoformat(), rng.choice(ways)

    def _time_value(self, _: Slot) -> tuple[str, str]:
        rng = self.rng
        hour, minute = rng.randint(8, 20), rng.choice((0, 0, 0, 15, 30, 30, 45))
        twelve = (hour - 1) % 12 + 1
        half = "am" if hour < 12 else "pm"
        part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
        clock = f"{twelve}:{minute:02}"
        ways = [f"{clock} {half}", f"{clock} {part}", f"{part.split()[-1]} {clock}"]
        if minute == 0:
            ways += [f"{twelve} {half}", f"{NUMBERS[twelve - 1]} {half}", f"{twelve} o'clock {part}"]
        if minute == 30:
            ways += [f"half past {twelve} {part}", f"half past {NUMBERS[twelve - 1]} {part}"]
        if minute == 15:
            ways += [f"quarter past {twelve} {part}"]
        if minute == 45:
            ways += [f"quarter to {twelve % 12 + 1} {part}"]
        return f"{hour:02}:{minute:02}", rng.choice(ways)


def _snake(name: str) -> str:
    return "".join("_" * (i > 0 and c.isupper()) + c.lower() for i, c in enumerate(name))
