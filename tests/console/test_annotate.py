"""Judging two answers: by keys, without a word lost, and with figures at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import House, OpenPage
from tests.console.test_pages import _faults

MARKUP = "<img src=x onerror=\"document.title='owned'\"> **bold** [bad](javascript:alert(1))"
ARABIC = "الإجازة المرضية أربع ساعات."


def pair(number: int, **more: Any) -> dict[str, Any]:
    answers = [f"Answer {number} of one.", f"Answer {number} of the other."]
    return {"pair_id": f"polite-model-{number}", "prompt": f"Question {number}?", "answers": answers, **more}


def desk(house: House, *pairs: dict[str, Any]) -> str:
    """The page of a new project with these pairs."""
    name = f"judged-{uuid4().hex[:6]}"
    with house.http() as http:
        http.post("/projects", json={"name": name}).raise_for_status()
        if pairs:
            content = "\n".join(json.dumps(one) for one in pairs).encode()
            http.post(f"/annotation/{name}/tasks", files={"file": ("p.jsonl", content)}).raise_for_status()
    return f"/p/{name}/annotate"


def exported(house: House, address: str) -> list[dict[str, Any]]:
    with house.http() as http:
        text = http.get(f"/annotation/{address.split('/')[2]}/export").text
    return [json.loads(line) for line in text.splitlines()]


def judged(page: Page, number: int, of: int) -> None:
    expect(page.get_by_text(re.compile(f"^{number} of {of} pairs? judged$"))).to_be_visible()


def test_pairs_are_judged_with_the_keys_alone(house: House, open_page: OpenPage) -> None:
    address = desk(house, *(pair(n) for n in range(4)))
    page = open_page(address)
    left = page.get_by_role("region", name="Left answer")
    expect(left).to_be_visible()
    chosen = left.locator("li.assistant").inner_text()
    for number, key in enumerate("1209", 1):
        expect(page.get_by_role("button", name=re.compile("^1 Left"))).to_be_enabled()
        page.keyboard.press(key)
        judged(page, number, 4)
    expect(page.get_by_role("heading", name="All pairs are judged")).to_be_visible()
    rows = exported(house, address)
    assert len(rows) == 2
    assert rows[0]["chosen"][0]["content"] in chosen


def test_the_browser_never_learns_which_answer_is_whose(house: House, open_page: OpenPage) -> None:
    trace = {"trace_id": "a" * 32, "generation_id": "b" * 16, "model": "base:polite@sha256:0123456789ab"}
    row = {
        "prompt": "Who?",
        "chosen": "I.",
        "rejected": "You.",
        "pair_id": "polite-1",
        "chosen_trace": trace,
        "rejected_trace": {**trace, "model": "base"},
    }
    address = desk(house, row, pair(1, better=0))
    seen: list[str] = []
    page = open_page("/")
    page.on("response", lambda one: seen.append(one.text()) if "/annotation/" in one.url else None)
    page.goto(address)
    for number in (1, 2):
        expect(page.get_by_role("button", name=re.compile("^1 Left"))).to_be_enabled()
        page.keyboard.press("1")
        judged(page, number, 2)
    assert seen
    assert not [text for text in seen if re.search("polite|gold|better|base|trace", text)]


def test_nothing_that_was_written_is_lost_by_a_reload_or_a_gateway_that_is_away(
    house: House, open_page: OpenPage
) -> None:
    address = desk(house, pair(1), pair(2))
    page = open_page(address)
    page.get_by_role("button", name="Clearer").click()
    page.get_by_role("button", name="Comment or correction").click()
    page.get_by_label("Comment", exact=True).fill("It says 12 and not 9.")
    page.get_by_label("The answer as it should have been").fill("Twelve.")
    page.reload()
    expect(page.get_by_label("Comment", exact=True)).to_have_value("It says 12 and not 9.")
    expect(page.get_by_role("button", name="Clearer")).to_have_attribute("aria-pressed", "true")
    page.context.set_offline(True)
    page.get_by_role("button", name=re.compile("^1 Left")).click()
    expect(page.get_by_role("alert")).to_contain_text("What you wrote is kept.")
    expect(page.get_by_label("The answer as it should have been")).to_have_value("Twelve.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    judged(page, 1, 2)
    rows = exported(house, address)
    assert [row["source"] for row in rows] == ["choice", "correction"]
    assert rows[1]["chosen"][0]["content"] == "Twelve."
    expect(page.get_by_label("Comment", exact=True)).to_be_hidden()


def test_each_answer_gets_its_stars(house: House, open_page: OpenPage) -> None:
    address = desk(house, pair(1), pair(2))
    page = open_page(address)
    left, right = (page.get_by_role("region", name=f"{side} answer") for side in ("Left", "Right"))
    chosen = left.locator("li.assistant").inner_text()
    for side, given in ((left, "2 stars"), (right, "5 stars")):
        side.get_by_role("radio", name=given).focus()
        page.keyboard.press("Space")
    page.reload()
    expect(right.get_by_role("radio", name="5 stars")).to_be_checked()
    right.get_by_role("radio", name="5 stars").focus()
    page.keyboard.press("1")  # a star that was just given keeps no key from judging
    judged(page, 1, 2)
    expect(page.get_by_role("radio", checked=True)).to_have_count(0)
    (row,) = exported(house, address)
    assert (row["chosen_stars"], row["rejected_stars"]) == (2, 5)
    assert row["chosen"][0]["content"] in chosen
    page.keyboard.press("u")
    expect(left.get_by_role("radio", name="2 stars")).to_be_checked()
    assert not _faults(page)


def test_digits_in_a_comment_are_no_judgement(house: House, open_page: OpenPage) -> None:
    page = open_page(desk(house, pair(1)))
    page.get_by_role("button", name="Comment or correction").click()
    page.get_by_label("Comment", exact=True).press_sequentially("1209su")
    expect(page.get_by_label("Comment", exact=True)).to_have_value("1209su")
    judged(page, 0, 1)


def test_an_undo_brings_back_the_pair_and_the_words(house: House, open_page: OpenPage) -> None:
    address = desk(house, pair(1), pair(2))
    page = open_page(address)
    question = page.get_by_role("region", name="The question")
    first = question.inner_text()
    page.get_by_role("button", name="Shorter").click()
    page.keyboard.press("1")
    judged(page, 1, 2)
    expect(question).not_to_have_text(first)
    page.keyboard.press("u")
    judged(page, 0, 2)
    expect(question).to_contain_text("Question 1?")
    expect(page.get_by_role("button", name="Shorter")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("your choice before")).to_be_visible()
    page.reload()
    expect(question).to_contain_text("Question 1?")
    page.keyboard.press("2")
    judged(page, 1, 2)
    assert len(exported(house, address)) == 1


def test_two_annotators_take_the_same_pair(house: House, open_page: OpenPage) -> None:
    address = desk(house, pair(1), pair(2))
    project = address.split("/")[2]
    with house.http() as http:
        body = {"name": "Bo", "scopes": ["chat"], "project": project}
        key = http.post("/keys", json=body).json()["key"]
    ada, bo = open_page(address), open_page("/", signed_in=False)
    bo.evaluate(f"sessionStorage.setItem('loopyard.key', '{key}')")
    bo.goto(address)
    for page in (ada, bo):
        expect(page.get_by_role("region", name="The question")).to_contain_text("Question 1?")
    ada.keyboard.press("1")
    judged(ada, 1, 2)
    bo.keyboard.press("2")
    judged(bo, 1, 2)
    assert len(exported(house, address)) == 2
    bo.get_by_role("link", name="Quality").click()
    expect(bo.get_by_role("alert")).to_contain_text("manage")  # an annotator does not see the others


def test_skipped_pairs_come_back_at_the_end(house: House, open_page: OpenPage) -> None:
    page = open_page(desk(house, pair(1), pair(2)))
    expect(page.get_by_role("region", name="Left answer")).to_be_visible()
    page.keyboard.press("s")
    expect(page.get_by_text("1 skipped")).to_be_visible()
    expect(page.get_by_role("region", name="The question")).to_contain_text("Question 2?")
    page.keyboard.press("0")
    page.get_by_role("button", name="Look at those that were skipped").click()
    expect(page.get_by_role("region", name="The question")).to_contain_text("Question 1?")
    page.keyboard.press("2")
    judged(page, 2, 2)
    expect(page.get_by_text("Nothing is skipped any more")).to_be_visible()


def test_pairs_are_uploaded_and_a_bad_line_is_named(
    house: House, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(desk(house))
    expect(page.get_by_text("No pair to judge yet")).to_be_visible()
    bad = tmp_path / "bad.jsonl"
    bad.write_text(f"{json.dumps(pair(1))}\n{{nonsense\n")
    page.get_by_label("File of pairs").set_input_files(bad)
    expect(page.get_by_role("alert")).to_contain_text("line 2")
    expect(page.get_by_text("No pair to judge yet")).to_be_visible()
    good = tmp_path / "good.jsonl"
    good.write_text("\n".join(json.dumps(pair(n)) for n in range(2)))
    page.get_by_label("File of pairs").set_input_files(good)
    judged(page, 0, 2)


def test_figures_show_how_far_judgements_can_be_trusted(house: House, open_page: OpenPage) -> None:
    address = desk(house, *(pair(n, better=n % 2) for n in range(4)), *(pair(n) for n in range(4, 8)))
    page = open_page(address)
    for number in range(1, 9):
        expect(page.get_by_role("button", name=re.compile("^1 Left"))).to_be_enabled()
        page.keyboard.press("1")
        judged(page, number, 8)
    page.get_by_role("link", name="Quality").click()
    expect(page.get_by_role("img", name=re.compile(r"Known answers: \d+ %"))).to_be_visible()
    expect(page.get_by_role("img", name="Left 100 %, Tie 0 %, Both bad 0 %, Right 0 %")).to_be_visible()
    expect(page.get_by_text("the left side is preferred")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="TRL", exact=True).click()
    path = download.value.path()
    assert path is not None
    assert list(json.loads(path.read_text().splitlines()[0])) == ["prompt", "chosen", "rejected", "tools"]


def test_what_stands_in_a_pair_is_never_run(house: House, open_page: OpenPage) -> None:
    page = open_page(desk(house, {"prompt": MARKUP, "answers": [MARKUP, ARABIC]}))
    expect(page.get_by_text("<img src=x").first).to_be_visible()
    assert page.locator("main img").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    expect(page).to_have_title(re.compile("Annotate"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_annotation_has_no_serious_fault(
    house: House, open_page: OpenPage, scheme: str, direction: str
) -> None:
    address = desk(house, pair(1), {"prompt": ARABIC, "answers": [ARABIC, "Four hours."]})
    page = open_page(address, color_scheme=scheme)
    page.evaluate(f"document.documentElement.dir = '{direction}'")
    left, right = (page.get_by_role("region", name=f"{side} answer") for side in ("Left", "Right"))
    expect(left).to_be_visible()
    boxes = left.bounding_box(), right.bounding_box()
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["x"] < boxes[1]["x"]
    page.get_by_role("button", name="Comment or correction").click()
    assert _faults(page) == []
    page.keyboard.press("1")
    judged(page, 1, 2)
    page.get_by_role("link", name="Quality").click()
    expect(page.get_by_role("region", name="Annotators")).to_be_visible()
    assert _faults(page) == []


def test_annotation_fits_a_phone(house: House, open_page: OpenPage) -> None:
    page = open_page(
        desk(house, pair(1)), viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    expect(page.get_by_role("region", name="Left answer")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name=re.compile("^9 Both bad")).tap()
    judged(page, 1, 1)
    page.get_by_role("link", name="Quality").tap()
    expect(page.get_by_role("region", name="Annotators")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
