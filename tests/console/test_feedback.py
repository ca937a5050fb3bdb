"""What a reader thinks of an answer: said with keys alone, seen again, taken back; and two answers, blind."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import House, OpenPage, answered, ask, until
from tests.console.test_pages import _faults

PANEL = "What do you think of this answer?"


def asked(page: Page, question: str = "hello") -> Locator:
    """The panel of an answer to a new question, opened by the small control."""
    ask(page, question)
    answered(page)
    page.get_by_role("button", name="Say more").click()
    panel = page.get_by_role("form", name=PANEL)
    expect(panel).to_be_visible()
    return panel


def conversation(page: Page) -> str:
    return page.url.rsplit("/", 1)[1]


def said(house: House, page: Page) -> dict[str, Any]:
    """What the gateway has of the one answer, without what is not said."""
    with house.http() as http:
        items = http.get("/feedback", params={"conversation_id": conversation(page)}).json()["items"]
    names = ("thumb", "stars", "comment", "correction")
    return {name: items[0][name] for name in names if items[0][name] is not None} if items else {}


def scored(house: House, page: Page) -> Callable[[dict[str, Any]], None]:
    """Waits until the trace has these scores and no others, as its page in the console is told."""

    def wait(wanted: dict[str, Any]) -> None:
        with house.http() as http:
            address = f"/projects/{page.url.split('/')[4]}/conversations/{conversation(page)}"
            trace = http.get(address).json()["messages"][-1]["trace_id"]

            def arrived() -> bool:
                shown = http.get(f"/traces/{trace}")
                if shown.status_code != 200:
                    return False
                return {score["name"]: score["value"] for score in shown.json()["scores"]} == wanted

            until(arrived)

    return wait


def test_a_thumb_opens_the_panel_and_the_keys_alone_say_the_rest(
    house: House, open_page: OpenPage, chat: str
) -> None:
    page = open_page(chat)
    ask(page, "hello")
    answered(page)
    page.get_by_role("button", name="Bad answer").focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("form", name=PANEL)
    expect(panel).to_be_visible()
    expect(page.get_by_role("button", name="Bad answer")).to_be_focused()
    correction = panel.get_by_label("The answer as it should have been")
    expect(correction).to_have_value("Hello.")
    panel.get_by_role("radio", name="1 star").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    expect(panel.get_by_role("radio", name="2 stars")).to_be_checked()
    panel.get_by_label("Comment").fill("Too short.")
    correction.fill("Good day to you.")
    correction.press("Control+Enter")
    expect(panel.get_by_text("Saved")).to_be_visible()
    all_ = {"thumb": "down", "stars": 2, "comment": "Too short.", "correction": "Good day to you."}
    assert said(house, page) == all_
    scored(house, page)(
        {"thumbs": False, "stars": 2, "comment": "Too short.", "correction": "Good day to you."}
    )
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.get_by_role("button", name="Say more")).to_be_focused()


def test_what_was_said_is_there_when_the_conversation_is_opened_again(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    panel = asked(page)
    panel.locator("label", has_text="4 stars").click()
    panel.get_by_label("Comment").fill("Nearly.")
    panel.get_by_label("The answer as it should have been").fill("Hello, Ada.")
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Saved")).to_be_visible()
    page.keyboard.press("Escape")  # a button that has done its work does not take the keys with it
    expect(panel).to_be_hidden()
    page.reload()
    line = page.get_by_role("button", name="You said: 4 stars Nearly. Corrected")
    expect(line).to_be_visible()
    line.click()
    expect(panel.get_by_role("radio", name="4 stars")).to_be_checked()
    expect(panel.get_by_label("Comment")).to_have_value("Nearly.")
    expect(panel.get_by_label("The answer as it should have been")).to_have_value("Hello, Ada.")
    expect(panel.get_by_role("button", name="Save")).to_be_disabled()


def test_what_was_said_is_taken_back_by_undo_by_hand_and_by_the_thumb(
    house: House, open_page: OpenPage, chat: str
) -> None:
    page = open_page(chat)
    panel = asked(page)
    page.get_by_role("button", name="Good answer").click()
    panel.locator("label", has_text="5 stars").click()
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Saved")).to_be_visible()
    assert said(house, page) == {"thumb": "up", "stars": 5}
    panel.get_by_role("button", name="Undo").click()
    expect(panel.get_by_role("radio", name="5 stars")).not_to_be_checked()
    assert said(house, page) == {"thumb": "up"}
    panel.get_by_label("Comment").fill("Never mind")
    panel.get_by_role("button", name="Discard").click()
    expect(panel.get_by_label("Comment")).to_have_value("")
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")
    assert said(house, page) == {}
    scored(house, page)({})


def test_an_error_keeps_what_was_typed(house: House, open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    panel = asked(page)
    panel.get_by_label("Comment").fill("It says 12 and not 9.")
    page.context.set_offline(True)
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_role("alert")).to_contain_text("What you wrote is kept.")
    expect(panel.get_by_label("Comment")).to_have_value("It says 12 and not 9.")
    panel.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="Documents").click()
    page.context.set_offline(False)
    page.go_back()
    page.get_by_role("button", name="Say more").click()
    expect(panel.get_by_label("Comment")).to_have_value("It says 12 and not 9.")
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Saved")).to_be_visible()
    assert said(house, page) == {"comment": "It says 12 and not 9."}


def test_two_answers_are_compared_blind_and_the_choice_is_kept(
    house: House, open_page: OpenPage, chat: str
) -> None:
    page = open_page(chat)
    seen: list[str] = []
    page.on("response", lambda one: seen.append(one.text()) if one.url.endswith("/comparisons") else None)
    ask(page, "hello")
    answered(page)
    page.get_by_role("button", name="Compare").click()
    section = page.get_by_role("region", name="Compare two answers")
    section.get_by_role("button", name="Ask").click()
    expect(section.get_by_role("heading", name="Which answer is better?")).to_be_visible()
    texts = {section.get_by_role("article", name=f"Answer {name}").inner_text()[1:].strip() for name in "AB"}
    assert texts == {"Hello.", "Hello to you too."}
    # The first one does not stand above, where it would say which of the two it is.
    expect(page.locator("section.answer > .prose")).to_be_hidden()
    assert seen
    assert not [text for text in seen if re.search("model|trace|starter", text)]
    better = "A" if "too" in section.get_by_role("article", name="Answer A").inner_text() else "B"
    page.keyboard.press("1" if better == "A" else "2")
    expect(section.get_by_text("Kept")).to_be_visible()
    scored(house, page)({"preference": "rejected"})
    page.reload()
    expect(page.locator("section.answer > .prose")).to_have_text("Hello.")
    page.get_by_role("button", name="Compare").click()
    chosen = section.get_by_role("button", name=f"{better} is better")
    expect(chosen).to_have_attribute("aria-pressed", "true")
    section.get_by_role("button", name="Tie").click()
    scored(house, page)({"preference": "tie"})
    section.get_by_role("button", name="Take back").click()
    expect(section.get_by_text("Kept")).to_be_hidden()
    scored(house, page)({})
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Compare")).to_be_focused()


def test_a_second_answer_that_fails_is_told(house: House, open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "markup")  # is said the same at every temperature
    answered(page)
    page.get_by_role("button", name="Compare").click()
    section = page.get_by_role("region", name="Compare two answers")
    section.get_by_label("Temperature").select_option("0.5")
    section.get_by_role("button", name="Ask").click()
    expect(section.get_by_role("alert")).to_contain_text("gave no other answer")
    expect(section.get_by_label("Temperature")).to_have_value("0.5")
    expect(page.locator("section.answer > .prose")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_feedback_has_no_serious_fault(open_page: OpenPage, chat: str, scheme: str, direction: str) -> None:
    page = open_page(chat, color_scheme=scheme)
    page.evaluate(f"document.documentElement.dir = '{direction}'")
    panel = asked(page)
    panel.locator("label", has_text="3 stars").click()
    panel.get_by_label("Comment").fill("So so.")
    assert _faults(page) == []
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("Saved")).to_be_visible()
    assert _faults(page) == []
    page.get_by_role("button", name="Compare").click()
    section = page.get_by_role("region", name="Compare two answers")
    assert _faults(page) == []
    section.get_by_role("button", name="Ask").click()
    expect(section.get_by_role("article", name="Answer B")).to_be_visible()
    section.get_by_role("button", name="A is better").click()
    expect(section.get_by_text("Kept")).to_be_visible()
    assert _faults(page) == []


def test_feedback_fits_a_phone(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    panel = asked(page)
    panel.locator("label", has_text="3 stars").tap()
    panel.get_by_role("button", name="Save").tap()
    expect(panel.get_by_text("Saved")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="Compare").tap()
    section = page.get_by_role("region", name="Compare two answers")
    section.get_by_role("button", name="Ask").tap()
    expect(section.get_by_role("article", name="Answer A")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
