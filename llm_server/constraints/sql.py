"""A SELECT over a given schema as a grammar, in step with what has been written of it.

Which columns make sense in WHERE depends on the tables of FROM, and those on the columns of the select
list: no context-free grammar of a sane size says that. So the grammar is written anew at two kinds of
places, after the select list and after each table, with what stands there as a literal and the rest for the
tables in scope.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_server.constraints.gbnf import Rules, literal
from llm_server.constraints.sql_fitted import FittedWriter
from llm_server.constraints.sql_schema import SqlSchema, select_head
from llm_server.constraints.sql_writer import Writer


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
    spans of the user's words; without it conditions are held to what was said, where the extension says
    which cells that are.
    """
    schema = SqlSchema.of(value)
    if schema is None:
        return None
    fitted = not free and schema.values is not None
    writer = FittedWriter(rules, schema, user_texts) if fitted else Writer(rules, schema, user_texts, free)
    stage = stage_of(schema, written)
    if stage.select_list is None:
        return rules.add("select", writer.head())
    if not stage.tables:
        return rules.add("select", f"{literal(stage.prefix)} {writer.from_tables(stage.select_list)}")
    return rules.add("select", f"{literal(stage.prefix)} {writer.after(stage.tables, stage.select_list)}")
