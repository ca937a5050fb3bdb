"""The rules of a SELECT for models too small to tell: conditions compare with what was said, in a column
that can hold it, and figures are made of numbers.

A text is compared with a column where a cell has it; what no cell has may be a name that is not there, and
is compared with any text. Numbers and years are those of the question. Where nothing of the kind was said
there is no WHERE: `how many customers do we have` has none.
"""

from collections.abc import Callable, Iterable, Sequence

from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.constraints.said import Said
from llm_server.constraints.spans import escape
from llm_server.constraints.sql_schema import Column, SqlSchema
from llm_server.constraints.sql_writer import COMPARE, Scope, Writer, spelled

DATED = ("date", "time", "day", "year")
"""Parts of the name of a column that may hold dates where its kind is not known."""


class FittedWriter(Writer):
    """Writes the rules of one grammar for one question. The schema's `values` must be known."""

    def __init__(self, rules: Rules, schema: SqlSchema, user_texts: Sequence[str]) -> None:
        super().__init__(rules, schema, user_texts, free=False)
        self._cells = schema.values or {}
        columns = (column for columns in schema.tables.values() for column in columns)
        self._said = Said.of(user_texts, (*schema.tables, *columns))
        names = self._said.names(cell for cells in self._cells.values() for cell in cells)
        # One rule for all columns: a wide schema would repeat them a hundred times.
        self._names = rules.add("sql-names", _texts(names)) if names else None
        self._numbers = rules.add("sql-said", _any(self._said.numbers)) if self._said.numbers else None

    def _where(self, scope: Scope) -> str | None:
        one = [
            test
            for table in scope.tables
            for column in self._schema.tables[table]
            for test in self._tests(scope, (table, column))
        ]
        return self._together(one, f"where-{scope.key}")

    def _having(self, scope: Scope, term: str) -> str | None:
        tests = [f"{term} {COMPARE} {self._numbers}"] if self._numbers else []
        return self._together(tests, f"having-{scope.key}")

    def _limit(self) -> str:
        whole = [number for number in self._said.numbers if number.isdigit() and 0 < int(number) < 10_000]
        return f'(" LIMIT " {_any(dict.fromkeys(["1", *whole]))})?'

    def _group_terms(self, scope: Scope) -> list[str]:
        """Not by a measure, which every row has its own of; a year is none."""
        fit = self._chosen(scope, lambda one: self._kind(one) != "number" or "year" in one[1].lower())
        return fit or [self._term(scope)]

    def _order_terms(self, scope: Scope) -> list[str]:
        """By names only where the alphabet was asked for: `top five` is by a figure."""
        if self._said.asks("sort"):
            return [self._term(scope)]
        return self._chosen(scope, lambda column: self._kind(column) not in {"text", "key"})

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
        kind, said = self._kind(column), self._said
        name = choice(*map(literal, spelled(scope, column)))
        equal = '(" = " | " <> " | " != ")' if said.asks("not") else '" = "'
        out = [f"{name} {equal} {text}" for text in self._texts(column)]
        if len(self._cells.get(column, ())) > 1:
            cell = _texts(self._cells[column])
            out.append(f'{name} " IN (" {cell} (", " {cell}){{1,4}} ")"')
        if kind in {"number", None} and self._numbers:
            out.append(f"{name} {COMPARE} {self._numbers}")
            out.append(f'{name} " BETWEEN " {self._numbers} " AND " {self._numbers}')
        if kind == "key" and self._numbers:
            out.append(f'{name} " = " {self._numbers}')
        if self._is_dated(column):
            out += self._date_tests(name)
        if kind in {"text", None} and said.asks("like"):
            out += self._like_tests(name)
        if said.asks("null"):
            out.append(f'{name} " IS " ("NOT ")? "NULL"')
        if kind in {"number", None} and said.asks("select"):
            out.append(f'{name} {COMPARE} "(" {self._subselect()} ")"')
        return out

    def _texts(self, column: Column) -> list[str]:
        """What a column may be equal to, in quotes: its own cells, and any name where it holds text."""
        out = [_texts(self._cells[column])] if column in self._cells else []
        if self._names and self._kind(column) in {"text", None}:
            out.append(self._names)
        return out

    def _like_tests(self, name: str) -> list[str]:
        parts = self._said.names(())
        if not parts:
            return []
        part = self._rules.add("sql-part", choice(*(escape(one, "sql") for one in parts)))
        return [f'{name} (" NOT")? " LIKE \'" "%"? {part} "%"? "\'"']

    def _date_tests(self, name: str) -> list[str]:
        said = self._said
        out = []
        if said.years:
            years = _any(said.years)
            out.append(f'"strftime(\'%Y\', " {name} ") = \'" {years} "\'"')
            out.append(f'"EXTRACT(YEAR FROM " {name} ") = " {years}')
        if said.dates:
            date = f'"\'" {_any(said.dates)} "\'"'
            out.append(f"{name} {COMPARE} {date}")
            out.append(f'{name} " BETWEEN " {date} " AND " {date}')
        return out

    def _aggregates(self, scope: Scope) -> list[str]:
        every, out = self._columns(scope), []
        out.append(f'"COUNT(" ("DISTINCT ")? {every} ")"')
        if numbers := self._kept(scope, self._is_number):
            out.append(f'("SUM" | "AVG") "(" {numbers} (" * " {numbers})? ")"')
        if ordered := self._kept(scope, lambda column: self._kind(column) != "key"):
            out.append(f'("MIN" | "MAX") "(" {ordered} ")"')
        return out

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


def _texts(cells: Iterable[str]) -> str:
    return f'"\'" {choice(*(escape(cell, "sql") for cell in dict.fromkeys(cells)))} "\'"'
