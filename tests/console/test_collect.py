"""Pairs out of chats, by a button: how far it is, what came of it, and what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.console.conftest import House, OpenPage, until
from tests.console.model import script
from tests.graphs.model_server import Reply

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def chatted(house: House) -> Iterator[str]:
    """Where a project is judged that has two answers in its traces, one of them corrected."""

    def varied(body: dict[str, Any]) -> Reply:
        if body.get("model") == "nobody":
            return Reply(status=404, error={"message": "no such model"})
        return Reply("Another answer.") if body.get("seed") is not None else script(body)

    house.model.script = varied
    house.project("chatted")
    with house.http() as http:
        for question in ("good morning", "how are you"):
            body = {"agent": "general", "message": question}
            http.post("/projects/chatted/chat", json=body).raise_for_status()
        until(lambda: len(http.get("/traces", params={"project": "chatted"}).json()["items"]) == 2)
        items = http.get("/traces", params={"project": "chatted"}).json()["items"]
        body = {"message_id": items[0]["message_id"], "correction": "Good day."}
        http.post("/feedback", json=body).raise_for_status()

        def heard() -> bool:
            wanted = {"second": 0, "to": "nowhere"}
            http.post("/annotation/chatted/collect", json=wanted)
            until(lambda: http.get("/annotation/chatted/collect").json()["state"] == "done")
            return bool(http.get("/annotation/chatted/collect").json()["preferences"])

        until(heard)
    yield "/p/chatted/annotate"
    house.model.script = script


def test_chats_become_pairs_to_judge(house: House, open_page: OpenPage, chatted: str) -> None:
    page = open_page(chatted)
    expect(page.get_by_role("heading", name="No pair to judge yet")).to_be_visible()
    page.get_by_role("button", name="Fill from chats").click()
    dialog = page.get_by_role("dialog", name="Pairs out of chats")
    dialog.get_by_label("Their model").fill("nobody")
    dialog.get_by_role("button", name="Make pairs").click()
    expect(dialog.get_by_role("alert")).to_contain_text("404 for model 'nobody': no such model")
    dialog.get_by_label("Their model").fill("")
    dialog.get_by_role("button", name="Make pairs").click()
    expect(dialog).to_be_hidden()
    # One answer beside which the model has put another one, and the correction as a pair that is known.
    expect(
        page.get_by_text(re.compile("new pairs? to judge. 1 preference of users is in the export"))
    ).to_be_visible()
    expect(page.get_by_role("region", name="Left answer")).to_be_visible()
    expect(page.get_by_text(re.compile("^0 of [2-4] pairs judged$"))).to_be_visible()
    page.get_by_role("button", name="Fill from chats").click()
    dialog.get_by_role("button", name="Make pairs").click()
    expect(page.get_by_text(re.compile("^0 new pairs to judge"))).to_be_visible()
