"""Every page: reachable by its address, within its policy, and usable by everybody."""

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import CONSOLE, House, OpenPage, answered, ask

LIGHT, DARK = "rgb(250, 249, 246)", "rgb(19, 20, 18)"
PAGES = {
    "chat": "What would you like to know?",
    "documents": "Documents",
    "databases": "Databases",
    "traces": "Traces",
    "annotate": "Annotate",
    "models": "Models",
    "system": "System",
}


def _path(chat: str, name: str) -> str:
    return f"/{name}" if name in ("models", "system") else chat.replace("/chat", f"/{name}")


def _faults(page: Page) -> list[dict[str, Any]]:
    """What axe finds that is serious or critical, WCAG 2.2 AA and best practices."""
    page.evaluate((CONSOLE / "node_modules/axe-core/axe.min.js").read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        {"id": fault["id"], "nodes": [node["html"] for node in fault["nodes"]][:4]}
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_fault(open_page: OpenPage, chat: str, name: str, scheme: str) -> None:
    page = open_page(_path(chat, name), color_scheme=scheme)
    expect(page.get_by_role("heading", name=PAGES[name])).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert _faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_door_has_no_serious_fault(open_page: OpenPage, scheme: str) -> None:
    page = open_page("/", signed_in=False, color_scheme=scheme)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert _faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_conversation_with_everything_in_it_has_no_serious_fault(
    open_page: OpenPage, chat: str, scheme: str
) -> None:
    page = open_page(chat, color_scheme=scheme)
    for number, question in enumerate(
        ("sick leave", "the top customer", "show me markup", "answer in arabic")
    ):
        ask(page, question)
        answered(page, number)
    for button in page.locator(".timeline button").all():
        button.click()
    expect(page.locator("svg text").first).to_be_visible()
    page.locator("[data-source]").click()
    expect(page.locator("mark")).to_be_visible()
    assert _faults(page) == []
    page.get_by_role("button", name="Close the passage").click()
    page.get_by_role("button", name="Table").click()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search")).to_be_visible()
    assert _faults(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(open_page: OpenPage, chat: str, name: str) -> None:
    page = open_page(
        _path(chat, name), viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    expect(page.get_by_role("heading", name=PAGES[name])).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("link", name="New chat")).to_be_in_viewport()


def test_the_theme_is_the_systems_until_it_is_chosen(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat, color_scheme="dark")
    body = page.locator("body")
    expect(body).to_have_css("background-color", DARK)
    page.emulate_media(color_scheme="light")
    expect(body).to_have_css("background-color", LIGHT)
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(body).to_have_css("background-color", DARK)
    page.reload()
    expect(body).to_have_css("background-color", DARK)


def test_the_project_is_switched_and_a_new_one_made(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    page.get_by_role("button", name="Project: ").click()
    page.get_by_role("menuitem", name="New project").click()
    page.get_by_role("dialog").get_by_label("Title").fill("Staff Handbook 2026")
    expect(page.get_by_role("dialog")).to_contain_text("staff-handbook-2026")
    page.get_by_role("button", name="Create the project").click()
    expect(page).to_have_url(re.compile("/p/staff-handbook-2026/documents$"))
    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_text("This project has nothing to answer from yet.")).to_be_visible()
    page.get_by_role("button", name="Project: ").click()
    page.get_by_role("menuitemradio", name="Office").click()
    expect(page).to_have_url(re.compile(f"{chat}$"))


def test_the_system_page_names_each_service(open_page: OpenPage) -> None:
    page = open_page("/system")
    services = page.get_by_role("list", name="Services")
    for name in ("Gateway", "Model server", "Tools", "Gateway database"):
        expect(services.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(services.get_by_text("ok", exact=True)).to_have_count(4)


def test_a_project_or_conversation_that_is_not_there_is_told(open_page: OpenPage, chat: str) -> None:
    page = open_page("/p/no-such-project/chat")
    expect(page.get_by_text("There is no such project")).to_be_visible()
    page = open_page(f"{chat}/00000000-0000-0000-0000-000000000000")
    expect(page.get_by_role("alert")).to_be_visible()


def test_the_policy_is_strict_and_files_are_served_as_what_they_are(house: House) -> None:
    with httpx.Client(base_url=house.url, trust_env=False) as http:
        page = http.get("/p/any/chat")
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-cache"
        script = next(part.split('"')[0] for part in page.text.split('src="')[1:] if "/assets/" in part)
        answer = http.get(script)
        assert "immutable" in answer.headers["cache-control"]
        assert "javascript" in answer.headers["content-type"]
        assert http.get("/assets/none.js").status_code == 404
        assert http.get("/api/v1/none").headers["content-type"] == "application/json"


def test_nothing_is_fetched_from_elsewhere(house: House, open_page: OpenPage, chat: str) -> None:
    page = open_page("/", signed_in=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in PAGES:
        page.goto(_path(chat, name))
        page.wait_for_load_state("networkidle")
    assert asked
    assert [url for url in asked if not url.startswith(house.url)] == []
