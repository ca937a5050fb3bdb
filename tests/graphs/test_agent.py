"""What a run promises: limits, cancellation, lost services, resumption."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from fastmcp import Client
from langchain_core.messages import AIMessage, HumanMessage

from graphs.agent import Question
from graphs.errors import (
    ModelRefused,
    ModelUnavailable,
    PromptTooLong,
    StepLimit,
    TimeLimit,
    ToolsUnavailable,
    UnknownModel,
)
from graphs.events import Notice, Token
from graphs.spec import Limits
from tests.graphs.conftest import GROUND, Bench, answered, spoken
from tests.graphs.model_server import Reply, forced_tool


def hello(_: dict[str, Any]) -> Reply:
    return Reply("Hello there.")


async def test_history_and_the_callers_words_reach_the_model(bench: Bench) -> None:
    await bench.start(hello)
    history = [HumanMessage("Who wrote the Suites?"), AIMessage("Bach.")]
    await bench.ask("data-analyst", "And the Gnossiennes?", history=history, system="Answer in French.")
    messages = bench.model.requests[-1]["messages"]
    assert [m["content"] for m in messages[1:]] == ["Who wrote the Suites?", "Bach.", "And the Gnossiennes?"]
    assert "Answer in French.\n\nDatabase music" in messages[0]["content"]


async def test_sampling_of_the_caller_is_passed_on(bench: Bench) -> None:
    await bench.start(hello)
    sampling = {"temperature": 0.7, "max_tokens": 33, "extra": {"seed": 5, "stop": ["x"]}}
    await bench.ask("data-analyst", "Hi", sampling=sampling)
    request = bench.model.requests[-1]
    assert (request["temperature"], request["max_completion_tokens"]) == (0.7, 33)
    assert (request["seed"], request["stop"]) == (5, ["x"])


async def test_history_that_does_not_fit_is_left_out_and_said(bench: Bench) -> None:
    await bench.start(hello)
    history = [HumanMessage("word " * 300), AIMessage("word " * 300)] * 4
    events = await bench.ask("data-analyst", "Hi", history=history)
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.code == "history_cut"
    assert len(bench.model.requests[-1]["messages"]) < 2 + len(history)


async def test_a_question_longer_than_the_context_is_refused_with_the_figures(bench: Bench) -> None:
    await bench.start(hello)
    with pytest.raises(PromptTooLong, match="4096"):
        await bench.ask("data-analyst", "word " * 6000)


async def test_the_servers_own_word_on_the_context_is_the_same_error(bench: Bench) -> None:
    error = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
    await bench.start(lambda _: Reply(status=400, error=error))
    with pytest.raises(PromptTooLong):
        await bench.ask("data-analyst", "Hi")


@pytest.mark.parametrize(
    ("status", "expected"), [(503, ModelUnavailable), (500, ModelRefused), (400, ModelRefused)]
)
async def test_errors_of_the_model_server(bench: Bench, status: int, expected: type[Exception]) -> None:
    await bench.start(lambda _: Reply(status=status, error={"message": "no", "code": "x"}))
    with pytest.raises(expected) as caught:
        await bench.ask("general", "Hi")
    assert getattr(caught.value, "retryable", None) is (status == 503)


async def test_a_model_server_that_breaks_off_is_a_retryable_error(bench: Bench) -> None:
    await bench.start(lambda _: Reply("Hello there.", breaks=True))
    with pytest.raises(ModelUnavailable):
        await bench.ask("data-analyst", "Hi")


async def test_a_model_server_that_is_not_there(bench: Bench) -> None:
    await bench.start(hello)
    bench.agents.default.models.url = "http://127.0.0.1:9/v1"
    with pytest.raises(ModelUnavailable):
        await bench.ask("data-analyst", "Hi")


async def test_a_tools_service_that_is_not_there(bench: Bench) -> None:
    await bench.start(hello)
    client = Client("http://127.0.0.1:9/mcp")
    with pytest.raises(ToolsUnavailable):
        async for _ in bench.agents.answer(bench.specs["general"], Question("Hi"), GROUND, client, "run"):
            pass


async def test_an_unknown_model_names_those_that_exist(bench: Bench) -> None:
    await bench.start(hello)
    spec = bench.specs["general"].model_copy(update={"model": "gpt-9"})
    with pytest.raises(UnknownModel, match=r"gpt-9.*loopyard-starter"):
        await bench.ask(spec, "Hi")


@pytest.mark.parametrize("name", ["", "starter", "loopyard-starter"])
async def test_the_first_chat_model_an_alias_or_an_id(bench: Bench, name: str) -> None:
    await bench.start(hello)
    bench.agents.default = replace(bench.agents.default, required=name)
    await bench.ask("data-analyst", "Hi")
    assert bench.model.requests[-1]["model"] == "loopyard-starter"


async def test_the_time_limit_ends_a_run(bench: Bench) -> None:
    await bench.start(lambda _: Reply("word " * 500, pause=0.05))
    spec = bench.specs["data-analyst"].model_copy(update={"limits": Limits(seconds=0.5)})
    with pytest.raises(TimeLimit, match=r"0\.5 s"):
        await bench.ask(spec, "Hi")


async def test_a_model_that_never_answers_meets_the_step_limit(bench: Bench) -> None:
    await bench.start(lambda _: Reply(calls=[("sql_query", {"sql": "SELECT COUNT(*) AS n FROM Album"})]))
    spec = bench.specs["data-analyst"].model_copy(update={"limits": Limits(steps=3)})
    with pytest.raises(StepLimit, match=r"3 steps, the limit of data-analyst"):
        await bench.ask(spec, "How many albums?")
    assert len(bench.model.requests) <= 4


async def test_closing_the_events_cancels_the_request_to_the_model(bench: Bench) -> None:
    await bench.start(lambda _: Reply("word " * 500, pause=0.02))
    client = Client(bench.tools.mcp())
    events = bench.agents.answer(bench.specs["data-analyst"], Question("Hi"), GROUND, client, "run")
    async for event in events:
        if isinstance(event, Token):
            break
    await events.aclose()
    async with asyncio.timeout(5):
        await bench.model.gone.wait()


async def test_a_run_that_was_cut_off_goes_on_without_repeating_its_tools(bench: Bench) -> None:
    broken = True

    def script(body: dict[str, Any]) -> Reply:
        if body.get("response_format"):
            return Reply(json.dumps({"route": "database"}))
        if forced_tool(body):
            return Reply(calls=[("sql_query", {"sql": "SELECT 42 AS n"})])
        return Reply("It is 42.", breaks=broken)

    await bench.start(script)
    with pytest.raises(ModelUnavailable):
        await bench.ask("general", "How many?", run_id="one")
    broken = False
    events = await bench.ask("general", "How many?", run_id="one")
    assert answered(events).answer == spoken(events) == "It is 42."
    assert [name for name, _ in bench.tools.calls].count("sql_query") == 1


async def test_a_finished_run_leaves_no_checkpoint(bench: Bench) -> None:
    await bench.start(hello)
    await bench.ask("data-analyst", "Hi", run_id="one")
    saver = bench.agents.saver
    assert saver is not None
    assert [c async for c in saver.alist({"configurable": {"thread_id": "one"}})] == []


async def test_the_schema_is_read_once_per_project(bench: Bench) -> None:
    await bench.start(hello)
    await bench.ask("data-analyst", "Hi", run_id="one")
    await bench.ask("data-analyst", "Hi", run_id="two")
    assert [name for name, _ in bench.tools.calls] == ["sql_describe"]


async def test_eight_runs_at_once_all_finish(bench: Bench) -> None:
    await bench.start(lambda _: Reply("word " * 20, pause=0.005))
    runs = [bench.ask("data-analyst", f"Question {n}", run_id=str(n)) for n in range(8)]
    assert {answered(events).answer for events in await asyncio.gather(*runs)} == {"word " * 20}
