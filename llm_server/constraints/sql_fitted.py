"""The rules of a SELECT for models too small to tell: conditions compare with what was said, in a column
that can hold it, and figures are made of numbers.

A text is compared with a column where a cell has it; what no cell has may be a name that is not there, and
is compared with any text. Numbers and years are those of the question. Where nothing of the kind was said
there is no WHERE: `how many customers do we have` has none.
"""

from collections.abc import Callable, Iterable, Sequence

from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.constraints.said import Said, name_words
from llm_server.constraints.spans import escape
from llm_server.constraints.sql_schema import Column, SqlSchema
from llm_server.constraints.sql_writer import COMPARE, NAME, Scope, Writer, spelled

DATED = ("date", "time", "day", "year")
"""Parts of the name of a column that may hold dates where its kind is not known."""


class FittedWriter(Writer):
    """Writes the rules of one grammar for one question. The schema's `values` must be known."""

    def __init__(self, rules: Rules, schema: SqlSchema, user_texts: Sequence[str]) -> None:
        super().__init__(rules, schema, user_texts, free=False)
        columns = (column for columns in schema.tables.values() for column in columns)
        self._said = said = Said.of(user_texts, (*schema.tables, *columns))
        # `How many customers do we have` is one figure.
        self._groups = "count" not in said.cues or bool(said.grouped) or bool(said.cues & {"each", "most"})
        # A year that some cell has too is a year where there are dates.
        years = said.years if "date" in schema.kinds.values() else ()
        cells = {c: [v for v in values if v not in years] for c, values in (schema.values or {}).items()}
        # One rule each for all columns: a wide schema would repeat them a hundred times.
        self._cells = {c: rules.add("sql-cell", _quoted(values)) for c, values in cells.items() if values}
        self._names = self._rule("sql-names", said.names(v for values in cells.values() for v in values))
        self._numbers = rules.add("sql-said", _any(said.figures)) if said.figures else None
        self._years = rules.add("sql-year", _any(said.years)) if said.years else None
        self._months = self._rule("sql-month", said.months)
        self._dates = self._rule("sql-day", said.dates)
        like = f'"\'" "%"? {choice(*(escape(one, "sql") for one in said.parts))} "%"? "\'"'
        self._parts = rules.add("sql-part", like) if "like" in said.cues and said.parts else None

    def _rule(self, name: str, texts: Sequence[str]) -> str | None:
        return self._rules.add(name, _quoted(texts)) if texts else None

    def _scopes(self) -> list[Scope]:
        fit = [scope for scope in super()._scopes() if self._schema.together <= set(scope.tables)]
        summed = [scope for scope in fit if self._sums and self._kept(scope, self._is_number)]
        return summed or fit

    def _used(self, select_list: str) -> tuple[set[str], set[str]]:
        needed, plain = super()._used(select_list)
        return needed | self._schema.together, plain

    def _where(self, scope: Scope) -> str | None:
        one = [
            test
            for table in scope.tables
            for column in self._schema.tables[table]
            for test in self._tests(scope, (table, column))
        ]
        return self._together(one, f"where-{scope.key}")

    def _having(self, scope: Scope, term: str) -> str | None:
        numbers = [self._numbers] if self._numbers else []
        numbers += ['"1"'] if "several" in self._said.cues else []
        tests = [f"{term} {COMPARE} {choice(*numbers)}"] if numbers else []
        return self._together(tests, f"having-{scope.key}")

    def _end(self, order: str) -> str:
        """`The top five` has both, other numbers may be limits."""
        if self._said.limit:
            return f"{order} {literal(f' LIMIT {self._said.limit}')}"
        whole = [number for number in self._said.numbers if number.isdigit() and 0 < int(number) < 10_000]
        return f'({order})? (" LIMIT " {_any(dict.fromkeys(["1", *whole]))})?'

    def _list(self, scope: Scope) -> str:
        """Columns and figures, never all there is; of revenue a sum, and with it what it is the sum of."""
        named = f'(" AS " {NAME})?'
        total = f"{self._aggregate(scope)} {named}"
        plain = f"{choice(*self._functions(scope), self._shown(scope))} {named}"
        summed = self._sums and self._kept(scope, self._is_number) is not None
        if summed or self._splits(scope):
            least = 1 if self._splits(scope) else 0
            return self._rules.add(f"list-{scope.key}", f'({plain} ", "){{{least},4}} {total}')
        item = self._rules.add(f"item-{scope.key}", f"{total} | {plain}")
        return self._rules.add(f"list-{scope.key}", f'{item} (", " {item}){{0,5}}')

    def _splits(self, scope: Scope) -> bool:
        """Whether a figure is asked for of each of something: `tracks in each genre`, `who has most albums`;
        but not of one that is named: `tracks by genre Rock`.
        """
        said = self._said
        of_each = self._about(scope, said.grouped) if said.grouped else set()
        named = any(column in of_each for column in self._cells)
        most = bool(said.asked) and "most" in said.cues
        return len(self._schema.together) > 1 and not named and (bool(of_each) or most)

    def _shown(self, scope: Scope) -> str:
        """Columns that a list may show as they are, of what was asked for where that is known."""
        said = self._said
        about = self._about(scope, said.grouped) if said.grouped else set()
        if not about and said.asked:
            about = self._about(scope, said.asked, figures=True)
        shown = self._kept(scope, lambda one: one in about) if about else None
        if shown is None and "id" not in said.cues:
            shown = self._kept(scope, lambda one: self._kind(one) != "key")
        return shown or self._columns(scope)

    def _about(self, scope: Scope, word: str, figures: bool = False) -> set[Column]:
        """Columns of the table that a word names, else those whose name has the word; measures only where
        `figures` are wanted too, keys only where ids are asked for.
        """
        columns = [(table, column) for table in scope.tables for column in self._schema.tables[table]]
        of_table = [one for one in columns if name_words(one[0]) == {word}]
        found = of_table or [one for one in columns if word in name_words(one[1])]
        wanted = {"text", "date", None} | ({"number"} if figures else set())
        wanted |= {"key"} if "id" in self._said.cues else set()
        return {one for one in found if self._kind(one) in wanted and (not figures or self._is_measure(one))}

    @property
    def _sums(self) -> bool:
        return "sum" in self._said.cues and "count" not in self._said.cues

    def _group_terms(self, scope: Scope) -> list[str]:
        """Not by a measure, which every row has its own of (a year is none), and not by the keys of one
        table, which tell nobody anything.
        """
        useless = {"key", "number"} if len(scope.tables) == 1 else {"number"}
        about = self._about(scope, self._said.grouped) if self._said.grouped else set()
        if about and len(scope.tables) == 1:
            return self._chosen(scope, lambda one: one in about)
        fit = self._chosen(scope, lambda one: self._kind(one) not in useless or "year" in one[1].lower())
        return fit or [self._term(scope)]

    def _order_terms(self, scope: Scope) -> list[str]:
        """By names only where the alphabet was asked for: `top five` is by a figure."""
        if "sort" in self._said.cues:
            return [self._term(scope)]
        return self._chosen(
            scope, lambda one: self._kind(one) not in {"text", "key"} and self._is_measure(one)
        )

    def _chosen(self, scope: Scope, keep: Callable[[Column], bool]) -> list[str]:
        columns = self._kept(scope, keep)
        return self._functions(scope) + ([columns] if columns else [])

    def _together(self, tests: Sequence[str], hint: str) -> str | None:
        if not tests:
            return None
        one = self._rules.add(f"{hint}-one", choice(*tests))
        return self._rules.add(hint, f'{one} ((" AND " | " OR ") {one}){{0,3}}')

    def _tests(self, scope: Scope, column: Column) -> list[str]:
        """Conditions on one column."""
        kind, cues = self._kind(column), self._said.cues
        name = choice(*map(literal, spelled(scope, column)))
        equal = '(" = " | " <> " | " != ")' if "not" in cues else '" = "'
        out = [f"{name} {equal} {text}" for text in self._texts(column)]
        if cell := self._cells.get(column):
            no = '(" NOT")? ' if "not" in cues else ""
            out.append(f'{name} {no}" IN (" {cell} (", " {cell}){{1,4}} ")"')
        if kind in {"number", "key", None} and self._numbers:
            out.append(f"{name} {COMPARE} {self._numbers}")
            out.append(f'{name} " BETWEEN " {self._numbers} " AND " {self._numbers}')
        if self._is_dated(column):
            out += self._date_tests(name)
        if kind in {"text", None} and self._parts:
            out.append(f'{name} (" NOT")? " LIKE " {self._parts}')
        if "null" in cues:
            out.append(f'{name} " IS " ("NOT ")? "NULL"')
        if kind in {"number", None} and "select" in cues:
            out.append(f'{name} {COMPARE} "(" {self._subselect()} ")"')
        return out

    def _texts(self, column: Column) -> list[str]:
        """What a column may be equal to, in quotes: its own cells, and any name where it holds text."""
        out = [self._cells[column]] if column in self._cells else []
        if self._names and self._kind(column) in {"text", None}:
            out.append(self._names)
        return out

    def _date_tests(self, name: str) -> list[str]:
        out = []
        if self._years:
            year, quoted = f'"strftime(\'%Y\', " {name} ")"', f'"\'" {self._years} "\'"'
            out += [f"{year} {COMPARE} {quoted}", f'{year} " BETWEEN " {quoted} " AND " {quoted}']
            extracted = f'"EXTRACT(YEAR FROM " {name} ")"'
            out.append(f"{extracted} {COMPARE} {self._years}")
            out.append(f'{extracted} " BETWEEN " {self._years} " AND " {self._years}')
        if self._months:
            out.append(f'"strftime(\'%Y-%m\', " {name} ")" {COMPARE} {self._months}')
        if self._dates:
            day = f'({name} | "date(" {name} ")")'
            out += [
                f"{day} {COMPARE} {self._dates}",
                f'{day} " BETWEEN " {self._dates} " AND " {self._dates}',
            ]
        return out

    def _aggregate(self, scope: Scope) -> str:
        """Without ratios and factors, which nobody has said. `How many` counts, revenue is a sum."""
        name, counts = f"total-{scope.key}", f'"COUNT(*)" | "COUNT(DISTINCT " {self._columns(scope)} ")"'
        figures = self._figures(scope)
        if figures is None or ("count" in self._said.cues and not self._said.cues & {"sum", "money"}):
            return self._rules.add(name, counts)
        rounded = f'{figures} | "ROUND(" {figures} ", " [0-2] ")"'
        return self._rules.add(name, rounded if self._sums else f"{counts} | {rounded}")

    def _figures(self, scope: Scope) -> str | None:
        """Sums, averages and extremes; None where nothing has them."""
        out = []
        if numbers := self._kept(scope, lambda one: self._is_number(one) and self._is_measure(one)):
            out.append(f'("SUM" | "AVG") "(" {numbers} (" * " {numbers})? ")"')
        extremes = {"number", "date", None}
        ordered = self._kept(scope, lambda one: self._kind(one) in extremes and self._is_measure(one))
        if ordered and not (out and self._sums):
            out.append(f'("MIN" | "MAX") "(" {ordered} ")"')
        return self._rules.add(f"figure-{scope.key}", choice(*out)) if out else None

    def _is_measure(self, column: Column) -> bool:
        """Whether a comparison may be about it: `longest` is about milliseconds, where there are some."""
        said = self._said.measures
        if not said or self._kind(column) == "text":
            return True
        known = any(said & name_words(name) for names in self._schema.tables.values() for name in names)
        return not known or bool(said & name_words(column[1]))

    def _functions(self, scope: Scope) -> list[str]:
        out = []
        if dates := self._kept(scope, self._is_dated):
            out.append(f'"strftime(\'" ("%Y" | "%Y-%m") "\', " {dates} ")"')
            out.append(f'"EXTRACT(" ("YEAR" | "MONTH") " FROM " {dates} ")"')
        return out

    def _kept(self, scope: Scope, keep: Callable[[Column], bool]) -> str | None:
        """Rule for the columns of the scope that `keep` chooses; None without any."""
        some = any(keep((table, column)) for table in scope.tables for column in self._schema.tables[table])
        return self._columns(scope, keep) if some else None

    def _kind(self, column: Column) -> str | None:
        return self._schema.kinds.get(column)

    def _is_number(self, column: Column) -> bool:
        return self._kind(column) in {"number", None}

    def _is_dated(self, column: Column) -> bool:
        named = any(part in column[1].lower() for part in DATED)
        return self._kind(column) == "date" or (self._kind(column) is None and named)


def _any(texts: Iterable[str]) -> str:
    return choice(*map(literal, texts))


def _quoted(texts: Iterable[str]) -> str:
    return f'"\'" {choice(*(escape(text, "sql") for text in dict.fromkeys(texts)))} "\'"'
