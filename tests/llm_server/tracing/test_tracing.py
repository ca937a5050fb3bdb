"""What was asked and answered is found again in a trace store, and nobody waits for it."""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest

from graphs.llm import Models
from llm_server.settings import Settings, load_settings
from llm_server.tracing.tracer import LIBRARY, open_tracer
from tests.llm_server.conftest import USER, serving
from tests.llm_server.running import say
from tests.llm_server.tracing.conftest import Traces

Post = Callable[..., httpx.Response]
HELLO: Any = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello there"}]
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def test_a_chat_is_found_with_all_that_was_said(post: Post, traces: Traces) -> None:
    body = {
        "model": "echo",
        "messages": HELLO,
        "user": "ada",
        "temperature": 0,
        "metadata": {"session_id": "s-1", "team": "blue"},
    }
    answer = post("/v1/chat/completions", body, "whole").json()
    (row,) = traces.of("request_id", "whole")
    assert (row["type"], row["name"], row["level"]) == ("GENERATION", "chat", "DEFAULT")
    assert row["input"] == HELLO
    assert row["output"] == {"role": "assistant", "content": "hello there"}
    assert (row["userId"], row["sessionId"]) == ("ada", "s-1")
    usage = answer["usage"]
    assert row["usageDetails"]["input"] == usage["prompt_tokens"] > 0
    assert row["usageDetails"]["output"] == usage["completion_tokens"] > 0
    assert row["usageDetails"]["total"] == usage["total_tokens"]
    metadata = row["metadata"]
    assert (metadata["team"], metadata["key"], metadata["finish_reason"]) == ("blue", "api", "stop")
    assert 0 < metadata["time_to_first_token"] <= row["latency"]
    assert row["startTime"] <= row["completionStartTime"] <= row["endTime"]
    assert USER not in str(row)


def test_a_stream_is_put_together_and_counted(post: Post, traces: Traces) -> None:
    """Also where the client asked for no usage."""
    body = {"model": "echo", "messages": HELLO, "stream": True, "n": 2}
    assert "usage" not in post("/v1/chat/completions", body, "streamed").text
    (row,) = traces.of("request_id", "streamed")
    assert row["output"] == [{"role": "assistant", "content": "hello there"}] * 2
    alone = post("/v1/chat/completions", {"model": "echo", "messages": HELLO}, "alone").json()["usage"]
    assert row["usageDetails"]["input"] == alone["prompt_tokens"]
    assert row["usageDetails"]["output"] == 2 * alone["completion_tokens"]
    assert row["completionStartTime"]


def test_tools_are_seen_and_their_calls(post: Post, traces: Traces) -> None:
    asked = [{"role": "user", "content": 'call weather {"city": "Oslo"}'}]
    for number, stream in enumerate([False, True]):
        body = {"model": "echo", "messages": asked, "tools": [WEATHER], "stream": stream}
        assert post("/v1/chat/completions", body, f"tools-{number}").status_code == 200
        (row,) = traces.of("request_id", f"tools-{number}")
        assert row["input"] == {"messages": asked, "tools": [WEATHER]}
        (call,) = row["output"]["tool_calls"]
        assert call["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
        assert call["id"].startswith("call_")


@pytest.mark.parametrize("stream", [False, True])
def test_every_route_that_writes_is_traced(post: Post, traces: Traces, stream: bool) -> None:
    asked: dict[str, dict[str, Any]] = {
        "/v1/completions": {"prompt": say("hello there"), "max_tokens": 20},
        "/v1/responses": {"input": "hello there"},
    }
    for path, body in asked.items():
        name = f"{path}-{stream}".replace("/", ".")
        assert post(path, {"model": "echo", "stream": stream, **body}, name).status_code == 200
        (row,) = traces.of("request_id", name)
        assert row["type"] == "GENERATION"
        assert row["usageDetails"]["total"] > 0
        assert row["input"] == (body.get("prompt") or body.get("input"))
        if path == "/v1/responses":
            assert row["output"][0]["content"][0]["text"] == "hello there"
        else:
            assert row["output"] == "hello there"


def test_an_embedding_is_traced_without_its_numbers(post: Post, traces: Traces) -> None:
    texts = ["some words"] * 40
    answer = post("/v1/embeddings", {"model": "all-minilm-l6-v2", "input": texts}, "vectors").json()
    (row,) = traces.of("request_id", "vectors")
    assert (row["type"], row["input"]) == ("EMBEDDING", texts)
    assert row["usageDetails"]["input"] == answer["usage"]["prompt_tokens"]
    assert not row["output"]


def test_errors_say_what_was_wrong(post: Post, traces: Traces) -> None:
    post("/v1/chat/completions", {"model": "echo", "messages": HELLO, "max_tokens": -1}, "wrong")
    post("/v1/chat/completions", {"model": "nobody", "messages": HELLO}, "unknown")
    (wrong,), (unknown,) = traces.of("request_id", "wrong"), traces.of("request_id", "unknown")
    assert (wrong["level"], unknown["level"]) == ("ERROR", "ERROR")
    assert "max_tokens" in wrong["statusMessage"]
    assert "nobody" in unknown["statusMessage"]


def test_who_is_not_let_in_is_not_traced(post: Post, traces: Traces) -> None:
    body = {"model": "echo", "messages": HELLO}
    assert post("/v1/chat/completions", body, "stranger", key="wrong").status_code == 401
    post("/v1/chat/completions", body, "after-the-stranger")
    traces.of("request_id", "after-the-stranger")
    assert not [row for row in traces.all() if row["metadata"].get("request_id") == "stranger"]


def test_a_caller_that_traces_itself_is_not_traced_twice(post: Post, traces: Traces) -> None:
    body = {"model": "echo", "messages": HELLO}
    post("/v1/chat/completions", body, "own", **{"x-loopyard-traced": traces.store.public_key})
    post("/v1/chat/completions", body, "elsewhere", **{"x-loopyard-traced": "pk-of-another-project"})
    traces.of("request_id", "elsewhere")
    assert not [row for row in traces.all() if row["metadata"].get("request_id") == "own"]


async def test_the_agents_mark_what_they_trace(traced: str, post: Post, traces: Traces) -> None:
    async with httpx2.AsyncClient() as http:
        models = Models(f"{traced}/v1", USER, http, traced=traces.store.public_key)
        await models.card("echo")
        chat = models.chat("echo", temperature=0, max_tokens=32, stream=False)
        said = await chat.ainvoke("words of an agent")
    assert said.content == "words of an agent"
    post("/v1/chat/completions", {"model": "echo", "messages": HELLO}, "after-the-agent")
    traces.of("request_id", "after-the-agent")
    assert "words of an agent" not in str(traces.all())
    assert "Employees accrue" not in str(traces.all()), "nor what measures the tokenizer"


def test_a_span_joins_the_trace_of_its_caller(post: Post, traces: Traces) -> None:
    trace, parent = "a" * 32, "b" * 16
    body = {"model": "echo", "messages": HELLO}
    post("/v1/chat/completions", body, "joined", traceparent=f"00-{trace}-{parent}-01")
    post("/v1/chat/completions", body, "unsampled", traceparent=f"00-{trace}-{parent}-00")
    (joined,), (unsampled,) = traces.of("request_id", "joined"), traces.of("request_id", "unsampled")
    assert (joined["traceId"], joined["parentObservationId"]) == (trace, parent)
    assert unsampled["traceId"] != trace


def test_half_a_character_costs_no_other_trace(post: Post, traces: Traces) -> None:
    half = rb'{"model": "echo", "user": "\ud800", "messages": [{"role": "user", "content": "half \ud83d"}]}'
    refused = post("/v1/chat/completions", half, "half")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_unicode")
    post("/v1/chat/completions", {"model": "echo", "messages": HELLO}, "whole-after-half")
    (row,) = traces.of("request_id", "half")
    assert row["input"][0]["content"] == "half ?"
    assert (row["userId"], row["level"]) == ("?", "ERROR")
    assert traces.of("request_id", "whole-after-half")


def test_a_long_body_is_cut(post: Post, traces: Traces) -> None:
    long = [{"role": "user", "content": "x" * 700_000}]
    post("/v1/chat/completions", {"model": "echo", "messages": long}, "long")
    (row,) = traces.of("request_id", "long")
    assert row["metadata"]["cut"] is True
    assert len(str(row["input"])) < 600_000


def _away(tmp_path: Path, host: str) -> Settings:
    return Settings(
        backend="echo",
        data=tmp_path,
        embeddings=False,
        langfuse_host=host,
        langfuse_public_key="pk",
        langfuse_secret_key="sk",
    )


@pytest.mark.parametrize("silent", [True, False])
def test_a_trace_host_that_is_not_there_slows_nobody(tmp_path: Path, silent: bool) -> None:
    """One that takes connections and says nothing, and one that takes none."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        if silent:
            hole.listen(16)
        with serving(_away(tmp_path, f"http://127.0.0.1:{hole.getsockname()[1]}")) as url:
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
                began = time.monotonic()
                for _ in range(30):
                    said = client.chat.completions.create(model="echo", messages=HELLO)
                    assert said.choices[0].message.content == "hello there"
                assert time.monotonic() - began < 8
            ending = time.monotonic()
        assert time.monotonic() - ending < 15, "the server ends, whatever the trace host does"


def test_records_that_are_lost_are_counted(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    with serving(_away(tmp_path, host)) as url:
        httpx.post(f"{url}/v1/chat/completions", json={"model": "echo", "messages": HELLO})
        for _ in range(300):
            text = httpx.get(f"{url}/metrics").text
            if 'llm_traced_requests_total{outcome="dropped"} 1.0' in text:
                break
            time.sleep(0.1)
        else:
            pytest.fail(text)


def test_without_the_library_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, LIBRARY, None)
    assert open_tracer(_away(tmp_path, "http://127.0.0.1:9")) is None
    assert "opentelemetry-exporter-otlp-proto-http" in caplog.text


def test_names_that_the_field_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_HOST", "https://traces.example/")
    with pytest.raises(ValueError, match="needs LANGFUSE_PUBLIC_KEY"):
        load_settings()
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-secret")
    settings = load_settings()
    assert settings.langfuse_host == "https://traces.example"
    assert "sk-secret" not in repr(settings)
