"""The router: four routes, forced calls, repairs, and answers that quote."""

from __future__ import annotations

import json
from typing import Any

from graphs.agent import Ground
from graphs.events import RouteChosen, Sources, ToolAnswered, ToolCalled
from tests.graphs.conftest import Bench, answered, kinds, spoken
from tests.graphs.model_server import Reply, forced_tool

COUNT = "SELECT COUNT(*) AS n FROM Album"
QUOTE = 'The documents say: "Employees accrue 4 hours of sick leave every pay period." [1]'


def script(route: str, answer: str, sql: list[str] | None = None) -> Any:
    """Chooses a route, makes the forced calls, answers."""
    statements = iter(sql or [COUNT])

    def reply(body: dict[str, Any]) -> Reply:
        if body.get("response_format"):
            return Reply(json.dumps({"route": route}))
        if forced_tool(body) == "rag_search":
            return Reply(calls=[("rag_search", {"query": "sick leave"})])
        if forced_tool(body) == "sql_query":
            return Reply(calls=[("sql_query", {"sql": next(statements)})])
        return Reply(answer)

    return reply


async def test_a_question_about_documents_is_searched_quoted_and_verified(bench: Bench) -> None:
    await bench.start(script("documents", QUOTE))
    events = await bench.ask("general", "How much sick leave do I get?")
    assert kinds(events) == ["route", "tool_call", "tool_result", "token", "sources", "done"]
    assert answered(events).answer == spoken(events) == QUOTE
    (sources,) = [event for event in events if isinstance(event, Sources)]
    (source,) = sources.items
    assert source.verified
    assert (source.n, source.document, source.section) == (1, "leave.md", "Sick leave")
    quoted = "Employees accrue 4 hours of sick leave every pay period"
    assert (source.start, source.end) == (100, 100 + len(quoted))


async def test_a_question_about_figures_runs_sql_and_shows_the_table(bench: Bench) -> None:
    await bench.start(script("database", "There are 3 albums."))
    events = await bench.ask("general", "How many albums are there?")
    (called,) = [event for event in events if isinstance(event, ToolCalled)]
    (result,) = [event for event in events if isinstance(event, ToolAnswered)]
    assert called.arguments == {"sql": COUNT}
    assert called.data()["name"] == "sql_query"
    assert result.ok
    assert result.text == "n\n3\n(1 row)"
    assert result.structured is not None
    assert result.structured["rows"] == [[3]]
    assert answered(events).usage.total_tokens > 0


async def test_both_sides_are_asked_in_one_turn(bench: Bench) -> None:
    await bench.start(script("both", "The database says: 3. " + QUOTE))
    events = await bench.ask("general", "How many albums are there, and how much sick leave do I get?")
    assert {event.tool for event in events if isinstance(event, ToolCalled)} == {"rag_search", "sql_query"}
    assert [event.route for event in events if isinstance(event, RouteChosen)] == ["both"]
    last = bench.model.requests[-1]["messages"]
    assert [m["role"] for m in last] == ["system", "user", "assistant", "tool", "tool"]
    assert len(last[2]["tool_calls"]) == 2


async def test_neither_answers_without_tools(bench: Bench) -> None:
    await bench.start(script("neither", "Hello! Ask me about your documents."))
    events = await bench.ask("general", "Hello")
    assert kinds(events) == ["route", "token", "sources", "done"]
    assert bench.model.requests[-1]["tool_choice"] == "none"


async def test_a_refused_select_is_repaired(bench: Bench) -> None:
    await bench.start(script("database", "There are 3 albums.", ["SELECT x FROM Album", COUNT]))
    events = await bench.ask("general", "How many albums are there?")
    results = [event for event in events if isinstance(event, ToolAnswered)]
    assert [result.ok for result in results] == [False, True]
    assert "no such column: x" in results[0].text
    assert answered(events).answer == "There are 3 albums."


async def test_repairs_end_after_two(bench: Bench) -> None:
    await bench.start(script("database", "I could not find that.", ["SELECT x FROM Album"] * 9))
    events = await bench.ask("general", "How many albums are there?")
    assert sum(isinstance(event, ToolCalled) for event in events) == 3
    assert answered(events).answer == "I could not find that."


async def test_the_route_prompt_is_the_one_that_models_are_trained_on(bench: Bench) -> None:
    await bench.start(script("neither", "Hi."))
    await bench.ask("general", "Hello")
    route = bench.model.requests[0]
    assert route["messages"][0]["content"] == (
        "Choose where the answer is: documents, database, both or neither.\n"
        "Documents: leave, travel\nDatabase: Album, Artist"
    )
    schema = route["response_format"]["json_schema"]["schema"]
    assert set(schema["properties"]["route"]["enum"]) == {"documents", "database", "both", "neither"}
    assert route["max_completion_tokens"] > 0


async def test_a_project_without_databases_is_never_routed_to_one(bench: Bench) -> None:
    await bench.start(script("documents", QUOTE))
    await bench.ask("general", "How much sick leave?", ground=Ground("p", ("leave",)))
    schema = bench.model.requests[0]["response_format"]["json_schema"]["schema"]
    assert set(schema["properties"]["route"]["enum"]) == {"documents", "neither"}


async def test_an_empty_project_needs_no_route_call(bench: Bench) -> None:
    await bench.start(lambda _: Reply("There is nothing here yet."))
    events = await bench.ask("general", "Anything?", ground=Ground("p"))
    assert len(bench.model.requests) == 1
    assert answered(events).answer == "There is nothing here yet."


async def test_a_server_that_ignores_schemas_and_choices_still_gets_an_answer(bench: Bench) -> None:
    def plain(body: dict[str, Any]) -> Reply:
        searched = any(m["role"] == "tool" for m in body["messages"])
        return Reply(QUOTE if searched else "I would look in the documents.")

    await bench.start(plain, extensions=[])
    events = await bench.ask("general", "How much sick leave do I get?")
    assert [event.route for event in events if isinstance(event, RouteChosen)] == ["documents"]
    assert answered(events).answer == QUOTE
    assert not any("grounding" in request for request in bench.model.requests)
