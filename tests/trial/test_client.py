"""A chat's events read back into one turn, and a gateway that refuses."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.trial.client import Call, ChainError, Gateway, events, read_turn

STREAM = """\
event: start
data: {"message_id": "m"}

: keep-alive

event: route
data: {"route": "database"}

event: tool_call
data: {"id": "1", "name": "sql_query", "arguments": {"sql": "SELECT 1"}}

event: tool_result
data: {"id": "1", "name": "sql_query", "ok": true, "text": "1", "structured": {"rows": [[1]]}}

event: token
data: {"text": "It is "}

event: token
data: {"text": "1."}

event: sources
data: {"items": [{"n": 1, "document": "leave.md", "quote": "x"}]}

"""
DONE = 'event: done\ndata: {"answer": "It is 1.", "timings": {"total_ms": 1500}}\n\n'


def test_a_whole_turn() -> None:
    turn = read_turn(events((STREAM + DONE).splitlines()))
    assert turn.error is None
    assert turn.answer == "It is 1."
    assert turn.route == "database"
    assert turn.calls == [Call("sql_query", {"sql": "SELECT 1"}, True, "1", {"rows": [[1]]})]
    assert [source["document"] for source in turn.sources] == ["leave.md"]
    assert turn.seconds == 1.5


def test_a_stream_that_breaks_off_keeps_its_text_and_says_so() -> None:
    turn = read_turn(events(STREAM.splitlines()))
    assert turn.answer == "It is 1."
    assert turn.error == "the stream ended without `done`"


def test_an_error_event_is_kept() -> None:
    stream = STREAM + 'event: error\ndata: {"code": "model_unavailable", "message": "no model"}\n\n'
    assert read_turn(events(stream.splitlines())).error == "model_unavailable: no model"


class SmallGateway(BaseHTTPRequestHandler):
    """Answers a tool call that fails, one chat, and refuses the rest."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/tool_call":
            self.answer(200, json.dumps({"name": "sql_query", "ok": False, "content": "no such table: x"}))
        elif self.path == "/api/v1/projects/shop/chat":
            self.answer(200, STREAM + DONE)
        else:
            self.answer(404, json.dumps({"error": {"message": "There is no project 'none'"}}))

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with ThreadingHTTPServer(("127.0.0.1", 0), SmallGateway) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with Gateway(f"http://127.0.0.1:{server.server_port}", "ly_key") as client:
            yield client
        server.shutdown()


def test_a_chat_over_http(gateway: Gateway) -> None:
    assert gateway.chat("shop", "general", "hello").answer == "It is 1."


def test_a_refused_chat_is_an_error_of_the_turn(gateway: Gateway) -> None:
    assert "404 " in str(gateway.chat("none", "general", "hello").error)


def test_a_failed_tool_call_says_what_the_tool_said(gateway: Gateway) -> None:
    with pytest.raises(ChainError, match="no such table: x"):
        gateway.tool("sql_query", {"sql": "SELECT * FROM x"}, "shop")


def test_a_gateway_that_is_not_there_is_a_broken_chain() -> None:
    with Gateway("http://127.0.0.1:9", "ly_key") as gone, pytest.raises(ChainError, match="ConnectError"):
        gone.items("projects")
