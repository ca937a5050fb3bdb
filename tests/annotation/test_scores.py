"""Judgements as scores of the answers that they judge, in a real trace store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotation.errors import TracesError
from annotation.record import Record
from annotation.scores import bring, scores_of
from annotation.tasks import Answer, Task, task_of
from annotation.traces import Traces
from rlhf.records import Message, Trace
from tests.annotation.tasks import AT, judged, question, side_of
from tests.annotation.test_pairs import answered, asked, generation, send
from tests.contracts.langfuse_server import TraceServer, trace_server

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceServer]:
    with trace_server(tmp_path_factory.mktemp("traces")) as found:
        yield found


def answer(text: str, trace: str, generation: str) -> Answer:
    named = Trace(trace_id=trace * 32, generation_id=generation, model="tiny:a@1")
    return Answer(messages=[Message(role="assistant", content=text)], trace=named)


def two(name: str = "pair", **more: Any) -> Task:
    """Answers of two traces."""
    one, other = answer("good", "1", f"{1:016x}"), answer("bad", "2", f"{2:016x}")
    return task_of(name, question("Who?"), None, one, other, at=AT, **more)


def shown(store: TraceServer) -> dict[str, tuple[Any, ...]]:
    """(value, comment) of the preferences of each trace, by Langfuse's API."""
    params = {"name": "preference", "fields": "details,subject"}
    auth = (store.public_key, store.secret_key)
    found = httpx.get(f"{store.host}/api/public/v3/scores", params=params, auth=auth, trust_env=False)
    rows = found.json()["data"]
    assert all(row["subject"]["kind"] == "observation" for row in rows)
    return {row["subject"]["traceId"][0]: (row["value"], row["comment"]) for row in rows}


def test_scores_follow_the_judgements_and_are_sent_once(store: TraceServer, tmp_path: Path) -> None:
    spans = [generation(n, int(n), asked("Who?"), answered("I.")) for n in "12"]
    send(store, spans, [])
    record, task, opened = Record(tmp_path), two(), 0

    def traces() -> Traces:
        nonlocal opened
        opened += 1
        return Traces(store.host, store.public_key, store.secret_key)

    with record.alone():
        record.add_tasks([task])
        record.set_judgements([judged(task, side_of(task, "good"), comment="Politer.")])
    assert bring(record, traces) == 2
    assert shown(store) == {"1": ("chosen", "Politer."), "2": ("rejected", "Politer.")}
    assert bring(record, traces) == 0
    assert opened == 1
    with record.alone():
        record.set_judgements([judged(task, "both_bad", minutes=5)])
    assert bring(record, traces) == 2
    assert shown(store) == {"1": ("both_bad", None), "2": ("both_bad", None)}
    with record.alone():
        record.set_judgements([])
    away = "http://127.0.0.1:9"
    with pytest.raises(TracesError, match="no trace store answers"):
        bring(record, lambda: Traces(away, "p", "s"))
    assert bring(record, traces) == 2
    assert shown(store) == {}
    assert (bring(record, traces), opened) == (0, 3)


def test_a_score_that_is_gone_already_is_no_error(store: TraceServer) -> None:
    with closing(Traces(store.host, store.public_key, store.secret_key)) as traces:
        traces.withdraw("nobody/knows")


def test_a_second_answer_has_no_trace_of_its_own_and_no_score() -> None:
    first, second = answer("first", "1", f"{1:016x}"), answer("second", "1", "chatcmpl-7")
    task = task_of("pair", question("Who?"), None, first, second, at=AT)
    (score,) = scores_of(task, judged(task, side_of(task, "second"), reasons=["Shorter"]))
    assert (score["observationId"], score["value"]) == (f"{1:016x}", "rejected")
    assert score["metadata"]["other"]["generation_id"] == "chatcmpl-7"
    assert score["metadata"]["reasons"] == ["Shorter"]
    assert "comment" not in score


def test_a_task_that_tests_the_annotator_says_nothing_of_the_answers() -> None:
    one = answer("good", "1", f"{1:016x}")
    task = two(better=one)
    assert scores_of(task, judged(task, "left")) == []


def test_two_annotators_give_two_scores() -> None:
    task = two()
    ids = {s["id"] for who in ("ann", "bo") for s in scores_of(task, judged(task, "tie", who))}
    assert len(ids) == 4
