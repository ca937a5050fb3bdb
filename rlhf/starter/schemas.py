"""Random databases with foreign keys, in many naming styles.

A schema is grown from archetypes (person, item, category, event, line, place), so that any question the SQL
grammar asks has a column with the right meaning: a price, a date, a country, a duration.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from rlhf.starter.phrases import plural
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word

LISTS = wording("schemas")
MEASURES: dict[str, str] = LISTS["measures"]
TEXTS: dict[str, str] = LISTS["texts"]
RESERVED = frozenset(LISTS["reserved"])


@dataclass(frozen=True)
class Column:
    """A column and what it means: `id`, `fk`, `name`, `first`, `last`, `date`, a measure or a text."""

    name: str
    means: str
    words: str
    """How a person calls it: `unit price`."""
    target: "tuple[str, str] | None" = None
    """For `fk`: the table and column it points to."""


@dataclass
class Table:
    name: str
    role: str
    noun: str
    columns: list[Column] = field(default_factory=list)

    def of(self, *means: str) -> list[Column]:
        return [column for column in self.columns if column.means in means]

    @property
    def key(self) -> Column:
        """The primary key; a junction has none and gives its first column."""
        return self.columns[0]

    @property
    def nouns(self) -> str:
        return plural(self.noun)

    def shown(self) -> list[Column]:
        """The columns that tell a row's name."""
        return self.of("name") or self.of("first", "last")


@dataclass
class Schema:
    name: str
    tables: list[Table]

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    def lines(self) -> list[str]:
        """The compact listing of the prompt: `Album(AlbumId, Title, ArtistId > Artist.ArtistId)`."""
        out = []
        for table in self.tables:
            names = [c.name + (f" > {c.target[0]}.{c.target[1]}" if c.target else "") for c in table.columns]
            out.append(f"{table.name}({', '.join(names)})")
        return out


@dataclass(frozen=True)
class Style:
    """How a database names things."""

    case: str
    plural_tables: bool
    long_keys: bool
    """`customer_id` as primary key rather than `id`."""
    prefixed: bool
    """`order_date` rather than `date`."""

    def write(self, words: str) -> str:
        parts = words.replace("_", " ").split()
        if self.case == "camel":
            return "".join(part.capitalize() for part in parts)
        if self.case == "lower_camel":
            return parts[0] + "".join(part.capitalize() for part in parts[1:])
        if self.case == "joined":
            return "".join(parts)
        if self.case == "upper":
            return "_".join(parts).upper()
        if self.case == "title":
            return "_".join(part.capitalize() for part in parts)
        return "_".join(parts)

    def table(self, noun: str) -> str:
        return self.write(plural(noun) if self.plural_tables else noun)


def style(rng: random.Random) -> Style:
    case = rng.choices(("camel", "snake", "lower_camel", "joined", "upper", "title"), (45, 36, 6, 6, 4, 3))[0]
    return Style(case, rng.random() < 0.4, rng.random() < 0.7 or case == "camel", rng.random() < 0.4)


class Grower:
    """Builds one schema."""

    def __init__(self, rng: random.Random, words: Words) -> None:
        self.rng, self.words, self.style = rng, words, style(rng)
        self.schema = Schema(self._database(), [])
        self.used: set[str] = set()

    def _database(self) -> str:
        return self.rng.choice(
            ("main", "shop", "app", "sales", any_word(self.rng, self.words), any_word(self.rng, self.words))
        )

    def noun(self, pool: list[str]) -> str:
        for _ in range(20):
            noun = self.rng.choice(pool)
            if self.rng.random() < 0.15:
                noun = self.words.pick(self.rng, "column").split("_")[0]
            if (
                len(noun) > 2
                and noun not in self.used
                and plural(noun) not in self.used
                and not RESERVED & {noun, plural(noun)}
            ):
                self.used |= {noun, plural(noun)}
                return noun
        return self.noun([f"{a} {b}" for a in pool[:5] for b in ("group", "item", "record")])

    def table(self, role: str, pool: list[str]) -> Table:
        noun = self.noun(pool)
        table = Table(self.style.table(noun), role, noun)
        key = f"{noun} id" if self.style.long_keys else "id"
        self.schema.tables.append(table)
        table.columns.append(Column(self.style.write(key), "id", f"{noun} id"))
        return table

    def add(self, table: Table, means: str, names: str) -> None:
        words = self.rng.choice(names.split("|")).replace("_", " ")
        written = (
            f"{table.noun} {words}" if self.style.prefixed and means in ("date", "name", "status") else words
        )
        if table.role == "event" and means in ("city", "country") and self.rng.random() < 0.5:
            written = f"{self.rng.choice(('billing', 'ship', 'delivery', 'home', 'target'))} {words}"
        name = self.style.write(written)
        if name.lower() not in {c.name.lower() for c in table.columns} | RESERVED:
            table.columns.append(Column(name, means, words))

    def link(self, child: Table, parent: Table, role: str = "") -> None:
        words = f"{role or parent.noun} id" if role != "reports to" else role
        column = Column(self.style.write(words), "fk", parent.noun, (parent.name, parent.key.name))
        if column.name not in {c.name for c in child.columns}:
            child.columns.append(column)

    def some(self, table: Table, means: list[str], least: int, most: int) -> None:
        for one in self.rng.sample(means, min(len(means), self.rng.randint(least, most))):
            self.add(table, one, MEASURES.get(one) or TEXTS[one])

    def junction(self, one: Table, other: Table) -> None:
        """A table that only pairs two others."""
        noun = f"{one.noun} {other.noun}"
        table = Table(self.style.table(noun), "junction", noun)
        self.schema.tables.append(table)
        self.link(table, one)
        self.link(table, other)

    def person(self) -> Table:
        table = self.table("person", LISTS["people"])
        if self.rng.random() < 0.6:
            self.add(table, "first", "first_name")
            self.add(table, "last", "last_name")
        else:
            self.add(table, "name", "name|full_name|name")
        self.some(table, ["city", "country", "age", "salary", "kind"], 1, 3)
        extras = ("email", "phone", "address", "company", "postal_code", "fax", "title", "state")
        for extra in self.rng.sample(extras, self.rng.choice((0, 1, 1, 2, 3, 7))):
            self.add(table, "plain", extra)
        if self.rng.random() < 0.35:
            self.add(table, "date", "birth_date|hire_date|joined|registered_on|start_date")
        if self.rng.random() < 0.12:
            self.link(table, table, self.rng.choice(("reports to", "manager", "boss", "parent")))
        return table

    def item(self) -> Table:
        table = self.table("item", LISTS["items"])
        self.add(table, "name", "name|title")
        self.some(
            table,
            ["price", "duration", "weight", "size", "pages", "year", "rating", "stock", "kind", "maker"],
            1,
            4,
        )
        return table

    def category(self) -> Table:
        table = self.table("category", LISTS["categories"])
        self.add(table, "name", "name|name|title")
        if self.rng.random() < 0.15:
            self.add(table, "plain", "description|notes")
        return table

    def place(self) -> Table:
        table = self.table("place", LISTS["places"])
        self.add(table, "name", "name")
        self.some(table, ["city", "country", "capacity", "population", "height"], 1, 3)
        return table

    def event(self) -> Table:
        table = self.table("event", LISTS["events"])
        self.add(table, "date", "date|created_at|day|start_date|due_date")
        self.some(table, ["amount", "amount", "status", "city", "country", "distance", "duration"], 1, 3)
        return table

    def line(self, event: Table, item: Table) -> Table:
        noun = f"{event.noun} {self.rng.choice(('line', 'item', 'detail', 'entry'))}"
        table = Table(self.style.table(noun), "line", noun)
        self.schema.tables.append(table)
        table.columns.append(
            Column(self.style.write(f"{noun} id" if self.style.long_keys else "id"), "id", noun)
        )
        self.link(table, event)
        self.link(table, item)
        self.add(table, "stock", "quantity|count|pieces")
        if self.rng.random() < 0.6:
            self.add(table, "price", "unit_price|price")
        return table


def grow(rng: random.Random, words: Words, tables: int) -> Schema:
    """A connected schema of about that many tables, listed in a random or alphabetical order."""
    g = Grower(rng, words)
    parents: list[Table] = []
    makers: list[Callable[[], Table]] = [g.person, g.item, g.event, g.place]
    while len(g.schema.tables) < tables:
        left = tables - len(g.schema.tables)
        table = rng.choices(makers, (3, 4, 2, 1))[0]()
        if table.role == "event":
            owners = [t for t in parents if t.role in ("person", "place", "item")]
            for owner in rng.sample(owners, min(len(owners), rng.randint(1, 2))):
                g.link(table, owner)
            items = [t for t in parents if t.role == "item"]
            if left > 1 and items and rng.random() < 0.6:
                g.line(table, rng.choice(items))
        elif left > 1 and rng.random() < 0.6:
            parent = g.category()
            g.link(table, parent)
            if left > 2 and rng.random() < 0.35:
                g.link(parent, g.category())
        elif parents and rng.random() < 0.6:
            role = rng.choice(("", "", "support", "owner", "home", "main")) if table.role == "person" else ""
            g.link(table, rng.choice([t for t in parents if t.role != "event"] or parents), role)
        if table.role == "item":
            for other in [t for t in g.schema.tables if t.role == "category"]:
                if rng.random() < 0.35:
                    g.link(table, other)
            lists = [t for t in g.schema.tables if t.role in ("category", "item") and t is not table]
            if lists and len(g.schema.tables) < tables and rng.random() < 0.2:
                g.junction(rng.choice(lists), table)
        parents.append(table)
    if rng.random() < 0.5:
        g.schema.tables.sort(key=lambda t: t.name)
    else:
        rng.shuffle(g.schema.tables)
    return g.schema


def bare(name: str) -> bool:
    """True for a name that SQL takes without quotes."""
    return re.fullmatch(r"[A-Za-z_]\w*", name) is not None and name.lower() not in RESERVED
