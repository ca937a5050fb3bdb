"""What Continue sends, and the fields that it reads from the answers.

The bodies under `continue/` are written after its OpenAI and vLLM providers (continuedev/continue, commits
023111db and 040f21cd): it always asks for usage when it streams, sends its key in three headers, and puts a
space where a message would be empty.
"""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.llm_server.conformance.calls import Server

FOLDER = Path(__file__).parent / "continue"
Recorded = dict[str, Any]


def recorded(name: str) -> Recorded:
    content: Recorded = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def send(server: Server, request: Recorded) -> httpx.Response:
    headers = {**server.headers, "x-api-key": server.key, "api-key": server.key}
    answer = httpx.post(f"{server.url}{request['path']}", json=request["body"], headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    """As its reader of event streams does it: lines that begin with `data:`, until [DONE]."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [
        line.removeprefix("data:").strip() for line in answer.text.split("\n") if line.startswith("data:")
    ]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def delta(chunk: dict[str, Any], field: str) -> str:
    return str((chunk["choices"][0]["delta"].get(field) if chunk["choices"] else None) or "")


@pytest.mark.parametrize("name", ["chat", "agent", "edit", "thoughts"])
def test_a_streamed_chat(server: Server, name: str) -> None:
    request = recorded(name)
    events = chunks(send(server, request))
    assert "".join(delta(chunk, "content") for chunk in events) == request["text"]
    assert "".join(delta(chunk, "reasoning_content") for chunk in events) == request.get("reasoning", "")
    assert events[-1]["usage"]["completion_tokens"] > 0
    assert [chunk.get("usage") for chunk in events[:-1]] == [None] * (len(events) - 1)


def test_a_whole_chat(server: Server) -> None:
    request = recorded("title")
    assert send(server, request).json()["choices"][0]["message"]["content"] == request["text"]


def test_a_call_in_agent_mode(server: Server) -> None:
    request = recorded("agent")
    request["body"]["messages"] = request["body"]["messages"][:1]
    calls = [
        call
        for chunk in chunks(send(server, request))
        if chunk["choices"]
        for call in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert calls[0]["function"]["name"] == "read_file"
    assert {call["index"] for call in calls} == {0}
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"filepath": "area.py"}


def test_autocomplete_by_a_template_and_by_fim_agree(server: Server) -> None:
    requests = [recorded("autocomplete_template"), recorded("autocomplete_fim")]
    for request in requests:
        assert chunks(send(server, request))
        # Continue's 0.01 is not quite greedy, and a random model has near ties.
        request["body"]["temperature"] = 0
    by_template, by_fim = (chunks(send(server, request)) for request in requests)
    text = "".join(chunk["choices"][0]["text"] for chunk in by_template if chunk["choices"])
    assert "".join(delta(chunk, "content") for chunk in by_fim) == text
    assert text


def test_embeddings_for_the_codebase(server: Server) -> None:
    request = recorded("embed")
    data = send(server, request).json()["data"]
    assert [len(entry["embedding"]) for entry in data] == [384, 384]


def test_reranking_by_either_provider(server: Server) -> None:
    answer = send(server, recorded("rerank")).json()
    for results in (answer["data"], answer["results"]):
        by_index = {result["index"]: result["relevance_score"] for result in results}
        assert by_index[1] > by_index[0]


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_the_length_of_the_context_is_found(server: Server, header: str) -> None:
    key = server.headers["authorization"] if header == "authorization" else server.key
    models = httpx.get(f"{server.base}/models", headers={header: key}).json()
    assert models["object"] == "list"
    assert models["data"][0]["max_model_len"] == 4096
