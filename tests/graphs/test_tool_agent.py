"""Agents that choose their tools freely."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from graphs.events import ToolAnswered, ToolCalled
from graphs.spec import Limits
from tests.graphs.conftest import Bench, answered, kinds, spoken
from tests.graphs.model_server import Reply

COUNT = "SELECT COUNT(*) AS n FROM Album"


def sql_then(answer: str, *statements: str) -> Any:
    left = list(statements)

    def reply(body: dict[str, Any]) -> Reply:
        if left and body["tool_choice"] != "none":
            return Reply(calls=[("sql_query", {"sql": left.pop(0)})])
        return Reply(answer)

    return reply


async def test_the_model_calls_a_tool_and_answers(bench: Bench) -> None:
    await bench.start(sql_then("There are 3 albums.", COUNT))
    events = await bench.ask("data-analyst", "How many albums?")
    assert kinds(events) == ["tool_call", "tool_result", "token", "sources", "done"]
    assert spoken(events) == answered(events).answer == "There are 3 albums."
    timings = answered(events).timings
    assert timings.first_token_ms is not None
    assert timings.model_ms > 0


async def test_it_may_answer_without_a_tool(bench: Bench) -> None:
    await bench.start(lambda _: Reply("Good morning!"))
    events = await bench.ask("data-analyst", "Good morning")
    assert kinds(events) == ["token", "sources", "done"]


async def test_the_prompt_holds_persona_and_schema_and_the_tools_their_extensions(bench: Bench) -> None:
    await bench.start(sql_then("Three.", COUNT))
    await bench.ask("data-analyst", "How many albums?")
    request = bench.model.requests[0]
    assert request["messages"][0]["content"] == (
        bench.specs["data-analyst"].persona.strip() + "\n\nDatabase music (sqlite):\n"
        "Album(AlbumId, Title, ArtistId > Artist.ArtistId)\nArtist(ArtistId, Name)"
    )
    tools = {tool["function"]["name"]: tool["function"] for tool in request["tools"]}
    assert set(tools) == {"sql_query", "sql_describe"}
    assert tools["sql_query"]["parameters"] == {
        "type": "object",
        "properties": {
            "sql": {
                "type": "string",
                "x-sql": {
                    "tables": {"Album": ["AlbumId", "Title", "ArtistId"], "Artist": ["ArtistId", "Name"]},
                    "foreign_keys": [["Album.ArtistId", "Artist.ArtistId"]],
                    "kinds": {
                        "Album.AlbumId": "text",
                        "Album.Title": "text",
                        "Album.ArtistId": "key",
                        "Artist.ArtistId": "text",
                        "Artist.Name": "text",
                    },
                },
            },
            "database": {"type": "string"},
        },
        "required": ["sql"],
    }
    assert tools["sql_describe"]["parameters"]["properties"]["table"] == {"type": "string", "x-span": True}


async def test_a_server_that_asks_for_it_is_told_which_cells_the_questions_name(bench: Bench) -> None:
    await bench.start(sql_then("Two.", COUNT), extensions=["x-sql", "x-sql-values"])
    before = [HumanMessage("Which albums are by Satie?"), AIMessage("Gnossiennes.")]
    await bench.ask("data-analyst", "And how many by bach?", history=before)
    told = [request["tools"][0]["function"] for request in bench.model.requests]
    x_sql = told[0]["parameters"]["properties"]["sql"]["x-sql"]
    assert x_sql["values"] == {"Artist.Name": ["Bach", "Satie"]}
    assert [name for name, _ in bench.tools.calls].count("sql_values") == 1


async def test_cells_that_cannot_be_looked_up_cost_no_answer(bench: Bench) -> None:
    await bench.start(sql_then("Three.", COUNT), extensions=["x-sql", "x-sql-values"])
    bench.tools.blind = True
    events = await bench.ask("data-analyst", "How many albums?")
    assert spoken(events) == "Three."
    assert "values" not in json.dumps(bench.model.requests[0]["tools"])


async def test_a_server_without_extensions_gets_plain_schemas(bench: Bench) -> None:
    await bench.start(sql_then("Three.", COUNT), extensions=[])
    await bench.ask("data-analyst", "How many albums?")
    assert "x-s" not in json.dumps(bench.model.requests)


async def test_grounding_is_asked_for_once_a_passage_is_there(bench: Bench) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["role"] == "user":
            return Reply(calls=[("rag_search", {"query": "sick leave"})])
        return Reply("I could not find that in the documents.")

    await bench.start(reply)
    await bench.ask("documents", "How much sick leave?")
    assert [request.get("grounding") for request in bench.model.requests] == [None, "quotes"]


async def test_answers_about_a_result_keep_to_its_cells_where_the_server_can(bench: Bench) -> None:
    await bench.start(
        sql_then("There are 3 albums.", "SELECT x FROM Album", COUNT), extensions=["grounding-cells"]
    )
    await bench.ask("data-analyst", "How many albums?")
    asked = [request.get("grounding") for request in bench.model.requests]
    assert asked == [None, None, "cells"], "an error has no cells"


async def test_a_refused_call_becomes_a_tool_message_that_the_model_repairs(bench: Bench) -> None:
    await bench.start(sql_then("There are 3 albums.", "SELECT x FROM Album", COUNT))
    events = await bench.ask("data-analyst", "How many albums?")
    assert [event.ok for event in events if isinstance(event, ToolAnswered)] == [False, True]
    told = bench.model.requests[1]["messages"][-1]
    assert told["role"] == "tool"
    assert "no such column: x" in told["content"]


async def test_after_the_last_repair_the_model_must_answer(bench: Bench) -> None:
    await bench.start(sql_then("I could not find that.", *["SELECT x FROM Album"] * 9))
    events = await bench.ask("data-analyst", "How many albums?")
    assert sum(isinstance(event, ToolCalled) for event in events) == 3
    assert bench.model.requests[-1]["tool_choice"] == "none"
    assert answered(events).answer == "I could not find that."


async def test_the_last_step_is_an_answer(bench: Bench) -> None:
    await bench.start(sql_then("Enough.", *[COUNT] * 50))
    spec = bench.specs["data-analyst"].model_copy(update={"limits": Limits(steps=4)})
    events = await bench.ask(spec, "How many albums?")
    assert sum(isinstance(event, ToolCalled) for event in events) == 3
    assert answered(events).answer == "Enough."


async def test_a_name_that_no_tool_has_is_told_to_the_model(bench: Bench) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["role"] == "user":
            return Reply(calls=[("drop_everything", {})])
        return Reply("I cannot do that.")

    await bench.start(reply)
    events = await bench.ask("data-analyst", "Drop everything")
    assert [event.ok for event in events if isinstance(event, ToolAnswered)] == [False]
    assert answered(events).answer == "I cannot do that."
