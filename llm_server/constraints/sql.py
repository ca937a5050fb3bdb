"""A SELECT over a given schema as a grammar, in step with what has been written of it.

Which columns make sense in WHERE depends on the tables of FROM, and those on the columns of the select
list: no context-free grammar of a sane size says that. So the grammar is written anew at two kinds of
places, after the select list and after each table, with what stands there as a literal and the rest for the
tables in scope.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.constraints.spans import span_rule
from llm_server.constraints.sql_schema import SqlSchema, aliases, identifier, select_head

NAME = "[a-z] [a-z0-9_]{0,30}"
NUMBER = '"-"? [0-9]{1,12} ("." [0-9]{1,6})?'
DATE = '[0-9]{4} ("-" [0-9]{2} ("-" [0-9]{2})?)? (" " [0-9]{2} ":" [0-9]{2} (":" [0-9]{2})?)?'
FREE = r"""[^'"\\\x00-\x1F\x7F]{0,60}"""
FORMAT = '"%" [YmdwjHW] ("-%" [md]){0,2}'


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a statement is: what is written and does not change, and what it means."""

    prefix: str = ""
    select_list: str | None = None
    tables: tuple[str, ...] = ()


def stage_of(schema: SqlSchema, text: str) -> Stage:
    """The stage of a statement's beginning."""
    head = select_head(text)
    if head is None:
        return Stage()
    match = schema.pattern.match(text, len(head))
    chosen = head.removeprefix("SELECT ").removesuffix(" FROM")
    if match is None:
        return Stage(head, chosen)
    tables = (schema.table(match["table"]), *schema.joined(match["joins"]))
    return Stage(head + match.group(), chosen, tables)


def sql_rule(
    rules: Rules, value: Any, user_texts: Sequence[str], written: str = "", free: bool = True
) -> str | None:
    """Rule for the characters of a SELECT inside a JSON string, `written` being there already.

    `value` is the `x-sql` extension; None where it is of no use. `free` allows string literals that are not
    spans of the user's words.
    """
    schema = SqlSchema.of(value)
    if schema is None:
        return None
    writer = _Writer(rules, schema, user_texts, free)
    stage = stage_of(schema, written)
    if stage.select_list is None:
        return rules.add("select", writer.head())
    if not stage.tables:
        return rules.add("select", f"{literal(stage.prefix)} {writer.from_tables(stage.select_list)}")
    return rules.add("select", f"{literal(stage.prefix)} {writer.after(stage.tables, stage.select_list)}")


class _Writer:
    """Writes the rules of one grammar."""

    def __init__(self, rules: Rules, schema: SqlSchema, user_texts: Sequence[str], free: bool) -> None:
        self._rules, self._schema = rules, schema
        self._string = self._literals(user_texts, free)
        self._number = rules.add("sql-number", NUMBER)

    def head(self) -> str:
        """SELECT, a list of one table's plain columns or of qualified ones, FROM, and a table."""
        lists = [self._list(self._plain(table), table) for table in self._schema.tables]
        for component in self._schema.components():
            tables = [table for table in self._schema.tables if table in component]
            lists.append(self._list(self._qualified(tables), "-".join(tables)))
        names = choice(*(literal(identifier(table)) for table in self._schema.tables))
        return f'"SELECT " ("DISTINCT ")? {choice(*lists)} " FROM " {names}'  # noqa: S608 (a grammar)

    def from_tables(self, select_list: str) -> str:
        """What follows FROM."""
        needed, plain = self._schema.used(select_list)
        options = []
        for table in self._schema.starts(needed, plain):
            rest = self._rules.add(f"from-{table}", self.after((table,), select_list))
            options.append(f"{literal(identifier(table))} {rest}")
        return f'" " {choice(*options)}'

    def after(self, tables: tuple[str, ...], select_list: str) -> str:
        """What follows the last table or join: clauses when all that is needed is there, or one more join."""
        needed, plain = self._schema.used(select_list)
        options = [self._clauses(tables, select_list)] if needed <= set(tables) else []
        for table, conditions in ({} if plain else self._schema.joins(tables)).items():
            there = (*tables, table)
            ends = [self._clauses(there, select_list)] if needed <= set(there) else []
            ends += ['" JOIN"'] if self._schema.joins(there) else []
            if ends:
                kinds = '(" JOIN " | " LEFT JOIN " | " INNER JOIN ")'
                on = choice(*map(literal, conditions))
                options.append(f'{kinds} {literal(identifier(table))} " ON " {on} {choice(*ends)}')
        return choice(*(options or [self._clauses(tables, select_list)]))

    def _clauses(self, tables: tuple[str, ...], select_list: str) -> str:
        """WHERE, GROUP BY, HAVING, ORDER BY, LIMIT over these tables; any of them or none."""
        key = "-".join(tables)
        column = self._columns(tables)
        aggregate = self._aggregate(column, key)
        names = [literal(name) for name in aliases(select_list)]
        value = self._value(column, key)
        term = self._rules.add(f"term-{key}", choice(self._function(column), column))
        test = self._test(term, value, f"where-{key}")
        having = self._test(choice(aggregate, *names), value, f"having-{key}")
        group = choice(*names, term)
        order = f'{choice(*names, aggregate, term)} (" DESC" | " ASC")?'
        return self._rules.add(
            f"clauses-{key}",
            f'(" WHERE " {test})? (" GROUP BY " {group} (", " {group}){{0,3}} (" HAVING " {having})?)? '
            f'(" ORDER BY " {order} (", " {order}){{0,2}})? '
            '(" LIMIT " [1-9] [0-9]{0,4} (" OFFSET " [0-9]{1,5})?)?',
        )

    def _test(self, term: str, value: str, hint: str) -> str:
        """Comparisons joined by AND and OR, one level of brackets."""
        compare = f'(" = " | " > " | " < " | " >= " | " <= " | " <> " | " != ") {value}'
        within = f'(" NOT")? " IN (" ({value} (", " {value}){{0,9}} | {self._subselect()}) ")"'
        like = f'(" NOT")? " LIKE \'" "%"? {self._string} "%"? "\'"'
        between = f'" BETWEEN " {value} " AND " {value}'
        null = '" IS " ("NOT ")? "NULL"'
        one = self._rules.add(f"{hint}-one", f"{term} ({compare} | {like} | {null} | {between} | {within})")
        some = f'{one} ((" AND " | " OR ") {one}){{0,5}}'
        group = self._rules.add(f"{hint}-some", f'{one} | "(" {some} ")"')
        return self._rules.add(hint, f'{group} ((" AND " | " OR ") {group}){{0,5}}')

    def _value(self, column: str, key: str) -> str:
        """A number, a string, a column, or one value out of another SELECT."""
        date = '"date(\'now\'" (", \'" [-+] [0-9]{1,4} " " ("day" | "month" | "year") "s"? "\'")? ")"'
        text = f'"\'" {self._string} "\'"'
        return self._rules.add(
            f"value-{key}", f'{self._number} | {text} | {date} | {column} | "(" {self._subselect()} ")"'
        )

    def _subselect(self) -> str:
        """One level, one table, one column."""
        if "subselect" in self._rules:
            return "subselect"
        options = []
        for table in self._schema.tables:
            column = self._columns((table,))
            item = choice(column, self._aggregate(column, table))
            text = f'"\'" {self._string} "\'" | {self._number}'
            test = f'{column} (" = " | " > " | " < " | " >= " | " <= " | " <> ") ({text})'
            order = f'" ORDER BY " {item} (" DESC")? " LIMIT " [1-9] [0-9]{{0,2}}'
            where = f'(" WHERE " {test} (" AND " {test})?)?'
            options.append(f"{item} {literal(' FROM ' + identifier(table))} {where} ({order})?")
        return self._rules.define("subselect", f'"SELECT " ("DISTINCT ")? {choice(*options)}')

    def _list(self, column: str, key: str) -> str:
        """Items of a select list over one set of columns."""
        expression = choice(self._aggregate(column, key), self._function(column), column)
        item = self._rules.add(f"item-{key}", f'{expression} (" AS " {NAME})?')
        return self._rules.add(f"list-{key}", f'"*" | {item} (", " {item}){{0,9}}')

    def _aggregate(self, column: str, key: str) -> str:
        """COUNT(*) and the others, rounded or not."""
        sum_of = f'{column} ((" * " | " + " | " - " | " / ") ({column} | {self._number})){{0,3}}'
        inner = f'("COUNT" | "SUM" | "AVG" | "MIN" | "MAX") "(" ("DISTINCT ")? {sum_of} ")"'
        plain = self._rules.add(f"aggregate-{key}", f'"COUNT(*)" | {inner}')
        ratio = f'{plain} (" / " {plain} | " * " {self._number})?'
        return self._rules.add(f"total-{key}", f'{ratio} | "ROUND(" {ratio} ", " [0-9] ")"')

    def _function(self, column: str) -> str:
        """Functions of one value, sums of columns, and texts put together."""
        name = '("UPPER" | "LOWER" | "LENGTH" | "ABS" | "date" | "TRIM")'
        dates = f'"strftime(\'" {FORMAT} "\', " {column} ")"'
        postgres = f'"EXTRACT(" ("YEAR" | "MONTH" | "DAY") " FROM " {column} ")"'
        rounded = (
            f'"ROUND(" {column} ", " [0-9] ")" | "SUBSTR(" {column} ", " [0-9]{{1,2}} ", " [0-9]{{1,2}} ")"'
        )
        sums = f'{column} ((" * " | " + " | " - " | " / ") ({column} | {self._number})){{1,3}}'
        texts = f'{column} (" || \' \'"? " || " {column}){{1,2}}'
        body = f'{name} "(" {column} ")" | {dates} | {postgres} | {rounded} | {sums} | {texts}'
        return self._rules.add(f"function-{column}", body)

    def _columns(self, tables: tuple[str, ...]) -> str:
        """Columns in scope: of one table plain or qualified, of several qualified."""
        if len(tables) > 1:
            return self._qualified(tables)
        (table,) = tables
        both = choice(self._plain(table), self._qualified(tables))
        return self._rules.add(f"both-{table}", both)

    def _plain(self, table: str) -> str:
        columns = (literal(identifier(column)) for column in self._schema.tables[table])
        return self._rules.add(f"columns-{table}", choice(*columns))

    def _qualified(self, tables: Iterable[str]) -> str:
        parts = []
        for table in tables:
            names = choice(*(literal(identifier(column)) for column in self._schema.tables[table]))
            parts.append(self._rules.add(f"of-{table}", f"{literal(identifier(table) + '.')} {names}"))
        return self._rules.add("qualified-" + "-".join(tables), choice(*parts))

    def _literals(self, user_texts: Sequence[str], free: bool) -> str:
        """What may stand between single quotes."""
        spans = span_rule(self._rules, user_texts, "sql-span", quote="sql")
        options = [spans] if spans is not None else []
        options.append(self._rules.add("sql-date", DATE))
        if free or spans is None:
            options.append(self._rules.add("sql-free", FREE))
        return self._rules.add("sql-text", choice(*options))
