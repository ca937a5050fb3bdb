# ruff: noqa: S608 (statements are what this file writes; their names are its own)
"""Questions that one table answers: counts, filters, figures, extremes, groups, dates."""

from rlhf.starter.phrases import plural
from rlhf.starter.schemas import MEASURES
from rlhf.starter.sql_drawing import Asked, Drawing, Skip, W


class OneTable(Drawing):
    """Each method is one kind of question."""

    def count(self) -> Asked:
        t = self.table(lambda t: t.role != "junction")
        return self.word(W["count"], **self.nouns(t)), f"SELECT COUNT(*) FROM {t.name}"

    def where(self) -> Asked:
        """Counting or listing rows with a text value."""
        t = self.table(lambda t: t.of("city", "country", "status", "kind", "maker"))
        c = self.column(t, "city", "country", "status", "kind", "maker")
        v = self.cell(t, c)
        place = c.means in ("city", "country")
        if self.rng.random() < 0.55 or not t.shown():
            question = self.word(
                W["count_place"] if place else W["count_where"], c=c.words, v=v, **self.nouns(t)
            )
            return question, f"SELECT COUNT(*) FROM {t.name} WHERE {c.name} = {self.quoted(v)}"
        question = self.word(W["list_place"] if place else W["list_where"], c=c.words, v=v, **self.nouns(t))
        return question, f"SELECT {self.shown(t)} FROM {t.name} WHERE {c.name} = {self.quoted(v)}"

    def listing(self) -> Asked:
        t = self.table(lambda t: t.shown())
        extra = [c for c in t.columns if c.means not in ("id", "fk", "name", "first", "last")]
        c = self.rng.choice(extra or [t.shown()[0]])
        core = self.word(W["list"], **self.nouns(t))
        if "{c" not in core:
            return core, f"SELECT {self.shown(t)} FROM {t.name}"
        core = core.replace("{cs}", plural(c.words)).replace("{c}", c.words)
        with_name = any(f" {w} " in core for w in ("their", "with")) and c not in t.shown()
        return core, f"SELECT {self.shown(t) + ', ' if with_name else ''}{c.name} FROM {t.name}"

    def lookup(self) -> Asked:
        t = self.table(lambda t: t.shown() and len(t.columns) > 2)
        c = self.rng.choice(
            [c for c in t.columns if c.means not in ("id", "fk", "name", "first", "last")] or [t.key]
        )
        v, condition = self.equals(t)
        return self.word(
            W["lookup"], c=c.words, v=v, thing=t.noun
        ), f"SELECT {c.name} FROM {t.name} WHERE {condition}"

    def compare(self) -> Asked:
        t = self.table(lambda t: t.of(*MEASURES))
        c = self.column(t, *MEASURES)
        said, sign = self.rng.choice((W["over"], W["under"], W["over"], W["under"], W["least"]))
        n = self.cell(t, c)
        core = self.word(W["compare"], m=c.words, n=n, over=self.rng.choice(said.split("|")), **self.nouns(t))
        what = "COUNT(*)" if core.startswith("how many") or not t.shown() else self.shown(t)
        return core, f"SELECT {what} FROM {t.name} WHERE {c.name} {sign} {n}"

    def between(self) -> Asked:
        t = self.table(lambda t: t.of(*MEASURES) and t.shown())
        c = self.column(t, *MEASURES)
        n, o = sorted((self.cell(t, c), self.cell(t, c)), key=float)
        core = self.word(W["between"], m=c.words, n=n, o=o, **self.nouns(t))
        what = "COUNT(*)" if core.startswith(("how many", "count")) else self.shown(t)
        return core, f"SELECT {what} FROM {t.name} WHERE {c.name} BETWEEN {n} AND {o}"

    def aggregate(self) -> Asked:
        t = self.table(lambda t: t.of(*MEASURES))
        c, function = self.column(t, *MEASURES), self.rng.choice(tuple(W["aggregate"]))
        select = f"SELECT {function}({c.name}) FROM {t.name}"
        if c.means == "amount" and self.rng.random() < 0.6:
            question = self.word(W["money_all"], money=W["money"], m=c.words, **self.nouns(t))
            return question, f"SELECT SUM({c.name}) FROM {t.name}"
        texts = t.of("city", "country", "status", "kind")
        if texts and self.rng.random() < 0.35:
            by = self.rng.choice(texts)
            v = self.cell(t, by)
            core = self.word(
                W["aggregates_where"], f=W["aggregate"][function], m=c.words, c=by.words, v=v, **self.nouns(t)
            )
            return core, f"{select} WHERE {by.name} = {self.quoted(v)}"
        return self.word(W["aggregates"], f=W["aggregate"][function], m=c.words, **self.nouns(t)), select

    def superlative(self) -> Asked:
        """One row or the first n by an own column."""
        t = self.table(lambda t: t.shown() and t.of(*W["superlatives"]))
        c = self.column(t, *W["superlatives"])
        low = self.rng.random() < 0.3
        best, limit, direction = W["superlatives"][c.means][low], "1", " DESC"
        roll = self.rng.random()
        if roll < 0.35:
            core = self.word(W["top_one"], best=best, **self.nouns(t))
        elif roll < 0.55:
            core = self.word(W["low_by"] if low else W["top_by"], m=c.words, **self.nouns(t))
        else:
            limit, said = self.number(2, 20)
            if roll < 0.75:
                core = self.word(W["top_n"], best=best, n=said, **self.nouns(t))
            else:
                low, core = False, self.word(W["top_n_by"], m=c.words, n=said, **self.nouns(t))
        direction = "" if low else " DESC"
        return (
            core,
            f"SELECT {self.shown(t)}, {c.name} FROM {t.name} ORDER BY {c.name}{direction} LIMIT {limit}",
        )

    def group_own(self) -> Asked:
        t = self.table(lambda t: t.of("city", "country", "status", "kind", "maker", "year"))
        c = self.column(t, "city", "country", "status", "kind", "maker", "year")
        name = self.alias(t.nouns)
        body = f"SELECT {c.name}, COUNT(*) AS {name} FROM {t.name} GROUP BY {c.name} ORDER BY {name} DESC"
        if self.rng.random() < 0.45:
            return self.word(W["group_own_top"], c=c.words, **self.nouns(t)), body + " LIMIT 1"
        return self.word(W["group_own"], c=c.words, **self.nouns(t)), body

    def sum_own(self) -> Asked:
        t = self.table(lambda t: t.of("amount") and t.of("city", "country", "status"))
        m, c = self.column(t, "amount"), self.column(t, "city", "country", "status")
        body = f"SELECT {c.name}, SUM({m.name}) AS total FROM {t.name} GROUP BY {c.name} ORDER BY total DESC"
        slots = {"money": W["money"], "c": c.words, "m": m.words, **self.nouns(t)}
        if self.rng.random() < 0.35:
            return self.word(W["sum_own_top"], **slots), body + " LIMIT 1"
        return self.word(W["sum_own"], **slots), body

    def distinct(self) -> Asked:
        t = self.table(lambda t: t.of("city", "country", "status", "kind", "maker", "plain"))
        c = self.column(t, "city", "country", "status", "kind", "maker", "plain")
        slots = {"c": c.words, "cs": plural(c.words), **self.nouns(t)}
        if self.rng.random() < 0.6:
            return self.word(W["distinct_count"], **slots), f"SELECT COUNT(DISTINCT {c.name}) FROM {t.name}"
        return self.word(W["distinct"], **slots), f"SELECT DISTINCT {c.name} FROM {t.name}"

    def missing(self) -> Asked:
        t = self.table(lambda t: t.of("plain") and t.shown())
        c = self.column(t, "plain")
        core = self.word(W["null"], c=c.words, **self.nouns(t))
        what = "COUNT(*)" if core.startswith(("how many", "count")) else self.shown(t)
        return core, f"SELECT {what} FROM {t.name} WHERE {c.name} IS NULL"

    def like(self) -> Asked:
        t = self.table(lambda t: t.of("name"))
        c = self.column(t, "name")
        v = self.rng.choice(self.cell(t, c).split()).strip(",.'&")
        if len(v) < 2 or "'" in v:
            raise Skip
        v = v.lower() if self.rng.random() < 0.4 else v
        core = self.word(W["like"], c=c.words, v=v, **self.nouns(t))
        what = "COUNT(*)" if core.startswith(("how many", "count")) else c.name
        return core, f"SELECT {what} FROM {t.name} WHERE {c.name} LIKE '%{v}%'"

    def dates(self) -> Asked:
        t = self.table(lambda t: t.of("date") and t.role == "event")
        d, amounts = self.column(t, "date"), t.of("amount")
        of_year = f"strftime('%Y', {d.name})"
        slots = {"money": W["money"], "m": amounts[0].words if amounts else "", **self.nouns(t)}
        roll = self.rng.random()
        if roll < 0.45:
            v = self.cell(t, d)[:4]
            if amounts and roll < 0.2:
                return self.word(
                    W["year_sum"], v=v, **slots
                ), f"SELECT SUM({amounts[0].name}) FROM {t.name} WHERE {of_year} = '{v}'"
            return self.word(
                W["year_count"], v=v, **slots
            ), f"SELECT COUNT(*) FROM {t.name} WHERE {of_year} = '{v}'"
        unit = self.rng.choice(("year", "year", "month"))
        part = of_year if unit == "year" else f"strftime('%Y-%m', {d.name})"
        summed = bool(amounts) and self.rng.random() < 0.5
        what, name = (f"SUM({amounts[0].name})", "total") if summed else ("COUNT(*)", self.alias(t.nouns))
        body = f"SELECT {part} AS {unit}, {what} AS {name} FROM {t.name} GROUP BY {unit} ORDER BY"
        if roll > 0.88:
            core = self.word(W["year_sum_top" if summed else "year_top"], unit=unit, **slots)
            return core, f"{body} {name} DESC LIMIT 1"
        return self.word(W["per_year_sum" if summed else "per_year"], unit=unit, **slots), f"{body} {unit}"
