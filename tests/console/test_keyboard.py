"""Everything without a mouse."""

from playwright.sync_api import expect

from tests.console.conftest import OpenPage, answered


def test_enter_sends_and_shift_enter_makes_a_line(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    box = page.get_by_role("textbox", name="Question")
    expect(box).to_be_focused()
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    expect(box).to_have_value("one\ntwo")
    box.press("Enter")
    answered(page)
    expect(box).to_have_value("")
    expect(page.locator(".question")).to_have_text("one\ntwo")


def test_a_slash_leads_to_the_question_but_can_be_typed(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    box = page.get_by_role("textbox", name="Question")
    page.get_by_role("link", name="New chat").focus()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_value("")
    page.keyboard.press("/")
    expect(box).to_have_value("/")


def test_the_palette_finds_and_goes(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    page.keyboard.press("Control+k")
    palette = page.get_by_role("combobox", name="Search")
    expect(palette).to_be_focused()
    palette.press_sequentially("databa")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Databases")).to_be_visible()
    page.keyboard.press("Control+k")
    palette.press_sequentially("dark")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()


def test_the_first_tab_skips_to_the_content(open_page: OpenPage, chat: str) -> None:
    page = open_page(f"{chat.removesuffix('chat')}documents")
    expect(page.get_by_role("heading", name="Documents")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_the_agent_is_chosen_with_the_arrows(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    picker = page.get_by_role("button", name="Agent: ")
    picker.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitemradio", checked=True)).to_be_focused()
    page.keyboard.press("Home")
    expect(page.get_by_role("menuitemradio").first).to_be_focused()
    name = page.get_by_role("menuitemradio").first.locator("strong").inner_text()
    page.keyboard.press("Enter")
    expect(picker).to_be_focused()
    expect(picker).to_contain_text(name)
    page.reload()
    expect(picker).to_contain_text(name)
