"""Traces: found in a list, read as a picture, and harmless whatever stands in them."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from gateway.traces.keys import read_key_file
from tests.console.conftest import House, OpenPage, answered, ask, until
from tests.console.model import FACT, script
from tests.console.test_pages import _faults
from tests.gateway.traces.conftest import EXPORT, PROTOBUF, batch
from tests.graphs.model_server import Reply

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
OUTSIDE = "ee" * 16
SECONDS = 60_000


def traces_of(chat: str) -> str:
    return chat.replace("/chat", "/traces")


def listed(house: House, **params: Any) -> list[dict[str, Any]]:
    with house.http() as http:
        items: list[dict[str, Any]] = http.get("/traces", params=params).json()["items"]
        return items


@pytest.fixture(scope="module")
def traced(house: House) -> str:
    """The chat of a project with three answers whose traces have arrived."""
    chat = house.project("traced")
    with house.http() as http:
        for question in ("sick leave", "the top customer", "show me markup"):
            body = {"agent": "general", "message": question}
            http.post("/projects/traced/chat", json=body).raise_for_status()
    until(lambda: len(listed(house, project="traced")) == 3)
    return chat


def choose(page: Page, name: str | re.Pattern[str]) -> None:
    page.get_by_role("treeitem", name=name).first.click()


def test_an_answer_leads_to_its_trace_and_the_trace_to_its_conversation(
    open_page: OpenPage, chat: str
) -> None:
    page = open_page(chat)
    ask(page, "How much sick leave is there?")
    answered(page)
    address = page.url
    page.locator("section.answer").get_by_role("button", name=re.compile(r"^[\d.]+ (ms|s)")).click()
    page.get_by_role("link", name="Open the trace").click()
    expect(page.get_by_role("heading", name="How much sick leave is there?")).to_be_visible(timeout=SECONDS)
    tree = page.get_by_role("tree", name="Steps of the trace")
    expect(tree.get_by_role("treeitem", name=re.compile("Tool rag_search"))).to_be_visible(timeout=SECONDS)
    pane = page.get_by_role("region", name="The chosen step")
    expect(pane.locator("li.assistant").last).to_contain_text(FACT)
    expect(pane.locator("li.user").first).to_contain_text("How much sick leave is there?")
    choose(page, re.compile("Tool rag_search"))
    expect(pane.locator(".hits").first).to_contain_text("leave.md")
    page.get_by_role("button", name="JSON", exact=True).click()
    expect(pane.locator("figure.code").first).to_contain_text("query")
    page.get_by_role("link", name="Open the conversation").click()
    expect(page).to_have_url(address)


def test_a_trace_shows_how_sure_the_model_was(open_page: OpenPage, house: House) -> None:
    """A client asks for log-probabilities; what it did not care to look at can be seen here."""
    house.project("sure")
    question = "What do people say of sick leave?"
    clock = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    body = {"model": "general@sure", "messages": [{"role": "user", "content": question}], "tools": [clock]}
    with house.http() as http:
        asked = {**body, "logprobs": True, "top_logprobs": 1}
        answer = http.post(f"{house.url}/v1/chat/completions", json=asked).raise_for_status().json()
    said = answer["choices"][0]["message"]["content"]
    until(lambda: len(listed(house, project="sure")) == 1)
    page = open_page(f"/p/sure/traces/{listed(house, project='sure')[0]['id']}")
    pane = page.get_by_role("region", name="The chosen step")
    tokens = pane.get_by_role("group", name="Tokens of the answer")
    expect(tokens).to_have_text(said, timeout=SECONDS)
    told = pane.locator(".told")
    expect(told).to_contain_text("5.0 %")  # the least sure one, until another is pointed at
    words = tokens.locator("span")
    words.nth(1).hover()
    expect(told).to_contain_text("98 %")
    expect(told).to_contain_text("instead: other 98 %")
    tokens.press("ArrowRight")
    expect(told).to_contain_text("20 %")
    # The less sure, the stronger the tint; a sure word has none.
    colours = [words.nth(n).evaluate("one => getComputedStyle(one).backgroundColor") for n in range(4)]
    assert len(set(colours)) == 4
    assert colours[1] == "rgba(0, 0, 0, 0)"
    expect(pane.get_by_text("$0", exact=True)).to_be_visible()
    expect(pane.get_by_text("1 tool offered")).to_be_visible()
    assert not _faults(page)


def test_the_tree_is_walked_with_the_keyboard(open_page: OpenPage, traced: str) -> None:
    page = open_page(traces_of(traced))
    rows = page.locator("[data-trace]")
    expect(rows).to_have_count(3)
    page.keyboard.press("ArrowDown")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="the top customer")).to_be_visible()
    page.get_by_role("button", name=re.compile(r"All \d+ steps")).click()
    items = page.get_by_role("treeitem")
    everything = items.count()
    assert everything > 6
    items.first.focus()
    page.keyboard.press("Home")
    expect(items.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowLeft")
    expect(items).to_have_count(1)
    expect(items.first).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowRight")
    expect(items).to_have_count(everything)
    page.keyboard.press("ArrowDown")
    expect(items.nth(1)).to_be_focused()
    expect(items.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("End")
    expect(items.last).to_be_focused()


def test_filters_stand_in_the_address_and_the_way_back_keeps_them(open_page: OpenPage, traced: str) -> None:
    page = open_page(traces_of(traced))
    expect(page.locator("[data-trace]")).to_have_count(3)
    page.keyboard.press("/")
    expect(page.get_by_placeholder("Text in the question or the answer")).to_be_focused()
    page.keyboard.type("SICK")
    expect(page.locator("[data-trace]")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?text=SICK$"))
    page.locator("[data-trace]").click()
    page.get_by_role("main").get_by_role("link", name="Traces", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?text=SICK$"))
    expect(page.locator("[data-trace]")).to_have_count(1)
    page.get_by_role("button", name="Errors").click()
    expect(page.get_by_text("No trace is like that")).to_be_visible()
    page.reload()
    expect(page.get_by_text("No trace is like that")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator("[data-trace]")).to_have_count(3)


def test_a_new_trace_and_a_thumb_appear_by_themselves(house: House, open_page: OpenPage) -> None:
    chat = house.project("followed")
    page = open_page(traces_of(chat))
    expect(page.get_by_text("No trace yet")).to_be_visible()
    with house.http() as http:
        body = {"agent": "general", "message": "sick leave"}
        told = http.post("/projects/followed/chat", json=body).text
        start = json.loads(told.split("data: ", 1)[1].split("\n", 1)[0])
        expect(page.locator("[data-trace]")).to_have_count(1, timeout=SECONDS)
        given = {"message_id": start["message_id"], "thumb": "down"}
        http.post("/feedback", json=given).raise_for_status()
    expect(page.locator("[data-trace]").get_by_text("Bad answer")).to_be_attached(timeout=SECONDS)
    page.get_by_role("button", name="Thumb down").click()
    expect(page.locator("[data-trace]")).to_have_count(1)
    page.get_by_role("button", name="Thumb up").click()
    expect(page.get_by_text("No trace is like that")).to_be_visible()


def test_an_error_is_seen_in_the_list_and_in_the_tree(house: House, open_page: OpenPage) -> None:
    chat = house.project("failing")
    house.model.script = lambda body: Reply(status=400, error={"message": "Too long."})
    try:
        with house.http() as http:
            http.post("/projects/failing/chat", json={"agent": "general", "message": "hello"})
    finally:
        house.model.script = script
    until(lambda: len(listed(house, project="failing", level="ERROR")) == 1)
    page = open_page(f"{traces_of(chat)}?level=ERROR")
    page.locator("[data-trace]").click()
    expect(page.get_by_role("treeitem", name=re.compile(", error$")).first).to_be_visible()
    expect(page.get_by_role("region", name="The chosen step")).to_contain_text("Too long.")


def test_what_stands_in_a_trace_is_never_run(house: House, open_page: OpenPage, traced: str) -> None:
    """Sent straight to the store by a client with its keys: names, messages, tool results, metadata."""
    attributes = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.input": json.dumps([{"role": "user", "content": EVIL}]),
        "langfuse.observation.output": json.dumps(
            {"role": "assistant", "content": f"{EVIL} [x](javascript:alert(1))"}
        ),
        "langfuse.observation.status_message": EVIL,
        "langfuse.observation.model.name": EVIL,
        "langfuse.observation.metadata.note": EVIL,
        "langfuse.trace.tags": [EVIL],
    }
    (key,) = read_key_file(house.database.parent / "langfuse-keys.json")
    content = batch({"trace": OUTSIDE, "id": "01" * 8, "name": EVIL, "attributes": attributes})
    with httpx.Client(base_url=house.url, auth=(key.public, key.secret), trust_env=False) as http:
        sent = http.post(EXPORT, content=content.SerializeToString(), headers=PROTOBUF)
        assert sent.status_code == 200
    page = open_page(f"{traces_of(traced)}/{OUTSIDE}")
    pane = page.get_by_role("region", name="The chosen step")
    expect(pane.locator("li.assistant")).to_contain_text("<img src=x")
    pane.get_by_text("Metadata").click()
    expect(pane.locator("details dd").first).to_contain_text("<script>")
    assert page.locator("main img, main script").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    expect(page).to_have_title(re.compile("Traces"))


def test_a_trace_of_another_project_is_not_shown(house: House, open_page: OpenPage, traced: str) -> None:
    (row, *_) = listed(house, project="traced")
    with house.http() as http:
        http.post("/projects", json={"name": "closed"}).raise_for_status()
        body = {"name": "bound", "project": "closed", "scopes": ["chat", "manage"]}
        key = http.post("/keys", json=body).json()["key"]
    page = open_page("/", signed_in=False)
    page.evaluate(f"sessionStorage.setItem('loopyard.key', '{key}')")
    page.goto(f"/p/closed/traces/{row['id']}")
    expect(page.get_by_text("There is no such trace")).to_be_visible(timeout=SECONDS)
    expect(page.get_by_text(row["question"])).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_traces_have_no_serious_fault(open_page: OpenPage, traced: str, scheme: str, direction: str) -> None:
    page = open_page(traces_of(traced), color_scheme=scheme)
    page.evaluate(f"document.documentElement.dir = '{direction}'")
    expect(page.locator("[data-trace]")).to_have_count(3)
    assert _faults(page) == []
    page.locator("[data-trace]").nth(1).click()
    expect(page.get_by_role("treeitem").first).to_be_visible()
    page.get_by_role("button", name=re.compile(r"All \d+ steps")).click()
    choose(page, re.compile("Tool sql_query"))
    expect(page.get_by_role("region", name="The chosen step").locator("table")).to_be_visible()
    assert _faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_trace_fits_a_phone(open_page: OpenPage, traced: str) -> None:
    page = open_page(
        traces_of(traced), viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    expect(page.locator("[data-trace]")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("[data-trace]").first.click()
    expect(page.get_by_role("treeitem").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_list_longer_than_a_page_goes_on(house: House, open_page: OpenPage) -> None:
    chat = house.project("long")
    with house.http() as http:
        for number in range(33):
            body = {"agent": "general", "message": f"hello {number}"}
            http.post("/projects/long/chat", json=body).raise_for_status()

        def all_there() -> bool:
            page = http.get("/traces", params={"project": "long", "limit": 100}).json()
            return len(page["items"]) == 33

        until(all_there)
    page = open_page(traces_of(chat))
    expect(page.locator("[data-trace]")).to_have_count(30)
    page.get_by_role("button", name="Show older ones").click()
    expect(page.locator("[data-trace]")).to_have_count(33)
    expect(page.get_by_role("button", name="Show older ones")).to_have_count(0)
