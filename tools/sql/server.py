"""The MCP server `sql`: a project's databases, read only."""

from typing import Annotated

from fastmcp import FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from tools.context import ADMIN, CALL, Callers, requires
from tools.edge import READ_ONLY, Edge, Text, add_tool
from tools.settings import Settings
from tools.sql.catalog import Catalog
from tools.sql.query import Queries
from tools.sql.table import QueryResult
from tools.sql.values import NamedCells


class Described(BaseModel):
    """The schemas of the project's databases."""

    databases: list[Catalog]

    def text(self) -> str:
        """One line a table; several databases are named above their tables."""
        if len(self.databases) == 1 and self.databases[0].tables:
            return "\n".join(table.line() for table in self.databases[0].tables)
        return "\n\n".join(catalog.text() for catalog in self.databases)


class Named(BaseModel):
    """Cells that a text names."""

    named: list[NamedCells]

    def text(self) -> str:
        """One line a column."""
        lines = [f"{one.table}.{one.column}: {', '.join(one.cells)}" for one in self.named]
        return "\n".join(lines) or "No cell of the database is named."


class Tested(BaseModel):
    """A database that answered."""

    name: str
    dialect: str
    tables: int


class SqlServer:
    """The tools, with what they share."""

    def __init__(self, settings: Settings, callers: Callers) -> None:
        self._callers = callers
        self._queries = Queries(settings)

    async def query(
        self,
        sql: Annotated[str, Field(min_length=1, max_length=20_000, description="One SELECT statement.")],
        database: Annotated[
            Text, Field(max_length=200, description="Name of the database; the first one if left out.")
        ] = "",
    ) -> ToolResult:
        """Run one read-only SELECT statement on the project's database."""
        result = await self._queries.query(self._callers.current(), sql, database or None)
        return ToolResult(content=result.text(), structured_content=result)

    async def describe(
        self,
        table: Annotated[
            Text,
            Field(
                max_length=200,
                description="Name of one table; all if left out.",
                json_schema_extra={"x-span": True},
            ),
        ] = "",
    ) -> ToolResult:
        """Show the tables and columns of the project's database."""
        catalogs = await self._queries.describe(self._callers.current(), table or None)
        described = Described(databases=catalogs)
        return ToolResult(content=described.text(), structured_content=described)

    async def values(
        self,
        text: Annotated[str, Field(min_length=1, max_length=20_000, description="A question, or any text.")],
    ) -> ToolResult:
        """Find the cells of the project's database that a text names, and the columns that hold them."""
        found = Named(named=await self._queries.values(self._callers.current(), text))
        return ToolResult(content=found.text(), structured_content=found)

    async def test(
        self,
        database: Annotated[str, Field(min_length=1, max_length=200, description="Name of the database.")],
    ) -> ToolResult:
        """Connect to a database and count its tables."""
        catalog = await self._queries.test(self._callers.current(), database)
        tested = Tested(name=catalog.name, dialect=catalog.dialect, tables=len(catalog.tables))
        return ToolResult(content=f"{tested.name} answers: {tested.tables} tables", structured_content=tested)


def create_server(settings: Settings, callers: Callers) -> FastMCP:
    """The `sql` server; every call asks `callers` on whose behalf it runs."""
    sql = SqlServer(settings, callers)
    server: FastMCP = FastMCP("sql", middleware=[Edge()], mask_error_details=True)
    call, admin = requires(callers, CALL), requires(callers, ADMIN)
    add_tool(server, sql.query, auth=call, annotations=READ_ONLY, output=QueryResult)
    add_tool(server, sql.describe, auth=call, annotations=READ_ONLY, output=Described)
    add_tool(server, sql.values, auth=call, annotations=READ_ONLY, output=Named)
    add_tool(server, sql.test, auth=admin, annotations=READ_ONLY, output=Tested)
    return server
