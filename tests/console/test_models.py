"""The registry of adapters: where each is from, what was measured, and which one answers."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from rlhf.registry import Registry, Version
from tests.console.conftest import House, OpenPage, until
from tests.console.test_pages import _faults
from tests.graphs.model_server import MODEL

EVIL = "<img src=x onerror=\"document.title='owned'\">"
HELLO = {"agent": "general", "message": "Good day"}
REPORT = {
    "decision": {
        "verdict": "promote",
        "reasons": [f"It is preferred in 70 % of the pairs. {EVIL}"],
        "checks": [
            {"name": "win rate", "passed": True, "detail": "0.70, at least 0.61"},
            {"name": "length", "passed": False, "detail": "1.40, at most 1.25"},
        ],
    }
}


def add(house: House, folder: Path, content: str, parent: str | None = None) -> Version:
    """A version in the registry of the running gateway."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "adapter_model.safetensors").write_text(content)
    trace = {"trace_id": "a" * 32, "generation_id": "b" * 16, "model": "base"}
    pairs = [{"pair_id": "1", "user": "ada", "session": "s", "chosen_trace": trace, "rejected_trace": None}]
    registry = Registry(house.database.parent)
    version = registry.add("polite", folder, {"base": "starter", "parent": parent}, pairs)
    (version.folder / "report.json").write_text(json.dumps(REPORT))
    return version


@pytest.fixture(scope="module")
def versions(house: House, tmp_path_factory: pytest.TempPathFactory) -> list[Version]:
    folder = tmp_path_factory.mktemp("adapters")
    first = add(house, folder / "a", "one")
    second = add(house, folder / "b", "two", first.digest)
    registry = Registry(house.database.parent)
    registry.promote(first)
    registry.propose(second)
    return [first, second]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_version_shows_what_it_is_from_and_what_was_measured(
    open_page: OpenPage, versions: list[Version], scheme: str
) -> None:
    page = open_page("/models", color_scheme=scheme)
    model = page.get_by_role("region", name="polite")
    expect(model.get_by_text("candidate").last).to_be_visible()
    model.get_by_role("button", name=versions[1].short).click()
    shown = page.get_by_role("region", name=f"Version {versions[1].short}")
    expect(shown.get_by_text("promote", exact=True)).to_be_visible()
    expect(shown).to_contain_text("<img src=x")
    expect(shown.get_by_role("listitem").filter(has_text="length")).to_contain_text("Failed")
    expect(shown).to_contain_text("Learnt from 1 row, 1 user and 1 trace.")
    quality = model.get_by_role("note", name="Quality of polite")
    expect(quality).to_contain_text("too little to compare: 0 now and 0 before, 30 are needed")
    assert page.locator("main img").count() == 0
    assert _faults(page) == []
    expect(model.get_by_role("button", name="Roll back")).to_be_disabled()


def test_a_promotion_that_the_model_server_refuses_is_told_and_changes_nothing(
    house: House, open_page: OpenPage, versions: list[Version]
) -> None:
    page = open_page("/models")
    page.get_by_role("button", name="Promote").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Promote").click()
    expect(dialog.get_by_role("alert")).to_be_visible(timeout=60_000)
    assert Registry(house.database.parent).aliases("polite")["live"] == versions[0].digest


def test_what_is_no_adapter_says_what_it_is_and_cannot_be_promoted(
    house: House, open_page: OpenPage, tmp_path: Path
) -> None:
    (tmp_path / "head.json").write_text("{}")
    Registry(house.database.parent).add("intents", tmp_path, {"parent": None}, [], "classifier")
    model = open_page("/models").get_by_role("region", name="intents")
    expect(model.get_by_text("classifier", exact=True)).to_be_visible()
    expect(model.get_by_role("button", name="Promote")).to_have_count(0)


def test_an_admin_chooses_what_answers_chats_and_sees_it_marked(
    house: House, open_page: OpenPage, chat: str, versions: list[Version]
) -> None:
    polite = f"{MODEL}:polite"
    house.model.adapters.append("polite")
    page = open_page("/models")
    chats, model = page.get_by_role("region", name="Chats"), page.get_by_role("region", name="polite")
    marked = chats.get_by_role("listitem").filter(has_text="answers chats")
    expect(marked).to_contain_text(MODEL)
    expect(model.get_by_text("answers chats")).to_have_count(0)
    chats.get_by_role("button", name=f"Use in chats: {polite}").click()
    page.get_by_role("dialog").get_by_role("button", name="Use it").click()
    expect(marked).to_contain_text(polite)
    expect(model.get_by_text("answers chats")).to_be_visible()
    assert _faults(page) == []
    with house.http() as http:
        assert "event: done" in http.post(chat.replace("/p/", "/projects/"), json=HELLO).text
        assert house.model.requests[-1]["model"] == polite
        house.model.adapters.remove("polite")
        until(lambda: http.get("/models/chats").json()["problem"] is not None)
    page.get_by_role("button", name="Look again").click()
    expect(chats.get_by_role("alert")).to_contain_text(f"{polite} is chosen for chats and not served now")
    chats.get_by_role("button", name=f"Use in chats: {MODEL}", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Use it").click()
    expect(chats.get_by_role("alert")).to_have_count(0)
    expect(marked).to_contain_text("base")


def test_a_promotion_says_whether_chats_are_to_use_it(open_page: OpenPage, versions: list[Version]) -> None:
    page = open_page("/models")
    page.get_by_role("button", name="Promote").first.click()
    expect(page.get_by_role("dialog").get_by_role("checkbox", name="Chats use it")).to_be_checked()


def test_a_key_that_is_no_admins_sees_no_models(
    house: House, open_page: OpenPage, versions: list[Version]
) -> None:
    with house.http() as http:
        key = http.post("/keys", json={"name": "k", "scopes": ["chat", "manage"]}).json()["key"]
    with httpx.Client(base_url=house.url, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {key}"}
        assert http.get("/api/v1/models-registry", headers=headers).status_code == 403
    page = open_page("/", signed_in=False)
    page.evaluate(f"sessionStorage.setItem('loopyard.key', '{key}')")
    page.goto("/models")
    expect(page.get_by_role("alert")).to_contain_text("admin")
    expect(page.get_by_role("region", name="polite")).to_have_count(0)
