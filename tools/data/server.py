"""The MCP server `data`: a project's datasets, through the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastmcp import FastMCP
from fastmcp.tools import ToolResult
from pydantic import Field

from tools.context import MANAGE, Callers, requires
from tools.data.schemas import (
    Checked,
    DatasetItem,
    DatasetList,
    Deleted,
    Description,
    Key,
    Prepared,
    StepList,
)
from tools.edge import DESTROYS, READ_ONLY, WRITES, Edge, add_tool
from tools.gateway_api import GatewayApi
from tools.settings import Settings

DATASETS = "datasets"
Reference = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        description="Name or id of the dataset.",
        json_schema_extra={"x-span": True},
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=100, description="Name of the new dataset.")]
# Every argument has one plain type and may be left out: small models and grammars read no alternatives.
Mapping = Annotated[
    dict[str, str],
    Field(
        default_factory=dict,
        max_length=50,
        description="Column of the row to column of the file: {instruction: question, output: reply}.",
    ),
]
Steps = Annotated[
    list[dict[str, dict[str, Any] | None]],
    Field(
        default_factory=list,
        max_length=20,
        description="Done to rows, in order: [{clean: {}}, {limit: {tokens: 512}}]; `steps` lists all.",
    ),
]
RowKind = Annotated[
    Literal["", "preference", "kto", "sft", "triplet", "label"],
    Field(description="What the rows are; empty: their columns say it."),
]
HeldOut = Annotated[float, Field(gt=0, lt=1, description="Share kept for the examination.")]
Seed = Annotated[int, Field(ge=0, description="Another seed holds out other rows.")]
Redact = Annotated[bool, Field(description="Replace personal data by the name of its kind.")]


class DataServer:
    """The tools, with what they share."""

    def __init__(self, settings: Settings, callers: Callers) -> None:
        self._api = GatewayApi(settings, callers)

    @asynccontextmanager
    async def lifespan(self, _: FastMCP[Any]) -> AsyncIterator[None]:
        """Let go of the connections at the end."""
        try:
            yield
        finally:
            await self._api.close()

    async def list(self) -> ToolResult:
        """List the project's datasets."""
        found = DatasetList.model_validate(await self._api.get(DATASETS))
        return ToolResult(content=found.text(), structured_content=found)

    async def describe(self, dataset: Reference) -> ToolResult:
        """Show a dataset's columns, text statistics and what it was built from."""
        found = Description.model_validate(await self._api.get(DATASETS, dataset))
        return ToolResult(content=found.text(), structured_content=found)

    async def validate(self, dataset: Reference) -> ToolResult:
        """Check a dataset for missing values, duplicates and personal data."""
        found = Checked.model_validate(await self._api.post(DATASETS, dataset, "validate"))
        return ToolResult(content=found.text(), structured_content=found)

    async def add(
        self,
        name: Name,
        content: Annotated[
            str, Field(min_length=1, max_length=1_000_000, description="JSON lines, or CSV with a header.")
        ],
    ) -> ToolResult:
        """Add a small dataset from text; larger files are uploaded to the gateway."""
        file = {"file": ("data", content.encode(), "application/octet-stream")}
        made = await self._api.post(DATASETS, files=file, data={"name": name})
        item = DatasetItem.model_validate(made)
        return ToolResult(content=item.text(), structured_content=item)

    async def fetch(
        self,
        name: Name,
        source: Annotated[
            str, Field(min_length=6, max_length=1100, description="s3://BUCKET/KEY of a file.")
        ],
    ) -> ToolResult:
        """Add a dataset from a bucket that the operator lets be read."""
        made = await self._api.post(DATASETS, files={}, data={"name": name, "source": source})
        item = DatasetItem.model_validate(made)
        return ToolResult(content=item.text(), structured_content=item)

    async def build(
        self,
        name: Name,
        sources: Annotated[
            Sequence[str], Field(min_length=1, max_length=50, description="Uploaded datasets of one kind.")
        ],
        held_out: HeldOut = 0.2,
        seed: Seed = 0,
        redact_pii: Redact = False,
        kind: RowKind = "",
        split_by: Annotated[
            Sequence[Key], Field(min_length=1, description="What keeps rows on one side.")
        ] = ("prompt", "session", "user"),
        *,
        mapping: Mapping,
        steps: Steps,
    ) -> ToolResult:
        """Build a dataset that can be trained on: without duplicates, split so that nothing leaks."""
        body = {"name": name, "sources": sources, "held_out": held_out, "seed": seed}
        body |= {"redact_pii": redact_pii, "kind": kind or None, "split_by": split_by}
        body |= {"mapping": mapping, "steps": steps}
        item = DatasetItem.model_validate(await self._api.post(DATASETS, "build", json=body))
        return ToolResult(content=item.text(), structured_content=item)

    async def steps(self) -> ToolResult:
        """List the steps that may be done to rows, with their settings."""
        found = StepList.model_validate(await self._api.get(DATASETS, "steps"))
        return ToolResult(content=found.text(), structured_content=found)

    async def preview(
        self,
        dataset: Reference,
        kind: RowKind = "",
        examples: Annotated[int, Field(ge=1, le=50, description="Rows that are shown.")] = 3,
        *,
        mapping: Mapping,
        steps: Steps,
    ) -> ToolResult:
        """Show the first rows of a dataset as steps make them, with their tokens; nothing is kept."""
        body = {"kind": kind or None, "mapping": mapping, "steps": steps, "examples": examples}
        found = Prepared.model_validate(await self._api.post(DATASETS, dataset, "preview", json=body))
        return ToolResult(content=found.text(), structured_content=found)

    async def from_documents(
        self,
        name: Annotated[str, Field(min_length=1, max_length=90, description="Name of the new dataset.")],
        kind: Annotated[
            Literal["sft", "triplet"],
            Field(description="sft: answers that quote and cite; triplet: passages for search."),
        ] = "sft",
        documents: Annotated[
            Sequence[str], Field(max_length=1000, description="Names or ids; none: all.")
        ] = (),
        questions: Annotated[
            Literal["auto", "rules", "model"],
            Field(description="Who asks: a model, or rules; auto takes rules for the embedded model."),
        ] = "auto",
        model: Annotated[
            str, Field(max_length=200, description="Which model asks; empty: that of the chats.")
        ] = "",
        each: Annotated[int, Field(ge=1, le=5, description="Questions a passage, of a model.")] = 1,
        passages: Annotated[int, Field(ge=1, le=5000, description="Passages at most.")] = 500,
        held_out: HeldOut = 0.2,
        seed: Seed = 0,
        redact_pii: Redact = False,
        *,
        steps: Steps,
    ) -> ToolResult:
        """Build a dataset of questions about the project's documents, each with its passage as the source."""
        body: dict[str, Any] = {"name": name, "kind": kind, "documents": documents}
        body |= {"questions": questions}
        body |= {"model": model, "each": each, "passages": passages, "held_out": held_out, "seed": seed}
        body |= {"redact_pii": redact_pii, "steps": steps or None}
        item = DatasetItem.model_validate(await self._api.post(DATASETS, "from-documents", json=body))
        return ToolResult(content=item.text(), structured_content=item)

    async def delete(self, dataset: Reference) -> ToolResult:
        """Delete a dataset."""
        await self._api.delete(DATASETS, dataset)
        return ToolResult(content=f"deleted {dataset}", structured_content=Deleted(dataset=dataset))


def create_server(settings: Settings, callers: Callers) -> FastMCP:
    """The `data` server; every call asks `callers` on whose behalf it runs."""
    data = DataServer(settings, callers)
    server: FastMCP = FastMCP("data", middleware=[Edge()], mask_error_details=True, lifespan=data.lifespan)
    manage = requires(callers, MANAGE)
    add_tool(server, data.list, auth=manage, annotations=READ_ONLY, output=DatasetList)
    add_tool(server, data.describe, auth=manage, annotations=READ_ONLY, output=Description)
    add_tool(server, data.validate, auth=manage, annotations=READ_ONLY, output=Checked)
    add_tool(server, data.add, auth=manage, annotations=WRITES, output=DatasetItem)
    add_tool(server, data.fetch, auth=manage, annotations=WRITES, output=DatasetItem)
    add_tool(server, data.build, auth=manage, annotations=WRITES, output=DatasetItem)
    add_tool(server, data.steps, auth=manage, annotations=READ_ONLY, output=StepList)
    add_tool(server, data.preview, auth=manage, annotations=READ_ONLY, output=Prepared)
    add_tool(server, data.from_documents, auth=manage, annotations=WRITES, output=DatasetItem)
    add_tool(server, data.delete, auth=manage, annotations=DESTROYS, output=Deleted)
    return server
