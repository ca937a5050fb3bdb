"""From chats to the page that judges, without any other program: thumbs, corrections, second answers."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from rlhf.records import parse
from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.test_cli_jobs import run
from tests.gateway.traces.conftest import TraceStore, trace_store
from tests.graphs.model_server import Reply, last_user

AT = "/api/v1/annotation/demo"


def varied(body: dict[str, Any]) -> Reply:
    """Says another thing when it is asked without tools to use, as second answers are."""
    if body.get("model") == "nobody":
        return Reply(status=404, error={"message": "no such model"})
    if body.get("seed") is not None:
        return Reply(f"Once more: {last_user(body)}")
    return clerk(body)


@asynccontextmanager
async def house(tmp_path: Path) -> AsyncIterator[tuple[Gateway, TraceStore]]:
    """A gateway that traces."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(trace_store(tmp_path))
        model, tools = await stack.enter_async_context(neighbours(tmp_path, varied))
        chosen = settings(tmp_path, traces_url=store.url)
        yield await stack.enter_async_context(running(chosen, model, tools)), store


async def collected(gateway: Gateway, path: str = AT, **body: Any) -> dict[str, Any]:
    """The end of a run."""
    begun = await gateway.client.post(f"{path}/collect", json=body)
    assert begun.status_code == 202, begun.text

    async def ended() -> dict[str, Any] | None:
        seen: dict[str, Any] = (await gateway.client.get(f"{path}/collect")).json()
        return seen if seen["state"] != "running" else None

    found: dict[str, Any] = await until(ended, 60)
    return found


async def asked(gateway: Gateway, *questions: str, project: str = "demo") -> list[dict[str, Any]]:
    return [(await gateway.chat(question, project))[0][1] for question in questions]


async def traced(store: TraceStore, count: int) -> None:
    """Waits until so many answers are in the store."""

    async def there() -> bool:
        rows = await store.observations(type="GENERATION", limit=100, fields="basic")
        return len({row["traceId"] for row in rows}) >= count

    await until(there, 30)


async def given(gateway: Gateway, start: dict[str, Any], **feedback: Any) -> None:
    body = {"message_id": start["message_id"], **feedback}
    (await gateway.client.post("/api/v1/feedback", json=body)).raise_for_status()


async def test_chats_become_rows_and_blind_tasks_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as (gateway, store):
        chats = await asked(gateway, "Hello", *(f"Tell me about {n}" for n in range(6)))
        await given(gateway, chats[0], thumb="down", correction="Good morning.")
        await traced(store, 7)

        async def scored() -> bool:
            return bool(
                (await store.client.get("/api/public/v3/scores", params={"name": "correction"})).json()[
                    "data"
                ]
            )

        await until(scored, 30)
        first = await collected(gateway, second=20, again=1.0, known=0.1)
        assert (first["state"], first["error"]) == ("done", "")
        assert (first["preferences"], first["alone"], first["same"]) == (1, 6, 0)
        assert (first["thumbs"], first["cut"]) == (1, False)
        # Six pairs and one with a known answer, each in both orders.
        assert first["added"] == 14
        second = await collected(gateway, second=20, again=1.0, known=0.1)
        assert (second["state"], second["added"]) == ("done", 0)
        standing = (await gateway.client.get(f"{AT}/standing")).json()
        assert standing == {"tasks": 14, "judged": 0, "preferences": 1}

        seen = []
        for _ in range(14):
            task = (await gateway.client.get(f"{AT}/next")).json()["task"]
            seen.append(json.dumps(task))
            body = {"choice": "left", "seconds": 1}
            (await gateway.client.put(f"{AT}/tasks/{task['id']}/judgement", json=body)).raise_for_status()
        assert not [text for text in seen if "trace" in text or "gold" in text or "model" in text]
        assert (await gateway.client.get(f"{AT}/next")).json()["task"] is None
        quality = (await gateway.client.get(f"{AT}/quality")).json()
        # Somebody who always says left flips on every pair, and is right on one of two known answers.
        assert quality["flips"] == {"pairs": 7, "rate": 1.0}
        assert (quality["gold"]["judged"], quality["gold"]["right"]) == (2, 1)
        assert quality["position"]["left"] == 14

        exported = await gateway.client.get(f"{AT}/export", params={"kind": "kto"})
        (thumb,) = map(json.loads, exported.text.splitlines())
        assert (thumb["label"], thumb["trace"]["trace_id"]) == (False, chats[0]["trace_id"])
        refused = await gateway.client.get(f"{AT}/export", params={"kind": "kto", "format": "csv"})
        assert refused.status_code == 400
        rows = [parse(line) for line in (await gateway.client.get(f"{AT}/export")).text.splitlines()]
        assert len(rows) == 13
        (mended,) = [row for row in rows if row.source == "correction"]
        assert mended.chosen[0].content == "Good morning."
        assert mended.rejected_trace is not None
        assert mended.rejected_trace.trace_id == chats[0]["trace_id"]
        # Each answer that is learnt from leads to a generation in the store, a model's second one too.
        for row in rows:
            for trace in filter(None, (row.chosen_trace, row.rejected_trace)):
                (found,) = [
                    o
                    for o in await store.observations(traceId=trace.trace_id, fields="basic")
                    if o["id"] == trace.generation_id
                ]
                assert found["type"] == "GENERATION"


async def test_only_chats_of_the_project_are_read(tmp_path: Path) -> None:
    async with house(tmp_path) as (gateway, store):
        (await gateway.client.post("/api/v1/projects", json={"name": "other"})).raise_for_status()
        await asked(gateway, "A secret of the other project", project="other")
        await traced(store, 1)
        # Whoever has the keys of the trace store can write what they like into it.
        claim = {
            "langfuse.observation.metadata.project": "demo",
            "langfuse.observation.type": "generation",
            "langfuse.observation.input": "forged",
            "langfuse.observation.output": "forged",
        }
        await store.export({"trace": "ab" * 16, "id": "cd" * 8, "attributes": claim})
        await traced(store, 2)
        assert (await collected(gateway, since="2020-01-01"))["alone"] == 0
        assert (await gateway.client.get(f"{AT}/standing")).json()["tasks"] == 0
        other = await collected(gateway, "/api/v1/annotation/other")
        assert other["added"] >= 1


async def test_a_time_range_ends_what_is_read(tmp_path: Path) -> None:
    async with house(tmp_path) as (gateway, store):
        await asked(gateway, "Hello")
        await traced(store, 1)
        assert (await collected(gateway, since="7d", until="1h", second=0))["alone"] == 0
        assert (await collected(gateway, since="7d", second=0))["alone"] == 1


async def test_a_run_that_cannot_go_on_says_why_and_keeps_what_it_has(tmp_path: Path) -> None:
    async with house(tmp_path) as (gateway, store):
        chats = await asked(gateway, "Hello", "And now")
        await given(gateway, chats[0], correction="Good morning.")
        await traced(store, 2)

        async def mined() -> bool:
            return bool((await collected(gateway, second=0, to="nowhere"))["preferences"])

        await until(mined, 60)
        refused = await collected(gateway, model="nobody", second=5)
        assert refused["state"] == "failed"
        assert "404 for model 'nobody': no such model" in refused["error"]
        gone = await collected(gateway, to="label_studio", second=0)
        assert gone["state"] == "failed"
        assert "Label Studio" in gone["error"]
        assert "loopyard annotate serve" in gone["error"]
        assert (await gateway.client.get(f"{AT}/standing")).json()["preferences"] == 1
        pulled = await gateway.client.post(f"{AT}/pull")
        assert pulled.status_code == 502
        assert "loopyard annotate serve" in pulled.json()["error"]["message"]


async def test_a_run_is_stopped_and_there_is_one_at_a_time(tmp_path: Path) -> None:
    def slowly(body: dict[str, Any]) -> Reply:
        if body.get("seed") is not None:
            time.sleep(0.2)
        return varied(body)

    async with house(tmp_path) as (gateway, store):
        await asked(gateway, *(f"Tell me about {n}" for n in range(5)))
        await traced(store, 5)
        gateway.model.script = slowly
        assert (await gateway.client.get(f"{AT}/collect")).status_code == 404
        assert (await gateway.client.post(f"{AT}/collect", json={})).status_code == 202
        twice = await gateway.client.post(f"{AT}/collect", json={})
        assert twice.status_code == 409
        assert (await gateway.client.delete(f"{AT}/collect")).status_code == 200

        async def stopped() -> bool:
            return bool((await gateway.client.get(f"{AT}/collect")).json()["state"] == "stopped")

        await until(stopped, 60)
        gateway.model.script = varied
        again = await collected(gateway)
        assert (again["state"], again["alone"]) == ("done", 5)


async def test_what_makes_no_sense_or_is_not_allowed_is_refused(tmp_path: Path) -> None:
    bad = [{"since": "yesterday"}, {"until": "soon"}, {"second": 1001}, {"second": -1}, {"to": "mars"}]
    bad += [{"again": 2}, {"temperature": 3}, {"more": 1}, {"since": "x" * 41}]
    async with house(tmp_path) as (gateway, _):
        for body in bad:
            refused = await gateway.client.post(f"{AT}/collect", json=body)
            assert refused.status_code in (400, 422), body
        assert "7d" in (await gateway.client.post(f"{AT}/collect", json=bad[0])).json()["error"]["message"]
        annotator = gateway.key(await gateway.new_key(scopes=["chat"]))
        asked = [("POST", "collect"), ("GET", "collect"), ("DELETE", "collect"), ("GET", "standing")]
        for method, path in (*asked, ("POST", "pull")):
            refused = await gateway.client.request(method, f"{AT}/{path}", headers=annotator)
            assert refused.status_code == 403, path


async def test_another_project_of_the_same_name_finds_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as (gateway, store):
        (await gateway.client.post("/api/v1/projects", json={"name": "passing"})).raise_for_status()
        at = "/api/v1/annotation/passing"
        (chat,) = await asked(gateway, "Hello", project="passing")
        await given(gateway, chat, correction="Good morning.")
        await traced(store, 1)

        async def mined() -> bool:
            return bool((await collected(gateway, at, second=0))["preferences"])

        await until(mined, 60)
        assert (await gateway.client.get(f"{at}/export")).text
        assert (await gateway.client.delete("/api/v1/projects/passing")).status_code == 204
        (await gateway.client.post("/api/v1/projects", json={"name": "passing"})).raise_for_status()
        assert (await gateway.client.get(f"{at}/export")).text == ""


async def test_the_command_fills_the_page_and_says_what_came_of_it(tmp_path: Path) -> None:
    async with house(tmp_path) as (gateway, store):
        await asked(gateway, "Hello", "And now")
        await traced(store, 2)
        done = await run(gateway, "annotate", "collect", "--again", "0", "--known", "0")
        assert done.exit_code == 0, done.output
        assert "From traces: 0 preferences of users, 0 pairs, 2 answers alone" in done.output
        assert f"demo: 2 tasks are new. Judge them at {gateway.url}/p/demo/annotate" in done.output
        again = await run(gateway, "annotate", "collect", "--again", "0", "--known", "0")
        assert "demo: 0 tasks are new" in again.output
        failed = await run(gateway, "annotate", "collect", "--since", "yesterday")
        assert failed.exit_code == 1
        assert "'yesterday' is no time" in str(failed.exception)
