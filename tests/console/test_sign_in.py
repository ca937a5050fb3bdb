"""The door: one API key, held in this tab."""

from playwright.sync_api import expect

from tests.console.conftest import KEY, House, OpenPage


def test_a_wrong_key_is_told_and_the_right_one_opens_the_chat(open_page: OpenPage) -> None:
    page = open_page("/", signed_in=False)
    key = page.get_by_label("API key")
    expect(key).to_be_focused()
    key.fill("ly_wrong_" + "0" * 32)
    key.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    key.fill(f"  {KEY}\n")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    assert (
        page.evaluate("Object.keys(localStorage).filter((name) => localStorage[name].startsWith('ly_'))")
        == []
    )
    assert page.context.cookies() == []


def test_an_empty_key_is_asked_for(open_page: OpenPage) -> None:
    page = open_page("/", signed_in=False)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Enter an API key")


def test_the_key_survives_a_reload_and_signing_out_ends_it(open_page: OpenPage) -> None:
    page = open_page("/", signed_in=False)
    page.get_by_label("API key").fill(KEY)
    page.get_by_label("API key").press("Enter")
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    page.reload()
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_key_that_is_revoked_while_the_page_is_open_leads_back_to_the_door(
    house: House, open_page: OpenPage, chat: str
) -> None:
    with house.http() as http:
        made = http.post("/keys", json={"name": "short-lived"}).raise_for_status().json()
        page = open_page(chat, signed_in=False)
        page.get_by_label("API key").fill(made["key"])
        page.get_by_label("API key").press("Enter")
        expect(page.get_by_role("textbox", name="Question")).to_be_visible()
        http.delete(f"/keys/{made['id']}").raise_for_status()
    page.get_by_role("link", name="Databases").click()
    expect(page.get_by_role("status").filter(has_text="no longer accepted")).to_be_visible()
