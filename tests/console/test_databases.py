"""Figures: as an answer, and asked for by hand."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.console.conftest import House, OpenPage, answered, ask

COUNTRY = "SELECT Country, COUNT(*) AS n FROM Customer GROUP BY Country ORDER BY n DESC"


def test_an_answer_shows_its_sql_its_table_and_its_chart(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "Who is the top customer?")
    answered(page)
    card = page.get_by_role("region", name="Result of the query on shop")
    chart = card.get_by_role("img")
    expect(chart).to_have_attribute(
        "aria-label", re.compile(r"^Bar chart of total by Name.*Highest: Ada, 30\.5")
    )
    expect(chart.locator("svg text", has_text="Ada")).to_be_visible()
    chart.hover()  # the tooltip must not need styles that the policy forbids
    expect(card.locator("figure code")).to_contain_text("SELECT Customer.Name")
    expect(card.locator(".hljs-keyword").first).to_have_text("SELECT")
    for view in ("Line", "Pie"):
        card.get_by_role("button", name=view).click()
        expect(chart).to_have_attribute("aria-label", re.compile(f"^{view} chart"))
        expect(chart.locator("svg path").first).to_be_attached()
    card.get_by_role("button", name="Table").click()
    expect(card.locator("tbody tr")).to_have_count(3)
    expect(card.locator("tbody tr").first).to_have_text(re.compile(r"Ada\s*30\.5"))


def test_a_table_is_sorted_and_downloaded(open_page: OpenPage, chat: str, tmp_path: Path) -> None:
    page = open_page(chat)
    ask(page, "top customer again")
    answered(page)
    card = page.get_by_role("region", name="Result of the query on shop")
    card.get_by_role("button", name="Table").click()
    head = card.get_by_role("columnheader", name="total")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(card.locator("tbody tr").first).to_contain_text("Cy")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    with page.expect_download() as download:
        card.get_by_role("button", name="Download as CSV").click()
    download.value.save_as(tmp_path / "result.csv")
    text = (tmp_path / "result.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines() == ["Name,total", "Ada,30.5", "Bo,7.25", "Cy,3"]


def test_a_database_is_tested_added_browsed_and_removed(house: House, open_page: OpenPage) -> None:
    with house.http() as http:
        http.post("/projects", json={"name": "figures"}).raise_for_status()
    page = open_page("/p/figures/databases")
    page.get_by_role("button", name="Add a database").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("store")
    dialog.get_by_label("Address").fill("sqlite:////no/such/file.sqlite")
    dialog.get_by_role("button", name="Test and add").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Address").fill(f"sqlite:///{house.database}")
    dialog.get_by_role("button", name="Test and add").click()
    expect(page.get_by_text("Connected to store, 2 tables found.")).to_be_visible()

    schema = page.get_by_role("region", name="Schema")
    schema.get_by_role("button", name="Orders", exact=False).first.click()
    expect(schema).to_contain_text("to Customer.CustomerId")
    schema.get_by_role("button", name="Look into Customer").click()
    card = page.get_by_role("region", name="Result of the query on store")
    expect(card.locator("tbody tr")).to_have_count(3)
    expect(card.get_by_text("null", exact=True)).to_be_visible()

    page.get_by_role("button", name="Remove store").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="No database yet")).to_be_visible()


def test_sql_by_hand_runs_with_the_keyboard_and_a_refusal_is_explained(
    open_page: OpenPage, chat: str
) -> None:
    page = open_page(chat.replace("/chat", "/databases"))
    editor = page.get_by_role("textbox", name="SQL")
    expect(editor).to_have_value(re.compile("^SELECT"))
    editor.fill("DELETE FROM Customer")
    editor.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text(re.compile("SELECT", re.IGNORECASE))
    editor.fill(COUNTRY)
    editor.press("Control+Enter")
    card = page.get_by_role("region", name="Result of the query on shop")
    card.get_by_role("button", name="Table").click()
    expect(card.locator("tbody tr")).to_have_count(3)
    expect(page.get_by_role("alert")).to_have_count(0)
