"""From a statement that somebody wrote to the one that runs: parse, allow, resolve, limit, render.

Only text that this module rendered itself is ever executed, because comments and odd spellings can mean one
thing to a parser and another to an engine. The rendered text is parsed and checked once more, and has to
render to itself, so that the checked tree and the text that runs cannot differ.
"""

from collections.abc import Iterator
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.schema import MappingSchema

from tools.errors import QueryRefused
from tools.sql import allowed
from tools.sql.catalog import Catalog, Table, nearest

MAX_CHARS = 20_000
MAX_NODES = 3_000
ROOTS = (exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Values)


def validate(sql: str, catalog: Catalog, rows: int) -> str:
    """The read-only SELECT that `sql` means, limited to `rows` + 1 rows, as text that may run.

    Raises `QueryRefused` with what to change.
    """
    try:
        return _validated(sql, catalog, rows)
    except RecursionError as error:
        raise QueryRefused("The statement is nested too deeply; write it in a plainer way.") from error


def _validated(sql: str, catalog: Catalog, rows: int) -> str:
    tree = _parse(sql, catalog.dialect)
    _check_nodes(tree, catalog.dialect)
    _match_case(tree, catalog)
    _limit(tree, rows + 1)
    rendered = _render(tree, catalog.dialect)
    again = _parse(rendered, catalog.dialect)
    _check(again, catalog)
    if _render(again, catalog.dialect) != rendered:
        raise QueryRefused("The statement is ambiguous; write it in a plainer way.")
    return rendered


def _render(tree: exp.Expr, dialect: str) -> str:
    try:
        return tree.sql(dialect=dialect, comments=False, unsupported_level=ErrorLevel.RAISE)
    except SqlglotError as error:
        raise QueryRefused(f"This cannot be said in {dialect}: {_first_line(error)}") from error


def _parse(sql: str, dialect: str) -> exp.Expr:
    if len(sql) > MAX_CHARS:
        raise QueryRefused(f"The statement has {len(sql)} characters; at most {MAX_CHARS} may run.")
    if "\x00" in sql:
        raise QueryRefused("The statement holds a NUL character.")
    try:
        trees = [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]
    except SqlglotError as error:
        raise QueryRefused(f"This is not a statement that can be read: {_first_line(error)}") from error
    if len(trees) != 1:
        raise QueryRefused(f"Exactly one SELECT statement can run, this is {len(trees) or 'none'}.")
    return _as_root(trees[0])


def _as_root(tree: exp.Expr) -> exp.Expr:
    while isinstance(tree, exp.Subquery) and {k for k, v in tree.args.items() if v} == {"this"}:
        tree = tree.this
    if not isinstance(tree, ROOTS):
        raise QueryRefused(
            f"Only SELECT can run here, this is {tree.key.upper()}. The database is read-only: ask for data."
        )
    return tree


def _first_line(error: BaseException) -> str:
    # sqlglot underlines the place with terminal colours, which no model needs.
    return str(error).splitlines()[0].replace("\x1b[4m", "").replace("\x1b[0m", "") if str(error) else "?"


def _check_has_columns(tree: exp.Expr) -> None:
    if any(not select.expressions for select in tree.find_all(exp.Select)):
        raise QueryRefused("A SELECT names no column.")


def _check(tree: exp.Expr, catalog: Catalog) -> None:
    _check_has_columns(tree)
    _check_nodes(tree, catalog.dialect)
    _check_names(tree, catalog)


# --- what it is made of ------------------------------------------------------------------------------


def _check_nodes(tree: exp.Expr, dialect: str) -> None:
    functions = allowed.functions(dialect)
    for count, node in enumerate(tree.walk(), start=1):
        if count > MAX_NODES:
            raise QueryRefused(f"The statement is too large: more than {MAX_NODES} parts.")
        _check_node(node, functions, allowed.NAMES[dialect])


def _check_node(node: exp.Expr, functions: frozenset[type[exp.Expr]], names: frozenset[str]) -> None:
    if isinstance(node, exp.Anonymous):
        _check_named_function(node, names)
    elif type(node) not in allowed.NODES and type(node) not in functions:
        raise QueryRefused(f"{_spelled(node)} cannot be used here. Write a plain SELECT without it.")
    if isinstance(node, exp.DataType) and node.this not in allowed.TYPES:
        raise QueryRefused(
            f"The type {node.sql()} cannot be used here; use text, numeric, date or timestamp."
        )
    if isinstance(node, exp.With) and node.args.get("recursive"):
        raise QueryRefused("WITH RECURSIVE cannot be used here. Use a plain WITH or a join.")
    if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
        raise QueryRefused(f"{node.sql()[:60]} cannot stand in FROM; name a table.")
    _check_arguments(node)


def _check_named_function(node: exp.Anonymous, names: frozenset[str]) -> None:
    name = node.this if isinstance(node.this, str) else node.name
    if not isinstance(node.this, str) or name.lower() not in names:
        near = nearest(name, names)
        hint = f" Near to it: {', '.join(near)}." if near else ""
        raise QueryRefused(f"The function {name} cannot be used here.{hint}")


def _check_arguments(node: exp.Expr) -> None:
    permitted = allowed.ARGUMENTS.get(type(node))
    if permitted is None:
        return
    extra = sorted(key for key, value in node.args.items() if value and key not in permitted)
    if extra:
        raise QueryRefused(f"{', '.join(extra).upper().replace('_', '')} cannot be used here; leave it out.")


def _spelled(node: exp.Expr) -> str:
    if isinstance(node, exp.Func):
        return f"The function {node.name if isinstance(node, exp.Anonymous) else node.sql_name()}"
    return f"{node.key.upper()}"


# --- what it names -----------------------------------------------------------------------------------


def _schema(catalog: Catalog) -> MappingSchema:
    mapping: dict[str, Any] = {}
    for table in catalog.tables:
        schema, name = _split(table.name, catalog)
        mapping.setdefault(_quoted(schema), {})[_quoted(name)] = {
            _quoted(column.name): "unknown" for column in table.columns
        }
    return MappingSchema(mapping, dialect=catalog.dialect)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _split(name: str, catalog: Catalog) -> tuple[str, str]:
    schema, dot, table = name.partition(".")
    return (schema, table) if dot else (catalog.default_schema, name)


def _check_names(tree: exp.Expr, catalog: Catalog) -> None:
    _check_tables(tree, catalog)
    try:
        resolved = qualify(
            _with_aliases(tree.copy()),
            dialect=catalog.dialect,
            schema=_schema(catalog),
            db=_quoted(catalog.default_schema),
            expand_stars=True,
            validate_qualify_columns=True,
            quote_identifiers=False,
        )
    except SqlglotError as error:
        raise QueryRefused(_unresolved(tree, catalog, error)) from error
    for whole in resolved.find_all(exp.TableColumn):
        raise QueryRefused(f"{whole.name} is a table, not a column; name its columns.")
    # qualify() leaves a name in HAVING alone that is neither a column nor an output of the SELECT.
    for column in resolved.find_all(exp.Column):
        if not column.table and column.name not in _outputs_around(column):
            tables = [found for t in tree.find_all(exp.Table) if (found := catalog.find(t.name)) is not None]
            raise QueryRefused(_no_column(column, tables))


def _outputs_around(column: exp.Column) -> set[str]:
    names: set[str] = set()
    query = column.find_ancestor(exp.Query)
    while query is not None:
        names |= set(query.named_selects)
        query = query.find_ancestor(exp.Query)
    return names


def _with_aliases(tree: exp.Expr) -> exp.Expr:
    # qualify() names a table without alias after itself and forgets that the name was quoted.
    for table in tree.find_all(exp.Table):
        if not table.alias and isinstance(table.this, exp.Identifier):
            table.set("alias", exp.TableAlias(this=table.this.copy()))
    return tree


def _check_tables(tree: exp.Expr, catalog: Catalog) -> None:
    seen: set[int] = set()
    for scope in traverse_scope(tree):
        for table in scope.tables:
            source = scope.sources.get(table.alias_or_name)
            if isinstance(source, exp.Table) or table.args.get("db"):
                _check_table(table, catalog)
            seen.add(id(table))
    # A table that no scope knows stands somewhere that the rules above did not think of.
    for table in tree.find_all(exp.Table):
        if id(table) not in seen:
            _check_table(table, catalog)


def _check_table(table: exp.Table, catalog: Catalog) -> Table:
    schema = table.args.get("db")
    name = (
        table.name
        if schema is None or schema.name == catalog.default_schema
        else f"{schema.name}.{table.name}"
    )
    found = catalog.find(name)
    if found is None:
        near = nearest(name, catalog.table_names())
        known = ", ".join(catalog.table_names()[:60]) or "none"
        hint = f" Did you mean {near[0]}?" if near else ""
        raise QueryRefused(f"no such table: {name}.{hint} Tables of {catalog.name}: {known}")
    return found


def _unresolved(tree: exp.Expr, catalog: Catalog, error: SqlglotError) -> str:
    tables = [found for table in tree.find_all(exp.Table) if (found := catalog.find(table.name)) is not None]
    aliases = {t.alias_or_name.lower(): catalog.find(t.name) for t in tree.find_all(exp.Table)}
    for column in tree.find_all(exp.Column):
        owner = aliases.get(column.table.lower()) if column.table else None
        among = [owner] if owner else tables
        if column.name and not _known(column, among, tree):
            return _no_column(column, among)
        owners = [t.name for t in tables if column.name.lower() in map(str.lower, t.column_names())]
        if not column.table and len(set(owners)) > 1:
            spelled = " or ".join(f"{owner}.{column.name}" for owner in owners)
            return f"{column.name} is ambiguous. Write {spelled}."
    return f"{_first_line(error)}. Tables used: {'; '.join(table.line() for table in tables)}"


def _known(column: exp.Column, tables: list[Table], tree: exp.Expr) -> bool:
    names = {name.lower() for table in tables for name in table.column_names()}
    named = {alias.alias.lower() for alias in tree.find_all(exp.Alias)}
    return column.name.lower() in names | named or isinstance(column.this, exp.Star)


def _no_column(column: exp.Column, tables: list[Table]) -> str:
    names = [name for table in tables for name in table.column_names()]
    near = nearest(column.name, names)
    hint = f" Did you mean {near[0]}?" if near else ""
    listed = " ".join(f"Columns of {table.name}: {', '.join(table.column_names())}." for table in tables[:4])
    return f"no such column: {column.sql()}.{hint} {listed}".strip()


def _match_case(tree: exp.Expr, catalog: Catalog) -> None:
    """Spell table and column names as the database does; PostgreSQL tells "Album" from album."""
    if catalog.dialect != "postgres":
        return
    tables = {table.name.lower(): table.name for table in catalog.tables}
    columns = {name.lower(): name for table in catalog.tables for name in table.column_names()}
    aliased = {alias.name.lower() for alias in tree.find_all(exp.TableAlias)}
    for identifier in _unquoted(tree):
        parent = identifier.parent
        known = tables if isinstance(parent, exp.Table) or identifier.arg_key == "table" else columns
        real = known.get(identifier.name.lower())
        if real and real != real.lower() and identifier.name.lower() not in aliased:
            identifier.set("this", real)
            identifier.set("quoted", True)


def _unquoted(tree: exp.Expr) -> Iterator[exp.Identifier]:
    for node in tree.find_all(exp.Table, exp.Column):
        for key in ("this", "table"):
            part = node.args.get(key)
            if isinstance(part, exp.Identifier) and not part.args.get("quoted"):
                yield part


# --- how much it returns -----------------------------------------------------------------------------


def _limit(tree: exp.Expr, rows: int) -> None:
    """Lower the outermost LIMIT to `rows`, or set it where there is none."""
    if isinstance(tree, exp.Values) or _is_one_row(tree):
        return
    limit = tree.args.get("limit")
    wanted = limit.expression if isinstance(limit, exp.Limit) else limit.args.get("count") if limit else None
    if limit is not None and isinstance(wanted, exp.Literal) and wanted.is_int and int(wanted.this) <= rows:
        return
    tree.set("limit", exp.Limit(expression=exp.Literal.number(rows)))


def _is_one_row(tree: exp.Expr) -> bool:
    """An aggregate over everything has one row, and needs no limit that only puzzles its reader."""
    if not isinstance(tree, exp.Select) or tree.args.get("group"):
        return False
    return all(item.find(exp.AggFunc) and not item.find(exp.Window, exp.Query) for item in tree.expressions)
