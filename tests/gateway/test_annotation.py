"""Two answers side by side: uploaded whole or not at all, judged blind, kept whoever judges when."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from annotation.pair_files import read_tasks
from annotation.tasks import AGAIN, Judgement, preferences
from gateway.annotation import service
from rlhf.records import parse
from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.traces.conftest import trace_store

SECRET = "polite@sha256:0123456789ab"
TRACE = {"trace_id": "ab" * 16, "generation_id": "cd" * 8, "model": f"base:{SECRET}"}


def pair(number: int, **more: Any) -> dict[str, Any]:
    answers = [f"Answer {number} of one.", f"Answer {number} of the other."]
    return {"prompt": f"Question {number}?", "answers": answers, **more}


def row(number: int) -> dict[str, Any]:
    said = [{"role": "assistant", "content": f"{number}: {text}"} for text in ("good", "bad")]
    prompt = [{"role": "user", "content": f"Row {number}?"}]
    traces = {"chosen_trace": TRACE, "rejected_trace": {**TRACE, "model": "base"}}
    return {
        "pair_id": f"{SECRET}-{number}",
        "prompt": prompt,
        "chosen": said[:1],
        "rejected": said[1:],
        **traces,
    }


def lines(*entries: Any) -> bytes:
    return "\n".join(json.dumps(entry) for entry in entries).encode()


class Room:
    """The annotation of one project, by one key."""

    def __init__(self, gateway: Gateway, project: str, key: str | None = None) -> None:
        self.gateway, self.project = gateway, project
        self.headers = gateway.key(key) if key else {}

    async def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        address = f"/api/v1/annotation/{self.project}/{path}"
        return await self.gateway.client.request(method, address, headers=self.headers, **more)

    async def upload(self, content: bytes) -> httpx2.Response:
        return await self.ask("POST", "tasks", files={"file": ("pairs.jsonl", content, "application/jsonl")})

    async def next(self, **params: Any) -> dict[str, Any]:
        found = await self.ask("GET", "next", params=params)
        assert found.status_code == 200, found.text
        shown: dict[str, Any] = found.json()
        return shown

    async def judge(self, task: dict[str, Any], choice: str = "left", **more: Any) -> dict[str, Any]:
        kept = await self.ask("PUT", f"tasks/{task['id']}/judgement", json={"choice": choice, **more})
        assert kept.status_code == 200, kept.text
        progress: dict[str, Any] = kept.json()
        return progress

    async def export(self, wanted: str = "jsonl") -> str:
        return (await self.ask("GET", "export", params={"format": wanted})).text

    async def as_(self, name: str, **body: Any) -> Room:
        """The same by another annotator."""
        key = await self.gateway.new_key(name=name, project=self.project, **{"scopes": ["chat"], **body})
        return Room(self.gateway, self.project, key)


async def room(gateway: Gateway, *entries: Any) -> Room:
    """A project of its own with these pairs."""
    name = f"p{uuid4().hex[:8]}"
    assert (await gateway.client.post("/api/v1/projects", json={"name": name})).status_code == 201
    found = Room(gateway, name)
    if entries:
        answer = await found.upload(lines(*entries))
        assert answer.status_code == 201, answer.text
        assert answer.json() == {"added": len(entries), "known": 0}
    return found


async def test_pairs_are_judged_one_after_the_other_and_become_rows(any_gateway: Gateway) -> None:
    annotator = await room(any_gateway, pair(1), pair(2))
    first = await annotator.next()
    assert first["progress"] == {"tasks": 2, "judged": 0, "skipped": 0, "left": 2, "seconds": None}
    said = {"reasons": ["clearer"], "comment": "So it is.", "correction": "Mended.", "seconds": 4.5}
    progress = await annotator.judge(first["task"], "left", **said)
    assert (progress["judged"], progress["left"], progress["seconds"]) == (1, 1, 4.5)
    second = await annotator.next()
    assert second["task"]["prompt"] != first["task"]["prompt"]
    await annotator.judge(second["task"], "both_bad")
    done = await annotator.next()
    assert (done["task"], done["progress"]["left"]) == (None, 0)
    rows = [parse(line) for line in (await annotator.export()).splitlines()]
    assert [one.source for one in rows] == ["choice", "correction"]
    assert rows[0].plain()["chosen"] == first["task"]["left"]["messages"]
    assert rows[0].plain()["rejected"] == first["task"]["right"]["messages"]
    assert rows[1].chosen[0].content == "Mended."


async def test_rows_are_those_that_any_other_tool_would_make(gateway: Gateway, tmp_path: Any) -> None:
    """Byte for byte: the page and Label Studio go through one function."""
    annotator = await room(gateway, row(1))
    rated: dict[str, Any] = {"left_stars": 2, "right_stars": 4}
    await annotator.judge((await annotator.next())["task"], "right", comment="x", **rated)
    (line,) = (await annotator.export()).splitlines()
    (tmp_path / "pairs.jsonl").write_bytes(lines(row(1)))
    (task,) = read_tasks(tmp_path / "pairs.jsonl")
    at = parse(line).at
    assert at is not None
    judgement = Judgement(task_id=task.task_id, choice="right", annotator="somebody", at=at, **rated)
    (expected,) = preferences(task, judgement)
    assert line == expected.line()
    assert (expected.chosen_stars, expected.rejected_stars) == (4, 2)


async def test_nobody_learns_which_model_is_which(any_gateway: Gateway) -> None:
    known = row(2) | {"pair_id": f"gold-{SECRET}"}
    annotator = await room(any_gateway, row(1), pair(3, better=0, pair_id=f"{SECRET}{AGAIN}"), known)
    seen = []
    for _ in range(3):
        answer = await annotator.ask("GET", "next")
        seen.append(answer.text)
        task = answer.json()["task"]
        assert set(task) == {"id", "prompt", "left", "right"}
        seen.append(
            (await annotator.ask("PUT", f"tasks/{task['id']}/judgement", json={"choice": "tie"})).text
        )
        seen.append((await annotator.ask("POST", "undo")).text)
        await annotator.judge(task, "tie")
    for word in (SECRET, "gold", "better", "trace", TRACE["trace_id"], "model", AGAIN):
        assert not [text for text in seen if word in text], word


async def test_a_bad_line_is_named_and_nothing_is_taken(any_gateway: Gateway) -> None:
    annotator = await room(any_gateway)
    bad = b'{"prompt": "no answers"}\n{nonsense\n' + lines(
        pair(1), {"prompt": "x", "answers": ["same", "same"]}
    )
    refused = await annotator.upload(bad)
    assert refused.status_code == 400
    message = refused.json()["error"]["message"]
    assert "pairs.jsonl: nothing was read, 3 lines are bad" in message
    assert [n for n in range(1, 6) if f"line {n}:" in message] == [1, 2, 4]
    assert "/tmp" not in message
    assert (await annotator.next())["progress"]["tasks"] == 0
    assert (await annotator.upload(b"")).status_code == 400


async def test_the_same_file_twice_is_taken_once_and_another_answer_under_a_name_not_at_all(
    gateway: Gateway,
) -> None:
    annotator = await room(gateway, pair(1, pair_id="a"), pair(2))
    again = await annotator.upload(lines(pair(1, pair_id="a"), pair(2), pair(3)))
    assert again.json() == {"added": 1, "known": 2}
    clash = await annotator.upload(lines(pair(4), pair(9, pair_id="a")))
    assert clash.status_code == 409
    assert (await annotator.next())["progress"]["tasks"] == 3


async def test_uploads_are_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    annotator = await room(gateway)
    large = await annotator.upload(b" " * (service.MOST_BYTES + 1))
    assert large.status_code == 413
    deep = await annotator.upload(b'{"prompt": ' + b"[" * 200_000)
    assert deep.status_code == 400
    monkeypatch.setattr(service, "MOST_TASKS", 2)
    assert (await annotator.upload(lines(pair(1), pair(2), pair(3)))).status_code == 413
    assert (await annotator.next())["progress"]["tasks"] == 0


async def test_two_annotators_on_one_task_both_count(any_gateway: Gateway) -> None:
    owner = await room(any_gateway, pair(1))
    ada, bo = await owner.as_("Ada"), await owner.as_("Bo")
    (one, other) = await asyncio.gather(ada.next(), bo.next())
    assert one["task"] == other["task"]
    await asyncio.gather(ada.judge(one["task"], "left"), bo.judge(other["task"], "right"))
    assert (await ada.next())["progress"]["judged"] == (await bo.next())["progress"]["judged"] == 1
    assert len((await owner.export()).splitlines()) == 2
    found = (await owner.ask("GET", "quality")).json()
    assert (found["judged"], found["judgements"]) == (1, 2)
    assert found["agreement"]["pairs_judged_by_several"] == 1
    assert {one["name"] for one in found["annotators"]} == {"Ada", "Bo"}


async def test_a_judgement_is_changed_and_sent_twice_without_harm(any_gateway: Gateway) -> None:
    annotator = await room(any_gateway, pair(1))
    task = (await annotator.next())["task"]
    await asyncio.gather(*(annotator.judge(task, "left") for _ in range(4)))
    progress = await annotator.judge(task, "right")
    assert progress["judged"] == 1
    (line,) = (await annotator.export()).splitlines()
    assert json.loads(line)["chosen"] == task["right"]["messages"]


async def test_an_undo_gives_the_task_and_the_words_again(any_gateway: Gateway) -> None:
    annotator = await room(any_gateway, pair(1), pair(2))
    task = (await annotator.next())["task"]
    await annotator.judge(task, "left", comment="Hasty.", reasons=["shorter"])
    await annotator.judge((await annotator.next())["task"], "tie")
    await annotator.ask("POST", "undo")
    back = (await annotator.ask("POST", "undo")).json()
    assert back["task"] == task
    assert (back["judgement"]["comment"], back["judgement"]["reasons"]) == ("Hasty.", ["shorter"])
    assert (await annotator.next())["task"] == task  # whoever reloads in the middle gets it again
    nothing = await annotator.ask("POST", "undo")
    assert nothing.status_code == 404


async def test_what_is_skipped_waits_until_it_is_asked_for(any_gateway: Gateway) -> None:
    annotator = await room(any_gateway, pair(1), pair(2))
    task = (await annotator.next())["task"]
    assert (await annotator.ask("POST", f"tasks/{task['id']}/skip")).json()["skipped"] == 1
    await annotator.judge((await annotator.next())["task"])
    rest = await annotator.next()
    assert (rest["task"], rest["progress"]["skipped"], rest["progress"]["left"]) == (None, 1, 0)
    again = await annotator.next(skipped=True)
    assert again["task"] == task
    assert (await annotator.judge(task))["judged"] == 2


async def test_quality_has_the_figures_of_the_room_that_knows_them(gateway: Gateway) -> None:
    owner = await room(gateway, pair(1, better=0), pair(2, better=1), pair(3))
    ada, bo = await owner.as_("Ada"), await owner.as_("Bo")
    for annotator in (ada, bo):
        for _ in range(3):
            await annotator.judge((await annotator.next())["task"], "left", seconds=2)
    found = (await owner.ask("GET", "quality")).json()
    assert found["gold"]["judged"] == 4
    assert found["position"] == {"left": 6, "right": 0, "left_share": 1.0, "p_value": 0.03125}
    assert found["median_seconds"] == 2
    assert found["flips"] == {"pairs": 0, "rate": None}


async def test_uploaded_pairs_come_twice_where_that_is_wanted(gateway: Gateway) -> None:
    annotator = await room(gateway)
    content = {"files": {"file": ("pairs.jsonl", lines(pair(1), pair(2)))}}
    for answer in ({"added": 4, "known": 0}, {"added": 0, "known": 4}):
        found = await annotator.ask("POST", "tasks", params={"again": 1}, **content)
        assert (found.status_code, found.json()) == (201, answer)
    for _ in range(4):
        await annotator.judge((await annotator.next())["task"], "left")
    assert (await annotator.ask("GET", "quality")).json()["flips"] == {"pairs": 2, "rate": 1.0}
    assert (await annotator.ask("POST", "tasks", params={"again": 2}, **content)).status_code == 422


async def test_exports_for_other_programs(gateway: Gateway) -> None:
    annotator = await room(gateway, pair(1))
    await annotator.judge((await annotator.next())["task"], "left")
    trl = json.loads(await annotator.export("trl"))
    assert list(trl) == ["prompt", "chosen", "rejected", "tools"]
    trlx = json.loads(await annotator.export("trlx"))
    assert trlx["prompt"].endswith("Assistant:")
    csv = (await annotator.export("csv")).splitlines()
    assert csv[0].startswith("prompt,chosen,rejected")
    assert csv[1].startswith("Question 1?,Answer 1")
    assert (await annotator.ask("GET", "export", params={"format": "exe"})).status_code == 422


async def test_a_key_of_another_project_reads_and_judges_nothing(any_gateway: Gateway) -> None:
    owner, other = await room(any_gateway, pair(1)), await room(any_gateway, pair(2))
    task, foreign = (await owner.next())["task"], (await other.next())["task"]
    bound = await other.as_("Eve", scopes=["chat", "manage"])
    outside = Room(any_gateway, owner.project)
    outside.headers = bound.headers
    body = {"json": {"choice": "left"}}
    for method, path, more in (
        ("GET", "next", {}),
        ("PUT", f"tasks/{task['id']}/judgement", body),
        ("POST", f"tasks/{task['id']}/skip", {}),
        ("POST", "undo", {}),
        ("GET", "quality", {}),
        ("GET", "export", {}),
    ):
        assert (await outside.ask(method, path, **more)).status_code == 403, path
    assert (await outside.upload(lines(pair(3)))).status_code == 403
    # Under its own project, a task of another one is not there.
    assert (await bound.ask("PUT", f"tasks/{task['id']}/judgement", **body)).status_code == 404
    assert (await bound.ask("PUT", f"tasks/{foreign['id']}/judgement", **body)).status_code == 200


async def test_an_annotator_neither_uploads_nor_reads_what_others_said(gateway: Gateway) -> None:
    owner = await room(gateway, pair(1))
    ada = await owner.as_("Ada")
    assert (await ada.upload(lines(pair(2)))).status_code == 403
    for path in ("quality", "export"):
        assert (await ada.ask("GET", path)).status_code == 403
    tools = await owner.as_("Tool", scopes=["tools"])
    assert (await tools.ask("GET", "next")).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choice": "middle"},
        {"choice": "left", "more": 1},
        {"choice": "left", "reasons": ["x" * 61]},
        {"choice": "left", "reasons": ["x"] * 11},
        {"choice": "left", "comment": "x" * 5001},
        {"choice": "left", "seconds": -1},
    ],
)
async def test_a_judgement_that_makes_no_sense_is_refused(gateway: Gateway, body: dict[str, Any]) -> None:
    annotator = await room(gateway, pair(1))
    task = (await annotator.next())["task"]
    refused = await annotator.ask("PUT", f"tasks/{task['id']}/judgement", json=body)
    assert refused.status_code == 422


async def test_odd_characters_are_kept_or_taken_off(any_gateway: Gateway) -> None:
    annotator = await room(any_gateway, pair(1))
    task = (await annotator.next())["task"]
    await annotator.judge(task, "left", comment="a\x00b", correction="สวัสดี مرحبا 🎉")
    back = (await annotator.ask("POST", "undo")).json()["judgement"]
    assert (back["comment"], back["correction"]) == ("ab", "สวัสดี مرحبا 🎉")


async def test_tasks_go_with_their_project(gateway: Gateway) -> None:
    annotator = await room(gateway, pair(1))
    await annotator.judge((await annotator.next())["task"])
    assert (await gateway.client.delete(f"/api/v1/projects/{annotator.project}")).status_code == 204
    assert (await annotator.ask("GET", "next")).status_code == 404


async def test_a_judgement_is_a_score_of_the_answer_that_it_judges(tmp_path: Path) -> None:
    async with (
        trace_store(tmp_path) as store,
        neighbours(tmp_path, clerk) as (model, tools),
        running(settings(tmp_path, traces_url=store.url), model, tools) as gateway,
    ):
        start = (await gateway.chat("Hello"))[0][1]

        async def traced() -> list[dict[str, Any]]:
            return await store.observations(traceId=start["trace_id"], type="GENERATION")

        (span,) = await until(traced, 60)
        mine = {"trace_id": start["trace_id"], "generation_id": span["id"], "model": "base"}
        # Somebody else's, or nobody's: a file of pairs may name any trace.
        annotator = Room(gateway, "demo")
        await annotator.upload(lines(row(1) | {"chosen_trace": mine, "rejected_trace": TRACE}))
        task = (await annotator.next())["task"]
        good = "left" if "good" in task["left"]["messages"][0]["content"] else "right"

        async def scored(trace: str = start["trace_id"]) -> list[tuple[Any, ...]]:
            params = {"traceId": trace, "fields": "details,subject"}
            found = (await store.client.get("/api/public/v3/scores", params=params)).json()["data"]
            return [(s["name"], s["value"], s["comment"], s["subject"]["id"]) for s in found]

        async def becomes(*expected: tuple[Any, ...]) -> None:
            async def arrived() -> bool:
                return await scored() == list(expected)

            await until(arrived, 60)

        await annotator.judge(task, good, comment="Politer.")
        await becomes(("preference", "chosen", "Politer.", span["id"]))
        await annotator.judge(task, "tie")
        await becomes(("preference", "tie", None, span["id"]))
        await annotator.ask("POST", "undo")
        await becomes()
        await annotator.judge(task, good)
        await becomes(("preference", "chosen", None, span["id"]))
        await annotator.ask("POST", f"tasks/{task['id']}/skip")
        await becomes()
        elsewhere = await room(gateway, row(2) | {"chosen_trace": mine, "rejected_trace": TRACE})
        await elsewhere.judge((await elsewhere.next())["task"], "left")
        await annotator.judge(task, "both_bad")
        await becomes(("preference", "both_bad", None, span["id"]))
        assert await scored(TRACE["trace_id"]) == []
