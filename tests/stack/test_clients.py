"""The whole chain through the clients that people have: openai, an MCP client, plain HTTP."""

import concurrent.futures
from collections.abc import Iterator

import openai
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from mcp.shared.exceptions import MCPError
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.stack.conftest import Stack, until

QUESTION = "How many days of annual leave does every employee have?"
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather_now",
        "description": "Tell the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, question: str = QUESTION) -> str:
    """A whole streamed answer."""
    text = ""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    with client.chat.completions.create(model="general@demo", messages=messages, stream=True) as stream:
        for chunk in stream:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
            finished = chunk.choices[0].finish_reason if chunk.choices else None
            if finished:
                assert finished == "stop"
    return text


def test_agents_are_models(client: openai.OpenAI) -> None:
    assert {"general", "data-analyst"} <= {model.id for model in client.models.list()}


def test_an_answer_in_one_piece_and_in_a_stream(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
    whole = client.chat.completions.create(model="general", messages=messages)
    assert whole.choices[0].message.content
    assert whole.usage
    assert whole.usage.total_tokens > 0
    assert ask(client)


def test_tools_of_the_client_are_called_by_the_client(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Bern?"}]
    answer = client.chat.completions.create(
        model="general",
        messages=messages,
        tools=[WEATHER],
        tool_choice="required",
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather_now"


def test_errors_are_those_that_the_client_knows(stack: Stack, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no-such-agent"):
        client.chat.completions.create(model="no-such-agent", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.NotFoundError, match="nowhere"):
        client.chat.completions.create(model="general@nowhere", messages=[{"role": "user", "content": "hi"}])
    with (
        openai.OpenAI(base_url=f"{stack.url}/v1", api_key="ly_wrong_key", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_eight_chats_at_once_all_finish(client: openai.OpenAI) -> None:
    questions = [f"{QUESTION} I am employee {n}." for n in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda question: ask(client, question), questions))
    assert all(answers)


def test_a_client_that_goes_away_frees_its_slot(stack: Stack) -> None:
    name = 'llm_sequences_total{reason="cancelled"}'
    before = stack.metric(name)
    tools = {"tools": [WEATHER], "tool_choice": "none"}
    body = {"model": "general", "messages": [{"role": "user", "content": "Ham. " * 600}], "stream": True}
    with stack.http() as http, http.stream("POST", "/v1/chat/completions", json=body | tools) as response:
        assert next(response.iter_lines())
    until(lambda: stack.metric(name) == before + 1)
    until(lambda: stack.metric("llm_slots_busy") == 0)


def mcp(stack: Stack, key: str) -> "Client[StreamableHttpTransport]":
    headers = {"Authorization": f"Bearer {key}", "X-Project": "demo"}
    return Client(StreamableHttpTransport(f"{stack.url}/mcp", headers=headers))


async def test_an_mcp_client_lists_and_calls_the_tools(stack: Stack) -> None:
    async with mcp(stack, stack.key) as client:
        assert {"rag_search", "sql_query", "sql_describe", "rag_documents"} <= {
            tool.name for tool in await client.list_tools()
        }
        found = await client.call_tool("rag_search", {"query": "annual leave"})
        assert found.structured_content
        assert "28 days" in found.structured_content["hits"][0]["text"]
        counted = await client.call_tool("sql_query", {"sql": "SELECT COUNT(*) FROM Customer"})
        assert counted.structured_content
        assert counted.structured_content["rows"] == [[3]]


async def test_an_mcp_client_with_a_wrong_key_is_refused(stack: Stack) -> None:
    with pytest.raises(MCPError):
        async with mcp(stack, "ly_wrong_key") as client:
            await client.list_tools()
    with stack.http(Authorization="Bearer ly_wrong_key") as http:
        refused = http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert refused.status_code == 401
    assert "Bearer" in refused.headers["WWW-Authenticate"]


def test_a_tool_call_over_plain_http(stack: Stack) -> None:
    body = {"name": "sql_query", "arguments": {"sql": "SELECT Name FROM Customer"}, "project": "demo"}
    with stack.http() as http:
        answer = http.post("/tool_call", json=body).json()
    assert answer["ok"] is True
    assert answer["structured"]["rows"] == [["Ada"], ["Bo"], ["Cy"]]
    assert "Ada" in answer["content"]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DELETE FROM Customer", "DELETE"),
        ("SELECT 1; SELECT 2", "one"),
        ("PRAGMA table_info(Customer)", "PRAGMA"),
        ("ATTACH 'x' AS y", "ATTACH"),
        ("SELECT Nickname FROM Customer", "CustomerId"),
    ],
)
def test_sql_that_is_refused_names_the_reason(stack: Stack, sql: str, reason: str) -> None:
    with stack.http() as http:
        body = {"name": "sql_query", "arguments": {"sql": sql}, "project": "demo"}
        refused = http.post("/tool_call", json=body)
        assert refused.status_code == 400
        assert reason.lower() in refused.json()["error"]["message"].lower()
        body["arguments"] = {"sql": "SELECT COUNT(*) FROM Customer"}
        assert http.post("/tool_call", json=body).json()["structured"]["rows"] == [[3]]


def test_calls_without_or_with_a_wrong_key_or_project_are_refused(stack: Stack) -> None:
    body = {"name": "sql_describe", "arguments": {}, "project": "demo"}
    with stack.http(Authorization="Bearer ly_wrong_key") as http:
        for path in ("/tool_call", "/v1/chat/completions", "/api/v1/projects/demo/chat"):
            refused = http.post(path, json=body)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
    with stack.http() as http:
        missing = http.post("/tool_call", json={**body, "project": "nowhere"})
        assert missing.status_code == 404
        assert "nowhere" in missing.json()["error"]["message"]
        unknown = http.post("/tool_call", json={**body, "name": "launch_rocket"})
        assert unknown.status_code == 404
