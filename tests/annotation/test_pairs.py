"""Pairs out of a real trace store, with second answers of a real model server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotation.errors import ModelError, TracesError
from annotation.pairs import Mined, fill, mine, read
from annotation.record import Record
from annotation.second import SecondAnswers
from annotation.tasks import Answer
from annotation.traces import Generation, Score, Traces, generation_of
from rlhf.data.build import Plan, build
from rlhf.data.ready import refuse_unready
from rlhf.records import Message, Trace
from tests.contracts.langfuse_server import TraceServer, trace_server
from tests.gateway.traces.conftest import EXPORT, PROTOBUF, batch
from tests.llm_server.processes import process

pytestmark = pytest.mark.timeout(600)
AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
TOOL = {"name": "search", "description": "Searches.", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceServer]:
    with trace_server(tmp_path_factory.mktemp("traces")) as found:
        yield found


def span(trace: str, number: int, **attributes: Any) -> dict[str, Any]:
    kept = {
        f"langfuse.observation.{k}": v if isinstance(v, str) else json.dumps(v) for k, v in attributes.items()
    }
    return {"trace": trace * 32, "id": f"{number:016x}", "start": AT.timestamp() + number, "attributes": kept}


def generation(trace: str, number: int, prompt: list[Any], output: Any, **more: Any) -> dict[str, Any]:
    made = span(trace, number, type="generation", input=prompt, output=output, **{"model.name": "tiny:a@1"})
    made["attributes"] |= {"session.id": f"s{trace}", "user.id": f"u{trace}", **more}
    return made


def asked(text: str) -> list[Any]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def answered(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def send(store: TraceServer, spans: list[dict[str, Any]], scores: list[dict[str, Any]]) -> None:
    auth = (store.public_key, store.secret_key)
    with httpx.Client(base_url=store.host, auth=auth, trust_env=False, timeout=60) as client:
        body = batch(*spans).SerializeToString()
        client.post(EXPORT, content=body, headers=PROTOBUF).raise_for_status()
        assert client.post("/api/public/scores", json=scores).status_code == 202


def thumb(trace: str, number: int, up: bool) -> dict[str, Any]:
    about = {"traceId": trace * 32, "observationId": f"{number:016x}", "id": f"{trace}-thumbs"}
    return {**about, "name": "thumbs", "dataType": "BOOLEAN", "value": int(up)}


def test_what_users_said_becomes_rows_and_the_rest_waits_for_a_second_answer(store: TraceServer) -> None:
    tools = [{"role": "tool", "content": {"type": "function", "function": TOOL}}]
    long = [
        *asked("When?"),
        {
            **answered(""),
            "tool_calls": [{"id": "c1", "name": "search", "args": {"q": "ü"}, "type": "tool_call"}],
        },
        {"role": "tool", "content": "In March.", "tool_call_id": "c1"},
    ]
    calling = {**answered(""), "tool_calls": [{"id": "c1", "name": "search", "args": {}}]}
    send(
        store,
        [
            # A root that saw something else than the model: never the source of a pair.
            span("1", 1, type="chain", input=asked("ROOT"), output=answered("ROOT")),
            generation("1", 2, asked("When?") + tools, calling),
            generation("1", 3, long + tools, answered("In March.")),
            generation("2", 4, asked("Where?"), answered("Here.")),
            generation("3", 5, asked("Where?"), answered("There.")),
            generation("4", 6, asked("Why?"), answered("Because.")),
            generation("5", 7, asked("Why?"), answered("No idea.")),
            generation("6", 8, asked("Who?"), answered("Me.")),
            generation("7", 9, asked("Look"), answered("A cat."), **{"langfuse.observation.input": "[[[]"}),
        ],
        [
            thumb("1", 3, False),
            {
                "id": "c",
                "traceId": "1" * 32,
                "name": "correction",
                "dataType": "CORRECTION",
                "value": "In May.",
            },
            thumb("2", 4, True),
            thumb("3", 5, False),
        ],
    )
    with closing(Traces(store.host, store.public_key, store.secret_key)) as traces:
        mined = read(traces)
        assert read(traces, since=AT + timedelta(days=1)) == Mined()
    corrected, preferred = mined.rows
    assert [m.plain() for m in corrected.chosen] == [answered("In May.")]
    assert [m.plain() for m in corrected.rejected] == [answered("In March.")]
    call = {"name": "search", "arguments": '{"q": "ü"}'}
    assert corrected.prompt[2].tool_calls == [{"id": "c1", "type": "function", "function": call}]
    assert corrected.prompt[3].tool_call_id == "c1"
    assert json.loads(corrected.tools or "") == [{"type": "function", "function": TOOL}]
    assert corrected.rejected_trace == Trace(trace_id="1" * 32, generation_id=f"{3:016x}", model="tiny:a@1")
    assert (corrected.source, corrected.session, corrected.user) == ("correction", "s1", "u1")
    assert preferred.source == "thumbs"
    assert (preferred.chosen[0].content, preferred.rejected[0].content) == ("Here.", "There.")
    assert preferred.chosen_trace is not None
    assert preferred.chosen_trace.trace_id == "2" * 32
    (task,) = mined.tasks
    assert {task.left.messages[0].content, task.right.messages[0].content} == {"Because.", "No idea."}
    assert [one.answer[0].content for one in mined.alone] == ["Me."]
    assert "ROOT" not in repr(mined)


def alone(number: int, text: str = "First.") -> Generation:
    return Generation(
        trace=Trace(trace_id=f"t{number}", generation_id=f"g{number}", model="echo"),
        at=AT + timedelta(minutes=number),
        prompt=[Message(role="user", content=f"Question {number}?")],
        tools=None,
        answer=[Message(role="assistant", content=text)],
        session="s",
        user="u",
        project=None,
    )


def open_traces(store: TraceServer) -> Traces:
    return Traces(store.host, store.public_key, store.secret_key)


def test_a_second_answer_makes_a_task_once_and_the_rest_later(store: TraceServer, tmp_path: Path) -> None:
    # The last one's answer is what the echo says anyway: no second answer is another one.
    generations = [alone(1), alone(2), alone(3), alone(0, "Question 0?")]
    record = Record(tmp_path / "record")
    # A model server that would trace the same requests for the same project.
    sink = {"HOST": store.host, "PUBLIC_KEY": store.public_key, "SECRET_KEY": store.secret_key}
    tracing = {f"LANGFUSE_{name}": value for name, value in sink.items()}
    with process({"LLM_BACKEND": "echo", "LLM_DATA": str(tmp_path), **tracing}) as (_, url):
        name = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"][0]["id"]
        with (
            closing(open_traces(store)) as traces,
            closing(SecondAnswers(f"{url}/v1", "", name, 1.0, traces)) as model,
        ):
            seen: list[tuple[int, int]] = []
            assert fill(record, mine(generations, []), model, 2, lambda *told: seen.append(told)) == 0
            assert seen == [(0, 2), (1, 2), (2, 2)]
            first = record.tasks()
            assert fill(record, mine(generations, []), model, 10) == 1
            assert record.tasks()[:2] == first
            assert len(record.tasks()) == 3
            assert fill(record, mine(generations, []), model, 10) == 1
            assert len(record.tasks()) == 3
        with (
            closing(SecondAnswers(f"{url}/v1", "", "nobody", 1.0)) as model,
            pytest.raises(ModelError) as told,
        ):
            fill(record, mine([alone(9)], []), model, 1)
        assert "nobody" in str(told.value)
    newest = first[0]
    answers: dict[str, Answer] = {str(a.messages[0].content): a for a in (newest.left, newest.right)}
    assert set(answers) == {"First.", "Question 3?"}
    second = answers["Question 3?"].trace
    assert second is not None
    assert second.model == name
    query = {"traceId": second.trace_id, "fields": "basic,io,metadata,model"}
    auth = (store.public_key, store.secret_key)
    (kept,) = httpx.get(
        f"{store.host}/api/public/v2/observations", params=query, auth=auth, trust_env=False
    ).json()["data"]
    # The name in the task leads to one generation, with what was asked, what came back and for whom.
    assert (kept["id"], kept["type"], kept["model"]) == (second.generation_id, "GENERATION", name)
    assert "Question 3?" in kept["input"]
    assert json.loads(kept["output"])["content"] == "Question 3?"
    assert (kept["userId"], kept["sessionId"]) == ("u", "s")
    assert kept["metadata"]["second_answer_to"] == "t3"
    # Nobody has read it: it is no answer to look for pairs with.
    with closing(open_traces(store)) as traces:
        read = list(traces.generations())
    assert second.trace_id not in {one.trace.trace_id for one in read}
    assert "Question 3?" not in {str(one.answer[0].content) for one in read}


def test_what_is_kept_stays_when_the_model_server_goes(tmp_path: Path) -> None:
    class Breaks:
        """Answers once."""

        left = 1

        def second(self, generation: Generation) -> Answer | None:
            self.left -= 1
            if self.left < 0:
                raise ModelError("gone")
            return Answer(messages=[Message(role="assistant", content="Second.")])

    record = Record(tmp_path)
    with pytest.raises(ModelError):
        fill(record, mine([alone(1), alone(2)], []), Breaks(), 5)
    assert len(record.tasks()) == 1
    with pytest.raises(ModelError, match="no model server answers"):
        fill(record, mine([alone(1)], []), SecondAnswers("http://127.0.0.1:9/v1", "", "", 1.0), 5)


def test_disliked_answers_come_first_and_a_changed_mind_counts() -> None:
    scores = [
        Score("thumbs", False, "t1", "g1", AT),
        Score("thumbs", True, "t3", None, AT),
        Score("thumbs", False, "t3", None, AT + timedelta(minutes=1)),
        # Of another observation of the trace: not of this answer.
        Score("thumbs", False, "t2", "other", AT),
    ]
    mined = mine([alone(1), alone(2), alone(3)], scores)
    assert [one.trace.trace_id for one in mined.alone] == ["t3", "t1", "t2"]


def test_every_thumb_is_a_row_of_its_own_until_it_is_taken_back(tmp_path: Path) -> None:
    record, answers = Record(tmp_path / "demo"), [alone(1), alone(2), alone(3)]
    scores = [Score("thumbs", False, "t1", "g1", AT), Score("thumbs", True, "t2", "g2", AT)]
    fill(record, mine(answers, scores), None, 0)
    said = {row.trace.trace_id: row for row in record.thumbs() if row.trace}
    assert {trace: row.label for trace, row in said.items()} == {"t1": False, "t2": True}
    assert said["t1"].prompt == alone(1).prompt
    assert (said["t1"].completion[0].content, said["t1"].user, said["t1"].source) == ("First.", "u", "thumbs")
    # One is changed, one is taken back, and one is older than what is looked at now.
    fill(record, mine(answers[:1], [replace(scores[0], value=True)]), None, 0)
    assert [row.label for row in record.thumbs()] == [True, True]
    fill(record, mine(answers[:1], []), None, 0)
    assert [row.trace.trace_id for row in record.thumbs() if row.trace] == ["t2"]
    with record.alone():
        assert record.forget("u", frozenset()).rows == 1
    assert record.thumbs() == []


def test_thumbs_are_a_dataset_that_kto_reads(tmp_path: Path) -> None:
    record, count = Record(tmp_path / "demo"), 20
    answers = [replace(alone(n), user=f"u{n}", session=f"s{n}") for n in range(count)]
    scores = [Score("thumbs", n % 2 == 0, f"t{n}", None, AT) for n in range(count)]
    fill(record, mine(answers, scores), None, 0)
    manifest, _ = build([record.folder / "thumbs.jsonl"], tmp_path / "data", Plan(held_out=0.2))
    assert (manifest["kind"], manifest["left_out"]) == ("kto", {"errors": 0, "duplicates": 0})
    refuse_unready(tmp_path / "data", "kto")


def test_a_correction_that_changes_nothing_is_none_and_the_last_one_counts() -> None:
    same = Score("correction", " First. ", "t1", None, AT)
    assert mine([alone(1)], [same]).rows == []
    later = replace(same, value="Better.", at=AT + timedelta(minutes=1))
    (row,) = mine([alone(1)], [later, same]).rows
    assert row.chosen[0].content == "Better."


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ('"Hi"', '"Hello"'),
        ('[[{"role": "user", "content": "Hi"}]]', '[{"role": "assistant", "content": "Hello"}]'),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', '{"role": "assistant", "content": "Hello"}'),
        (
            '[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]',
            '{"role": "assistant", "content": "Hello", "additional_kwargs": {}}',
        ),
    ],
)
def test_messages_are_read_in_the_shapes_that_clients_write(given: str, output: str) -> None:
    row = {"traceId": "t", "id": "g", "startTime": AT.isoformat(), "input": given, "output": output}
    found = generation_of(row)
    assert found is not None
    assert [m.content for m in (*found.prompt, *found.answer)] == ["Hi", "Hello"]


@pytest.mark.parametrize(
    "given", ["null", "[]", "7", '[{"role": "user"}]', '[{"role": "user", "content": [{}]}]']
)
def test_what_is_no_conversation_in_text_is_passed_over(given: str) -> None:
    row = {"traceId": "t", "id": "g", "startTime": AT.isoformat(), "input": given, "output": '"Hello"'}
    assert generation_of(row) is None


def test_errors_of_the_trace_store_name_the_remedy_and_no_key(store: TraceServer) -> None:
    with (
        closing(Traces(store.host, store.public_key, "sk-lf-wrong")) as traces,
        pytest.raises(TracesError) as told,
    ):
        list(traces.generations())
    assert "langfuse-keys.json" in told.value.remedy
    assert "sk-lf-wrong" not in str(told.value) + told.value.remedy
    with (
        closing(Traces("http://127.0.0.1:9", "a", "b")) as traces,
        pytest.raises(TracesError, match="no trace store answers"),
    ):
        list(traces.generations())
