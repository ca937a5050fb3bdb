"""The starter model was trained on these tools: what is served is what it knows."""

import json
from pathlib import Path
from typing import Any

from fastmcp import Client, FastMCP

from tools.context import LocalCaller
from tools.data import server as data
from tools.rag import server as rag
from tools.settings import Settings
from tools.sql import server as sql
from tools.training import server as training

LEARNT = Path(__file__).parents[2] / "rlhf" / "starter" / "tools.json"
SERVED = (
    *("rag_search", "rag_documents", "sql_query", "sql_describe"),
    *("data_validate", "training_start", "jobs_status", "jobs_cancel"),
)


def signature(name: str, description: str | None, schema: dict[str, Any]) -> dict[str, Any]:
    """What the chat template shows of a tool, and what the sampler needs to know."""
    properties = schema.get("properties", {})
    return {
        "name": name,
        "description": description,
        "arguments": {n: (p["type"], p.get("x-span", False)) for n, p in properties.items()},
        "required": schema.get("required", []),
    }


async def test_the_model_learnt_the_tools_that_are_served(settings: Settings) -> None:
    both: FastMCP = FastMCP("both")
    both.mount(rag.create_server(settings, LocalCaller()), namespace="rag")
    both.mount(sql.create_server(settings, LocalCaller()), namespace="sql")
    both.mount(data.create_server(settings, LocalCaller()), namespace="data")
    both.mount(training.create_training(settings, LocalCaller()), namespace="training")
    both.mount(training.create_jobs(settings, LocalCaller()), namespace="jobs")
    async with Client(both) as client:
        listed = {
            tool.name: signature(tool.name, tool.description, tool.input_schema)
            for tool in await client.list_tools()
        }
    learnt = {
        tool["function"]["name"]: signature(
            tool["function"]["name"], tool["function"]["description"], tool["function"]["parameters"]
        )
        for tool in json.loads(LEARNT.read_text())
    }
    for name in SERVED:
        known = learnt[name]["arguments"]
        more = {arg: kind for arg, kind in listed[name]["arguments"].items() if arg not in known}
        assert listed[name] == learnt[name] | {"arguments": {**known, **more}}
        # What it has not learnt it can leave out.
        assert not more.keys() & set(listed[name]["required"])
