"""Pipelines over HTTP: checked by what the worker knows, put on a schedule and off it, by admins alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.service import Gateway

PIPELINES = "/api/v1/pipelines"
SCHEDULES = f"{PIPELINES}/schedules"
ASKING: dict[str, Any] = {
    "name": "weekly",
    "parameters": {"question": None},
    "steps": {"ask": {"kind": "approval", "with": {"question": "${question}"}}},
    "schedule": {"cron": "0 3 * * 1"},
}
GIVEN = {"question": "go on?"}


async def test_a_schedule_is_kept_replaced_listed_and_forgotten(working: Gateway) -> None:
    client = working.client
    kept = await client.post(SCHEDULES, json={"spec": ASKING, "parameters": GIVEN})
    assert kept.status_code == 201, kept.text
    assert kept.json() | {"seen_at": 0} == {
        "name": "weekly",
        "when": "at 0 3 * * 1 (UTC)",
        "parameters": GIVEN,
        "seen_at": 0,
        "job_id": None,
    }
    later = {**ASKING, "schedule": {"cron": "0 4 * * 1"}}
    assert (await client.post(SCHEDULES, json={"spec": later, "parameters": GIVEN})).status_code == 201
    listed = (await client.get(SCHEDULES)).json()["items"]
    assert [one["when"] for one in listed] == ["at 0 4 * * 1 (UTC)"]
    assert (working.settings.jobs / "schedules" / "weekly.json").is_file()
    assert (await client.delete(f"{SCHEDULES}/weekly")).status_code == 204
    assert (await client.get(SCHEDULES)).json()["items"] == []
    twice = await client.delete(f"{SCHEDULES}/weekly")
    assert (twice.status_code, "Those that do: none." in twice.json()["error"]["message"]) == (404, True)
    acts = [entry["action"] for entry in (await client.get("/api/v1/audit")).json()["items"]]
    expected = [
        "schedule.forget.failed",
        "schedule.forget",
        "schedule.forget",
        "schedule.keep",
        "schedule.keep",
    ]
    assert acts[:5] == expected


@pytest.mark.parametrize(
    ("changes", "parameters", "said"),
    [
        ({"steps": {"ask": {"kind": "aproval"}}}, GIVEN, "there is no kind of step `aproval`; did you mean"),
        ({}, {}, "the parameter `question` has to be given"),
        ({"name": "../up"}, GIVEN, "the name `../up` is not made of a-z"),
        ({"schedule": {"cron": "whenever"}}, GIVEN, "`whenever` is no cron expression"),
        ({"schedule": {}}, GIVEN, "give its `schedule` one of `cron`, `new_rows`, `drift` and `quality`"),
        ({"schedule": {"new_rows": 5}}, GIVEN, "need `rows`, a file of JSON lines"),
    ],
)
async def test_what_makes_no_sense_is_not_kept(
    working: Gateway, changes: dict[str, Any], parameters: dict[str, Any], said: str
) -> None:
    body = {"spec": {**ASKING, **changes}, "parameters": parameters}
    refused = await working.client.post(SCHEDULES, json=body)
    assert refused.status_code == 400, refused.text
    assert said in refused.json()["error"]["message"]
    assert (await working.client.get(SCHEDULES)).json()["items"] == []


async def test_a_check_gives_the_order_or_every_mistake(working: Gateway) -> None:
    good = await working.client.post(f"{PIPELINES}/check", json={"spec": ASKING, "parameters": GIVEN})
    assert good.json() == {"steps": [{"name": "ask", "kind": "approval", "resource": "cpu", "after": []}]}
    steps = {"a": {"kind": "colect"}, "b": {"kind": "dataset", "from": {"rows": "c"}}}
    bad = await working.client.post(f"{PIPELINES}/check", json={"spec": {"name": "x", "steps": steps}})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "spec")
    assert "the pipeline: step `a`: there is no kind of step `colect`" in bad.json()["error"]["message"]


async def test_schedules_are_the_operators(working: Gateway) -> None:
    key = working.key(await working.new_key(scopes=["manage"]))
    body = {"spec": ASKING, "parameters": GIVEN}
    for path in ("/check", "/schedules"):
        assert (await working.client.post(PIPELINES + path, json=body, headers=key)).status_code == 403
    assert (await working.client.get(SCHEDULES, headers=key)).status_code == 403
    assert (await working.client.delete(f"{SCHEDULES}/weekly", headers=key)).status_code == 403
