"""The gateway as the trial sees it: projects, documents, databases, tool calls and chats over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

Json = dict[str, Any]


class ChainError(Exception):
    """A link of the chain failed: the gateway refused, broke off or never answered."""


@dataclass
class Call:
    """One tool call of an agent with its result."""

    name: str
    arguments: Json
    ok: bool = False
    text: str = ""
    structured: Json = field(default_factory=dict)


@dataclass
class Turn:
    """One question and what came back."""

    answer: str = ""
    route: str | None = None
    calls: list[Call] = field(default_factory=list)
    sources: list[Json] = field(default_factory=list)
    timings: Json = field(default_factory=dict)
    error: str | None = None

    @property
    def seconds(self) -> float:
        """Time of the whole turn as the gateway measured it."""
        return float(self.timings.get("total_ms") or 0) / 1000


class Gateway:
    """An HTTP client with the bearer key; every refusal is a ChainError that says what was refused."""

    def __init__(self, url: str, key: str, *, timeout: float = 300) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def items(self, path: str) -> list[Json]:
        """The list at `/api/v1/<path>`."""
        return list(self._send("GET", f"/api/v1/{path}")["items"])

    def make_project(self, name: str) -> None:
        """Makes the project unless it is there."""
        if not any(project["name"] == name for project in self.items("projects")):
            self._send("POST", "/api/v1/projects", {"name": name})

    def tool(self, name: str, arguments: Json, project: str) -> Json:
        """The structured result of one tool call."""
        body = self._send("POST", "/tool_call", {"name": name, "arguments": arguments, "project": project})
        if not body.get("ok"):
            raise ChainError(f"{name} on {project}: {body.get('content')}")
        return dict(body["structured"])

    def chat(self, project: str, agent: str, message: str) -> Turn:
        """Asks `agent` in a new conversation; an error on the way is kept in the turn."""
        path = f"/api/v1/projects/{project}/chat"
        try:
            with self._http.stream("POST", path, json={"agent": agent, "message": message}) as response:
                if response.is_error:
                    return Turn(error=f"{response.status_code} {response.read().decode()[:300]}")
                return read_turn(events(response.iter_lines()))
        except httpx.HTTPError as error:
            return Turn(error=f"{type(error).__name__}: {error}")

    def _send(self, method: str, path: str, body: Json | None = None) -> Json:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ChainError(f"{method} {path}: {type(error).__name__}: {error}") from error
        if response.is_error:
            raise ChainError(f"{method} {path}: {response.status_code} {response.text[:300]}")
        return dict(response.json())


def events(lines: Iterable[str]) -> Iterator[tuple[str, Json]]:
    """Server-sent events as (name, data); https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    name, data = "message", ""
    for line in lines:
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name, json.loads(data)
            name, data = "message", ""
        elif key == "event":
            name = value
        elif key == "data":
            data += value


def read_turn(stream: Iterable[tuple[str, Json]]) -> Turn:
    """One turn from its events; a stream that ends without `done` is an error."""
    turn, calls, tokens, done = Turn(), {}, [], False
    for name, data in stream:
        if name == "route":
            turn.route = data["route"]
        elif name == "tool_call":
            calls[data["id"]] = Call(data["name"], data["arguments"])
        elif name == "tool_result" and data["id"] in calls:
            call = calls[data["id"]]
            call.ok, call.text = data["ok"], data.get("text") or ""
            call.structured = data.get("structured") or {}
        elif name == "token":
            tokens.append(data["text"])
        elif name == "sources":
            turn.sources = data["items"]
        elif name == "done":
            done, turn.answer, turn.timings = True, data["answer"], data.get("timings") or {}
        elif name == "error":
            turn.error = f"{data.get('code')}: {data.get('message')}"
    turn.calls = list(calls.values())
    turn.answer = turn.answer or "".join(tokens)
    if not done and turn.error is None:
        turn.error = "the stream ended without `done`"
    return turn
