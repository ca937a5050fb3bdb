"""Generations and scores out of Langfuse's public API: the embedded trace store's, or a Langfuse server's.

A generation is read as the model saw it: its own messages and tools, never the input of the trace's root.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from annotation.errors import TracesError
from annotation.spans import ANSWERS
from rlhf.records import Message, Trace

Json = dict[str, Any]
PAGE = 100
SCORES = "/api/public/scores"
KEYS_HELP = "The keys are in DATA/langfuse-keys.json, or LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY."


@dataclass(frozen=True)
class Generation:
    """One answer of a model that ended a turn, with what it saw.

    Attributes:
        tools: OpenAI's list as a JSON string.
        project: of the gateway, None where the trace does not say.
    """

    trace: Trace
    at: datetime
    prompt: list[Message]
    tools: str | None
    answer: list[Message]
    session: str | None
    user: str | None
    project: str | None


@dataclass(frozen=True)
class Score:
    """What somebody thinks of a trace, or of one observation of it."""

    name: str
    value: bool | float | str
    trace_id: str
    observation_id: str | None
    at: datetime
    metadata: Json = field(default_factory=dict)


class Traces:
    """One store. Every method raises TracesError; no error holds a key."""

    def __init__(self, host: str, public_key: str, secret_key: str, timeout: float = 60.0) -> None:
        self.host, self.public_key = host.rstrip("/"), public_key
        try:
            auth = httpx.BasicAuth(public_key, secret_key)
            self._http = httpx.Client(base_url=self.host, auth=auth, timeout=timeout, trust_env=False)
        except httpx.InvalidURL as error:
            raise TracesError(f"{host!r} is no address: {error}", "Mend LANGFUSE_HOST.") from error

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def generations(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Generation]:
        """The newest first. Generations that called tools, failed or hold more than text are left out, and so
        are second answers."""
        query: Json = {"type": "GENERATION", "fields": "basic,io,metadata,model"}
        if since:
            query["fromStartTime"] = since.isoformat()
        if until:
            query["toStartTime"] = until.isoformat()
        for row in self._pages("/api/public/v2/observations", query):
            if found := generation_of(row):
                yield found

    def scores(self, name: str, since: datetime | None = None) -> Iterator[Score]:
        """Scores of a name that are about a trace or an observation, the newest first."""
        query: Json = {"name": name, "fields": "details,subject"}
        if since:
            query["fromTimestamp"] = since.isoformat()
        for row in self._pages("/api/public/v3/scores", query):
            subject, at = row.get("subject") or {}, datetime.fromisoformat(row["timestamp"])
            metadata = row.get("metadata") or {}
            if subject.get("kind") == "observation":
                yield Score(name, row["value"], subject["traceId"], subject["id"], at, metadata)
            elif subject.get("kind") == "trace":
                yield Score(name, row["value"], subject["id"], None, at, metadata)

    def score(self, scores: Sequence[Json]) -> None:
        """Write scores, each over the one that has its id."""
        self._ask("POST", SCORES, json=list(scores))

    def withdraw(self, score: str) -> None:
        """Take a score back; one that is not there is no error."""
        self._ask("DELETE", f"{SCORES}/{quote(score, safe='')}", missing_ok=True)

    def keep(self, export: Json) -> None:
        """Send spans, as OTLP has them in JSON. Sent twice they are there once."""
        self._ask("POST", "/api/public/otel/v1/traces", json=export)

    def _pages(self, path: str, query: Json) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            page = self._ask(
                "GET", path, params={**query, "limit": PAGE, **({"cursor": cursor} if cursor else {})}
            )
            yield from page["data"]
            cursor = page["meta"].get("cursor")
            if not cursor:
                return

    def _ask(self, method: str, path: str, missing_ok: bool = False, **given: Any) -> Json:
        try:
            answer = self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            text = f"no trace store answers at {self.host}: {error or type(error).__name__}"
            raise TracesError(
                text, "Start it with `loopyard up`, or name yours with LANGFUSE_HOST."
            ) from None
        if answer.status_code in (401, 403):
            raise TracesError(f"the trace store at {self.host} does not take the keys", KEYS_HELP)
        if missing_ok and answer.status_code == 404:
            return {}
        try:
            answer.raise_for_status()
            return dict(answer.json() if answer.content else {})
        except (httpx.HTTPStatusError, ValueError):
            text = (
                f"the trace store at {self.host} answers {answer.status_code} to {path}: {answer.text[:200]}"
            )
            raise TracesError(text) from None


def generation_of(row: Json) -> Generation | None:
    """An observation as one answer in text, None if it is none."""
    try:
        prompt, tools = _input(json.loads(row["input"]))
        answer = _message(_output(json.loads(row["output"])))
        if answer.tool_calls or not (answer.content or "").strip() or not prompt:
            return None
        metadata = row.get("metadata") or {}
        if ANSWERS in metadata:
            return None
        return Generation(
            trace=Trace(trace_id=row["traceId"], generation_id=row["id"], model=row.get("model") or ""),
            at=datetime.fromisoformat(row["startTime"]),
            prompt=prompt,
            tools=tools,
            answer=[Message(role="assistant", content=answer.content)],
            session=row.get("sessionId"),
            user=row.get("userId"),
            project=metadata.get("project"),
        )
    except (ValueError, KeyError, TypeError):
        # Anybody may write spans, in any shape: what is no conversation in text is no pair.
        return None


def _input(value: Any) -> tuple[list[Message], str | None]:
    """Messages and tools. LangChain's handler puts tools behind the messages, OpenAI's beside them."""
    tools: list[Any] = []
    if isinstance(value, dict):
        tools = list(value.get("tools") or [])
        value = value["messages"]
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    tools += [entry["content"] for entry in value if _is_tool_definition(entry)]
    messages = [_message(entry) for entry in value if not _is_tool_definition(entry)]
    named = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
    return messages, json.dumps(named, ensure_ascii=False) if named else None


def _is_tool_definition(entry: Json) -> bool:
    return entry["role"] == "tool" and isinstance(entry["content"], dict)


def _output(value: Any) -> Json:
    if isinstance(value, str):
        return {"role": "assistant", "content": value}
    if isinstance(value, list):
        (value,) = value
    return dict(value)


def _message(entry: Json) -> Message:
    """Raises ValueError for what is more than text."""
    content = entry.get("content")
    if isinstance(content, list):
        if any(part.get("type") != "text" for part in content):
            raise ValueError("more than text")
        content = "".join(part["text"] for part in content)
    calls = [_call(call) for call in entry.get("tool_calls") or ()]
    return Message(
        role=entry["role"],
        content=None if calls and not content else content,
        tool_calls=calls or None,
        tool_call_id=entry.get("tool_call_id"),
        name=entry.get("name"),
    )


def _call(call: Json) -> Json:
    """A tool call as OpenAI has it; LangChain's has name and args."""
    if "function" in call:
        return {key: call[key] for key in ("id", "type", "function") if key in call}
    arguments = json.dumps(call["args"], ensure_ascii=False)
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}
