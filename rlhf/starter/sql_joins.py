# ruff: noqa: S608 (statements are what this file writes; their names are its own)
"""Questions that several tables answer, along their foreign keys."""

from itertools import pairwise

from rlhf.starter.schemas import MEASURES, Table
from rlhf.starter.sql_drawing import Asked, Drawing, Skip, W


class Joins(Drawing):
    """Each method is one kind of question."""

    def chain(self, hops: int) -> tuple[Table, Table, list[str]]:
        """(shown parent, child, joins from parent to child) over `hops` foreign keys."""
        link = self.link(lambda link: link.parent.shown())
        joins, parent, child = [link.on(link.child)], link.parent, link.child
        for _ in range(hops - 1):
            below = [one for one in self.links if one.parent is child and one.child is not parent]
            if not below:
                raise Skip
            link = self.rng.choice(below)
            joins.append(link.on(link.child))
            child = link.child
        return parent, child, joins

    def hops(self) -> int:
        return self.rng.choices((1, 2, 3), (70, 22, 8))[0]

    def grouped(self, parent: Table, joins: list[str], what: str, name: str, order: str) -> str:
        return (
            f"SELECT {self.shown(parent, True)}, {what} AS {name} FROM {parent.name} {' '.join(joins)}"
            f" GROUP BY {parent.name}.{parent.key.name} ORDER BY {name}{order}"
        )

    def group_child(self) -> Asked:
        parent, child, joins = self.chain(self.hops())
        named = child
        if child.role == "junction":
            far = [link.parent for link in self.links if link.child is child and link.parent is not parent]
            named = far[0] if far else child
        slots = {"per": parent.noun, "pers": parent.nouns, **self.nouns(named)}
        name = self.alias(named.nouns)
        body = self.grouped(parent, joins, "COUNT(*)", name, " DESC")
        roll = self.rng.random()
        if roll < 0.35:
            return self.word(W["group_child"], **slots), body
        if roll < 0.6:
            return self.word(W["group_child_top"], **slots), body + " LIMIT 1"
        if roll < 0.68:
            return self.word(W["group_child_low"], **slots), body.removesuffix(" DESC") + " LIMIT 1"
        if roll < 0.76:
            n, _ = self.number(1, 30)
            body = body.replace(" ORDER BY", f" HAVING COUNT(*) > {n} ORDER BY")
            return self.word(W["having"], n=n, **slots), body
        n, said = self.number(2, 15)
        return self.word(W["group_child_n"], n=said, **slots), f"{body} LIMIT {n}"

    def measure(self, child: Table) -> tuple[str, str, str]:
        """(expression, its words, wording of its sum) of what adds up in a table."""
        prices, pieces = child.of("price"), child.of("stock")
        if child.role == "line" and prices and pieces:
            return (
                f"{child.name}.{prices[0].name} * {child.name}.{pieces[0].name}",
                prices[0].words,
                W["money"],
            )
        if child.role == "line" and pieces:
            return (
                f"{child.name}.{pieces[0].name}",
                pieces[0].words,
                f"({pieces[0].words}|total {pieces[0].words})",
            )
        c = self.column(child, "amount")
        return f"{child.name}.{c.name}", c.words, W["spent"]

    def sum_child(self) -> Asked:
        parent, child, joins = self.chain(self.hops())
        expression, words, money = self.measure(child)
        slots = {"per": parent.noun, "pers": parent.nouns, "money": money, "m": words, **self.nouns(child)}
        body = self.grouped(parent, joins, f"SUM({expression})", "total", " DESC")
        roll = self.rng.random()
        if "*" not in expression and child.of("stock") and roll < 0.6:
            if roll < 0.25:
                return self.word(W["sold"], **slots), body
            if roll < 0.45:
                return self.word(W["sold_top"], **slots), body + " LIMIT 1"
            n, said = self.number(2, 15)
            return self.word(W["sold_n"], n=said, **slots), f"{body} LIMIT {n}"
        if roll < 0.3:
            return self.word(W["sum_child"], **slots), body
        if roll < 0.55:
            return self.word(W["sum_child_top"], **slots), body + " LIMIT 1"
        n, said = self.number(2, 15)
        return self.word(W["sum_child_n"], n=said, **slots), f"{body} LIMIT {n}"

    def long_child(self) -> Asked:
        """`longest series`: the parent has no length, its parts have."""
        parent, child, joins = self.chain(1)
        c = self.column(child, "duration", "pages", "size", "weight")
        low = self.rng.random() < 0.25
        if parent.of(c.means):
            raise Skip
        core = self.word(
            W["long_child"], best=W["superlatives"][c.means][low], per=parent.noun, **self.nouns(child)
        )
        what = f"SUM({child.name}.{c.name})"
        return core, self.grouped(parent, joins, what, "total", "" if low else " DESC") + " LIMIT 1"

    def average_child(self) -> Asked:
        parent, child, joins = self.chain(1)
        c = self.column(child, *MEASURES)
        core = self.word(W["avg_child"], m=c.words, per=parent.noun, **self.nouns(child))
        return core, self.grouped(parent, joins, f"AVG({child.name}.{c.name})", "average", " DESC")

    def through(self) -> Asked:
        """Rows of a child by the name of its parent, or the other way round."""
        hops = self.rng.choices((1, 2), (80, 20))[0]
        parent, child, joins = self.chain(hops)
        v, condition = self.equals(parent, True)
        slots = {"per": parent.noun, "v": v, **self.nouns(child)}
        upward = [part.split()[1] for part in joins]
        tables = [parent.name, *upward]
        up = self._upward(tables)
        if self.rng.random() < 0.45 or not child.shown():
            return self.word(
                W["through_count"], **slots
            ), f"SELECT COUNT(*) FROM {child.name} {up} WHERE {condition}"
        what = self.shown(child, True)
        return self.word(
            W["through_list"], **slots
        ), f"SELECT {what} FROM {child.name} {up} WHERE {condition}"

    def _upward(self, tables: list[str]) -> str:
        """Joins from the last table back to the first."""
        out = []
        for parent, child in reversed(list(pairwise(tables))):
            link = next(one for one in self.links if one.child.name == child and one.parent.name == parent)
            out.append(link.on(link.parent))
        return " ".join(out)

    def parent_of(self) -> Asked:
        link = self.link(lambda link: link.parent.shown() and link.child.shown())
        v, condition = self.equals(link.child, True)
        core = self.word(W["parent_of"], per=link.parent.noun, v=v, thing=link.child.noun)
        what = self.shown(link.parent, True)
        return core, f"SELECT {what} FROM {link.parent.name} {link.on(link.child)} WHERE {condition}"
