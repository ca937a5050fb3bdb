"""Reading a database's tables through SQLAlchemy's inspector."""

from collections.abc import Iterable

from sqlalchemy import Engine, Inspector, MetaData, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedForeignKeyConstraint
from sqlalchemy.sql import func

from tools.sql.catalog import Catalog, Column, ForeignKey, Table


def read_catalog(
    name: str,
    inspector: Inspector,
    default_schema: str,
    counting: Engine | None = None,
    other_schemas: Iterable[str] = (),
) -> Catalog:
    """The catalog of a database; with `counting`, each table's rows are counted (a view's are not: they are
    computed, for ever it may be). Blocking.
    """
    tables = _tables(inspector, None, "", counting)
    for schema in other_schemas:
        tables += _tables(inspector, schema, f"{schema}.", counting)
    return Catalog(
        name=name,
        dialect="postgres" if inspector.dialect.name == "postgresql" else inspector.dialect.name,
        default_schema=default_schema,
        tables=tuple(sorted(tables, key=lambda table: table.name)),
    )


def _tables(inspector: Inspector, schema: str | None, prefix: str, counting: Engine | None) -> list[Table]:
    tables = [_table(inspector, schema, prefix, name, counting) for name in inspector.get_table_names(schema)]
    return tables + [
        _table(inspector, schema, prefix, name, None) for name in inspector.get_view_names(schema)
    ]


def _table(
    inspector: Inspector, schema: str | None, prefix: str, name: str, counting: Engine | None
) -> Table:
    keys = set(inspector.get_pk_constraint(name, schema).get("constrained_columns") or ())
    return Table(
        name=prefix + name,
        columns=tuple(_column(column, keys) for column in inspector.get_columns(name, schema)),
        foreign_keys=tuple(
            key for found in inspector.get_foreign_keys(name, schema) for key in _foreign_keys(found)
        ),
        rows=_count(counting, name, schema) if counting is not None else None,
    )


def _column(column: ReflectedColumn, keys: set[str]) -> Column:
    return Column(
        name=column["name"],
        type=str(column["type"]),
        nullable=bool(column.get("nullable", True)),
        primary_key=column["name"] in keys,
    )


def _foreign_keys(found: ReflectedForeignKeyConstraint) -> Iterable[ForeignKey]:
    schema = found.get("referred_schema")
    target = f"{schema}.{found['referred_table']}" if schema else found["referred_table"]
    for own, other in zip(found["constrained_columns"], found["referred_columns"], strict=False):
        yield ForeignKey(column=own, references=f"{target}.{other}")


def _count(engine: Engine, name: str, schema: str | None) -> int | None:
    table = SqlTable(name, MetaData(), schema=schema)
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
