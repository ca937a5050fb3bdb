"""What is left when a process is killed: everything that was asked, and soon an installation that answers."""

import concurrent.futures
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.cli_client import read_events
from gateway.lifeline import marked
from tests.stack.conftest import (
    ROOT,
    SERVICES,
    Stack,
    free_ports,
    share_models,
    until,
    up,
)

# What the model says does not matter here.
ECHO = {"LLM_BACKEND": "echo"}
QUESTION = "How many days of annual leave does every employee have?"


def ends_well(stack: Stack, **body: str) -> bool:
    """Whether a chat comes to its end."""
    with (
        stack.http() as http,
        http.stream("POST", "/api/v1/projects/demo/chat", json={"agent": "general", **body}) as response,
    ):
        *_, (name, _) = read_events(response.raise_for_status().iter_lines())
    return name == "done"


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_comes_back_and_the_next_question_is_answered(stack: Stack, service: str) -> None:
    before = stack.kill(service)
    until(lambda: stack.ready(service, but_not=before), stack.process)
    assert stack.chat(QUESTION)["answer"]
    if service != "worker":
        assert stack.facts(service)["restarts"] == 1


def test_an_answer_ends_in_an_error_when_the_model_server_is_killed_in_the_middle(stack: Stack) -> None:
    body = {"agent": "general", "message": "How much may a hotel room cost a night?"}
    with stack.http() as http, http.stream("POST", "/api/v1/projects/demo/chat", json=body) as response:
        told = read_events(response.iter_lines())
        name, begun = next(told)
        assert name == "start"
        # The passages are there, and the model reads them.
        assert "tool_result" in (name for name, _ in told)
        before = stack.kill("llm_server")
        *_, (name, error) = told
    assert (name, error["code"], error["retryable"]) == ("error", "model_unavailable", True)
    until(lambda: stack.ready("llm_server", but_not=before), stack.process)
    assert ends_well(stack, message=QUESTION)
    assert ends_well(stack, retry=begun["message_id"])


def test_a_question_is_kept_when_the_gateway_is_killed_while_it_answers(stack: Stack) -> None:
    body = {"agent": "general", "message": "How much may a hotel room cost a night?"}
    with stack.http() as http, http.stream("POST", "/api/v1/projects/demo/chat", json=body) as response:
        # Held, because a stream that nobody holds is closed, and its answer cancelled.
        told = read_events(response.iter_lines())
        name, begun = next(told)
        assert name == "start"
        before = stack.kill("gateway")
    until(lambda: stack.ready("gateway", but_not=before), stack.process)
    with stack.http() as http:
        path = f"/api/v1/projects/demo/conversations/{begun['conversation_id']}"
        question, answer = http.get(path).json()["messages"]
        assert question["content"] == body["message"]
        assert answer["state"] == "interrupted"
        assert answer["error"]["retryable"] is True
        again = {"agent": "general", "retry": answer["id"]}
        with http.stream("POST", "/api/v1/projects/demo/chat", json=again) as response:
            *_, (name, _) = read_events(response.iter_lines())
        assert name == "done"
        assert [m["state"] for m in http.get(path).json()["messages"]] == ["complete", "complete"]


def test_a_tool_call_ends_in_an_error_when_the_tools_die_in_the_middle(stack: Stack) -> None:
    tables = ", ".join(f"Orders o{n}" for n in range(16))
    slow = {"name": "sql_query", "arguments": {"sql": f"SELECT COUNT(*) FROM {tables}"}, "project": "demo"}
    with stack.http() as http, concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(http.post, "/tool_call", json=slow)
        time.sleep(1)  # the call has no sign of its own that it has reached the database
        assert not call.done()
        before = stack.kill("tools")
        answer = call.result()
        assert answer.status_code == 502
        assert answer.json()["error"]["message"]
        until(lambda: stack.ready("tools", but_not=before), stack.process)
        quick = {**slow, "arguments": {"sql": "SELECT COUNT(*) FROM Orders"}}
        assert http.post("/tool_call", json=quick).json()["structured"]["rows"] == [[4]]


def test_no_document_is_half_indexed_when_the_tools_die_while_they_read(stack: Stack, tmp_path: Path) -> None:
    text = "\n\n".join(f"## Rule {n}\n\nRule number {n} forbids the colour {n * 7919}." for n in range(600))
    file = tmp_path / "rules.md"
    file.write_text(f"# Rules\n\n{text}\n")
    with stack.http() as http:
        http.post("/api/v1/projects", json={"name": "rules"})
        documents = "/api/v1/projects/rules/documents"
        with file.open("rb") as source:
            document = http.post(documents, files={"file": ("rules.md", source)}).json()

        def state() -> str:
            return str(http.get(f"{documents}/{document['id']}").json()["state"])

        until(lambda: state() in ("parsing", "embedding", "ready"))
        stack.kill("tools")
        until(lambda: state() in ("ready", "failed", "awaiting-embeddings"))
        assert state() != "failed"
        body = {"name": "rag_search", "arguments": {"query": "Rule number 599 forbids"}, "project": "rules"}
        hits = http.post("/tool_call", json=body).json()["structured"]["hits"]
        assert any("Rule number 599" in hit["text"] for hit in hits)


def test_a_killed_supervisor_leaves_nothing_running_and_what_was_deleted_stays_deleted(
    stack: Stack, tmp_path: Path, models: Path
) -> None:
    data = tmp_path / "data"
    with up(data, models, **ECHO) as first:
        until((data / "config" / "demo.json").exists, first.process)
        mark, key = first.mark, first.key
        require_demo(first)
        # Two installations run side by side and do not know each other's keys.
        with first.http(Authorization=f"Bearer {stack.key}") as http:
            assert http.get("/api/v1/me").status_code == 401
        with first.http() as http:
            http.delete("/api/v1/projects/demo").raise_for_status()
        assert len(marked(mark)) >= len(SERVICES)
        first.process.kill()
        deadline = time.monotonic() + 5
        while marked(mark) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert marked(mark) == []
    with up(data, models, **ECHO) as second, second.http() as http:
        assert second.key == key
        found = http.get("/api/v1/projects/demo/databases")
        assert found.status_code == 404 or found.json()["items"] == []


def require_demo(stack: Stack) -> None:
    """Check that the demo project has its documents and its database."""
    with stack.http() as http:
        documents = http.get("/api/v1/projects/demo/documents").json()["items"]
        databases = http.get("/api/v1/projects/demo/databases").json()["items"]
    assert len(documents) == len(list((ROOT / "gateway" / "demo" / "documents").glob("*.md")))
    assert [item["name"] for item in databases] == ["shop"]


@contextmanager
def in_a_terminal(data: Path, models: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`loopyard up` in a terminal of its own, ready; the process, and our end of the terminal."""
    share_models(data, models)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gateway.cli", "up", "--data", str(data), "--no-demo", *free_ports()]
    env = {**os.environ, **ECHO, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        while b"Ctrl-C stops everything" not in shown:
            shown += os.read(ours, 65536)
        assert (data / "admin-key").read_bytes().strip() in shown
        mark = json.loads((data / "run" / "up.json").read_text())["mark"]
        yield process, ours
        assert process.wait() == 0
    assert marked(mark) == []
    assert not (data / "run" / "up.json").exists()


def test_a_terminal_that_is_closed_stops_everything(tmp_path: Path, models: Path) -> None:
    with in_a_terminal(tmp_path / "data", models) as (process, terminal):
        os.close(terminal)
        process.send_signal(signal.SIGHUP)


def test_ctrl_c_stops_everything_in_order(tmp_path: Path, models: Path) -> None:
    with in_a_terminal(tmp_path / "data", models) as (process, terminal):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the services get it too
        shown = b""
        with suppress(OSError):  # what a terminal ends with when nobody has it any more
            while some := os.read(terminal, 65536):
                shown += some
        os.close(terminal)
    assert shown.index(b"Stopping") < shown.index(b"Loopyard has stopped.")
    assert b"Traceback" not in shown
