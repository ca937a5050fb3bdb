"""The rules of a SELECT's grammar: select list, FROM and joins, clauses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.constraints.spans import span_rule
from llm_server.constraints.sql_schema import Column, SqlSchema, aliases, identifier, qualified

NAME = "[a-z] [a-z0-9_]{0,30}"
NUMBER = '"-"? [0-9]{1,12} ("." [0-9]{1,6})?'
DATE = '[0-9]{4} ("-" [0-9]{2} ("-" [0-9]{2})?)? (" " [0-9]{2} ":" [0-9]{2} (":" [0-9]{2})?)?'
FREE = r"""[^'"\\\x00-\x1F\x7F]{0,60}"""
FORMAT = '"%" [YmdwjHW] ("-%" [md]){0,2}'
COMPARE = '(" = " | " > " | " < " | " >= " | " <= " | " <> " | " != ")'


@dataclass(frozen=True)
class Scope:
    """Tables whose columns may stand somewhere, and how: by their name alone, as `Table.Column`, or both."""

    tables: tuple[str, ...]
    plain: bool
    qualified: bool

    @property
    def key(self) -> str:
        return "-".join((*self.tables, *(("q",) if not self.plain else ())))


def joined(tables: tuple[str, ...]) -> Scope:
    """After FROM: columns of one table plain or qualified, of several qualified."""
    return Scope(tables, plain=len(tables) == 1, qualified=True)


class Writer:
    """Writes the rules of one grammar."""

    _groups = True
    """Whether there may be groups at all."""

    def __init__(self, rules: Rules, schema: SqlSchema, user_texts: Sequence[str], free: bool) -> None:
        self._rules, self._schema = rules, schema
        self._string = self._literals(user_texts, free)
        self._number = rules.add("sql-number", NUMBER)

    def head(self) -> str:
        """SELECT, a list of one table's plain columns or of qualified ones, FROM, and a table."""
        names = choice(*(literal(identifier(table)) for table in self._schema.tables))
        return f'"SELECT " ("DISTINCT ")? {choice(*map(self._list, self._scopes()))} " FROM " {names}'  # noqa: S608 (a grammar)

    def _scopes(self) -> list[Scope]:
        """What select lists may be about: one table, or all that joins lead to."""
        scopes = [Scope((table,), plain=True, qualified=False) for table in self._schema.tables]
        for component in self._schema.components():
            tables = tuple(table for table in self._schema.tables if table in component)
            scopes.append(Scope(tables, plain=False, qualified=True))
        return scopes

    def _used(self, select_list: str) -> tuple[set[str], set[str]]:
        """(tables that have to be joined, plain columns) of a select list."""
        return self._schema.used(select_list)

    def from_tables(self, select_list: str) -> str:
        """What follows FROM."""
        needed, plain = self._used(select_list)
        options = []
        for table in self._schema.starts(needed, plain):
            rest = self._rules.add(f"from-{table}", self.after((table,), select_list))
            options.append(f"{literal(identifier(table))} {rest}")
        return f'" " {choice(*options)}'

    def after(self, tables: tuple[str, ...], select_list: str) -> str:
        """What follows the last table or join: clauses when all that is needed is there, or one more join."""
        needed, plain = self._used(select_list)
        options = [self._clauses(joined(tables), select_list)] if needed <= set(tables) else []
        for table, conditions in ({} if plain else self._schema.joins(tables)).items():
            there = (*tables, table)
            ends = [self._clauses(joined(there), select_list)] if needed <= set(there) else []
            ends += ['" JOIN"'] if self._schema.joins(there) else []
            if ends:
                kinds = '(" JOIN " | " LEFT JOIN " | " INNER JOIN ")'
                on = choice(*map(literal, conditions))
                options.append(f'{kinds} {literal(identifier(table))} " ON " {on} {choice(*ends)}')
        return choice(*(options or [self._clauses(joined(tables), select_list)]))

    def _clauses(self, scope: Scope, select_list: str) -> str:
        """WHERE, GROUP BY, HAVING, ORDER BY, LIMIT over these tables; any of them or none."""
        aggregate = self._aggregate(scope)
        names = [literal(name) for name in aliases(select_list)]
        group = choice(*names, *self._group_terms(scope))
        order = f'{choice(*names, aggregate, *self._order_terms(scope))} (" DESC" | " ASC")?'
        having = _optional('" HAVING "', self._having(scope, choice(aggregate, *names)))
        parts = [
            _optional('" WHERE "', self._where(scope)),
            f'(" GROUP BY " {group} (", " {group}){{0,3}} {having})?' if self._groups else "",
            self._end(f'" ORDER BY " {order} (", " {order}){{0,2}}'),
        ]
        return self._rules.add(f"clauses-{scope.key}", " ".join(filter(None, parts)))

    def _where(self, scope: Scope) -> str | None:
        """Conditions on rows; None where there is nothing to ask."""
        return self._test(self._term(scope), self._value(scope), f"where-{scope.key}")

    def _having(self, scope: Scope, term: str) -> str | None:
        """Conditions on groups; None where there is nothing to ask."""
        return self._test(term, self._value(scope), f"having-{scope.key}")

    def _end(self, order: str) -> str:
        """ORDER BY and LIMIT."""
        return f'({order})? (" LIMIT " [1-9] [0-9]{{0,4}} (" OFFSET " [0-9]{{1,5}})?)?'

    def _term(self, scope: Scope) -> str:
        column = self._columns(scope)
        return self._rules.add(f"term-{scope.key}", choice(*self._functions(scope), column))

    def _group_terms(self, scope: Scope) -> list[str]:
        return [self._term(scope)]

    def _order_terms(self, scope: Scope) -> list[str]:
        return [self._term(scope)]

    def _test(self, term: str, value: str, hint: str) -> str:
        """Comparisons joined by AND and OR, one level of brackets."""
        within = f'(" NOT")? " IN (" ({value} (", " {value}){{0,9}} | {self._subselect()}) ")"'
        like = f'(" NOT")? " LIKE \'" "%"? {self._string} "%"? "\'"'
        between = f'" BETWEEN " {value} " AND " {value}'
        null = '" IS " ("NOT ")? "NULL"'
        one = self._rules.add(
            f"{hint}-one", f"{term} ({COMPARE} {value} | {like} | {null} | {between} | {within})"
        )
        some = f'{one} ((" AND " | " OR ") {one}){{0,5}}'
        group = self._rules.add(f"{hint}-some", f'{one} | "(" {some} ")"')
        return self._rules.add(hint, f'{group} ((" AND " | " OR ") {group}){{0,5}}')

    def _value(self, scope: Scope) -> str:
        """A number, a string, a column, or one value out of another SELECT."""
        column = self._columns(scope)
        date = '"date(\'now\'" (", \'" [-+] [0-9]{1,4} " " ("day" | "month" | "year") "s"? "\'")? ")"'
        text = f'"\'" {self._string} "\'"'
        return self._rules.add(
            f"value-{scope.key}", f'{self._number} | {text} | {date} | {column} | "(" {self._subselect()} ")"'
        )

    def _subselect(self) -> str:
        """One level, one table, one column."""
        if "subselect" in self._rules:
            return "subselect"
        options = []
        for table in self._schema.tables:
            scope = joined((table,))
            column = self._columns(scope)
            item = choice(column, self._aggregate(scope))
            text = f'"\'" {self._string} "\'" | {self._number}'
            test = f'{column} (" = " | " > " | " < " | " >= " | " <= " | " <> ") ({text})'
            order = f'" ORDER BY " {item} (" DESC")? " LIMIT " [1-9] [0-9]{{0,2}}'
            where = f'(" WHERE " {test} (" AND " {test})?)?'
            options.append(f"{item} {literal(' FROM ' + identifier(table))} {where} ({order})?")
        return self._rules.define("subselect", f'"SELECT " ("DISTINCT ")? {choice(*options)}')

    def _list(self, scope: Scope) -> str:
        """Items of a select list over one set of columns."""
        expression = choice(self._aggregate(scope), *self._functions(scope), self._columns(scope))
        item = self._rules.add(f"item-{scope.key}", f'{expression} (" AS " {NAME})?')
        return self._rules.add(f"list-{scope.key}", f'"*" | {item} (", " {item}){{0,9}}')

    def _aggregate(self, scope: Scope) -> str:
        """COUNT(*) and the others, rounded or not."""
        plain = self._rules.add(f"aggregate-{scope.key}", choice('"COUNT(*)"', *self._aggregates(scope)))
        ratio = f'{plain} (" / " {plain} | " * " {self._number})?'
        return self._rules.add(f"total-{scope.key}", f'{ratio} | "ROUND(" {ratio} ", " [0-9] ")"')

    def _aggregates(self, scope: Scope) -> list[str]:
        """Aggregates of columns."""
        column = self._columns(scope)
        sum_of = f'{column} ((" * " | " + " | " - " | " / ") ({column} | {self._number})){{0,3}}'
        return [f'("COUNT" | "SUM" | "AVG" | "MIN" | "MAX") "(" ("DISTINCT ")? {sum_of} ")"']

    def _functions(self, scope: Scope) -> list[str]:
        """Functions of one value, sums of columns, and texts put together."""
        column = self._columns(scope)
        name = '("UPPER" | "LOWER" | "LENGTH" | "ABS" | "date" | "TRIM")'
        dates = f'"strftime(\'" {FORMAT} "\', " {column} ")"'
        postgres = f'"EXTRACT(" ("YEAR" | "MONTH" | "DAY") " FROM " {column} ")"'
        rounded = (
            f'"ROUND(" {column} ", " [0-9] ")" | "SUBSTR(" {column} ", " [0-9]{{1,2}} ", " [0-9]{{1,2}} ")"'
        )
        sums = f'{column} ((" * " | " + " | " - " | " / ") ({column} | {self._number})){{1,3}}'
        texts = f'{column} (" || \' \'"? " || " {column}){{1,2}}'
        body = f'{name} "(" {column} ")" | {dates} | {postgres} | {rounded} | {sums} | {texts}'
        return [self._rules.add(f"function-{scope.key}", body)]

    def _columns(self, scope: Scope, keep: Callable[[Column], bool] | None = None) -> str:
        """Columns in scope, those that `keep` chooses where it is given; at least one must be."""
        names = [
            literal(name)
            for table in scope.tables
            for column in self._schema.tables[table]
            if keep is None or keep((table, column))
            for name in spelled(scope, (table, column))
        ]
        return self._rules.add(f"columns-{scope.key}", choice(*dict.fromkeys(names)))

    def _literals(self, user_texts: Sequence[str], free: bool) -> str:
        """What may stand between single quotes."""
        spans = span_rule(self._rules, user_texts, "sql-span", quote="sql")
        options = [spans] if spans is not None else []
        options.append(self._rules.add("sql-date", DATE))
        if free or spans is None:
            options.append(self._rules.add("sql-free", FREE))
        return self._rules.add("sql-text", choice(*options))


def spelled(scope: Scope, column: Column) -> list[str]:
    """How a column may be written in the scope."""
    plain = [identifier(column[1])] if scope.plain else []
    return plain + ([qualified(*column)] if scope.qualified else [])


def _optional(keyword: str, body: str | None) -> str:
    return "" if body is None else f"({keyword} {body})?"
