"""A question, its answer as it comes, and where the answer is from."""

import re

from playwright.sync_api import Page, expect

from tests.console.conftest import House, OpenPage, answered, ask, until
from tests.console.model import ARABIC, FACT, script
from tests.graphs.model_server import Reply

LISTEN = """
window.said = [];
const region = document.querySelector("[data-testid=live]");
new MutationObserver(() => said.push(region.textContent))
  .observe(region, { childList: true, characterData: true, subtree: true });
"""


def test_an_answer_streams_with_its_steps_and_its_source_opens_at_the_passage(
    open_page: OpenPage, chat: str
) -> None:
    page = open_page(chat)
    ask(page, "How much sick leave do I get?")
    answer = page.locator("section.answer")
    expect(answer.get_by_text("The documents say")).to_be_visible(timeout=30_000)
    answered(page)
    expect(answer.locator(".prose")).to_contain_text(FACT)
    expect(answer.get_by_text("Searched the documents")).to_be_visible()

    page.locator("[data-source]").click()
    panel = page.get_by_role("complementary")
    expect(panel.get_by_role("heading", name="leave.md")).to_be_focused()
    expect(panel.locator("mark")).to_have_text(FACT)
    expect(panel).to_contain_text("There are 28 days.")
    expect(panel).to_contain_text("The quoted words stand in this document")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.locator("[data-source]")).to_be_focused()

    answer.locator("button.cite").click()
    expect(panel.locator("mark")).to_have_text(FACT)


def test_steps_show_what_was_called_and_what_came_back(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat, viewport={"width": 1000, "height": 480})
    ask(page, "sick leave")
    answered(page)
    top = "(element) => element.getBoundingClientRect().top"
    page.wait_for_timeout(1200)
    before = page.locator(".timeline").evaluate(top)
    page.get_by_role("button", name="Searched the documents").click()
    assert page.locator(".timeline").evaluate(top) == before  # what was opened stays under the pointer
    steps = page.locator("ol.steps")
    expect(steps).to_contain_text("The answer is in the documents")
    expect(steps).to_contain_text("rag_search")
    expect(steps.locator("dd")).to_have_text("sick leave")
    expect(steps.get_by_text("ok", exact=True)).to_be_visible()
    expect(steps.locator(".hits")).to_contain_text("leave.md")


def test_words_are_on_the_page_before_the_answer_ends_and_stop_ends_it(
    house: House, open_page: OpenPage, chat: str
) -> None:
    page = open_page(chat)
    house.model.gone.clear()
    ask(page, "count slowly")
    expect(page.locator(".prose")).to_contain_text("word3", timeout=30_000)
    expect(page.locator("section.answer")).to_have_attribute("data-state", "running")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("You stopped this answer.")).to_be_visible()
    expect(page.locator(".prose")).to_contain_text("word3")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    until(house.model.gone.is_set)  # the model was told, not only the page


def test_escape_stops_too_and_the_stopped_answer_is_kept(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "count slowly please")
    expect(page.locator(".prose")).to_contain_text("word1", timeout=30_000)
    page.keyboard.press("Escape")
    expect(page.locator("section.answer")).to_have_attribute("data-state", "cancelled")
    page.reload()
    expect(page.locator("section.answer")).to_have_attribute("data-state", "cancelled")
    expect(page.locator(".prose")).to_contain_text("word1")


def test_an_error_is_told_and_asking_again_goes_on(house: House, open_page: OpenPage, chat: str) -> None:
    house.model.script = lambda body: Reply(status=503, error={"message": "The model is loading."})
    try:
        page = open_page(chat)
        ask(page, "hello there")
        expect(page.get_by_role("alert")).to_be_visible(timeout=60_000)
        expect(page.locator("section.answer")).to_have_attribute("data-state", "failed")
    finally:
        house.model.script = script
    page.get_by_role("button", name="Ask again").click()
    answered(page)
    expect(page.locator(".prose")).to_contain_text("Hello.")
    expect(page.locator("article.turn")).to_have_count(1)


def test_a_question_that_will_always_fail_is_given_back_to_be_edited(
    house: House, open_page: OpenPage, chat: str
) -> None:
    error = {"message": "This model takes 4096 tokens.", "code": "context_length_exceeded"}
    house.model.script = lambda body: Reply(status=400, error=error)
    try:
        page = open_page(chat)
        ask(page, "hello, far too long")
        page.get_by_role("button", name="Edit the question").click(timeout=60_000)
    finally:
        house.model.script = script
    expect(page.get_by_role("textbox", name="Question")).to_have_value("hello, far too long")
    expect(page.get_by_role("textbox", name="Question")).to_be_focused()


def test_a_gateway_that_does_not_answer_is_told(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    page.context.set_offline(True)
    ask(page, "hello")
    expect(page.get_by_role("alert")).to_contain_text("The gateway does not answer")
    page.context.set_offline(False)
    page.get_by_role("button", name="Ask again").click()
    answered(page)


def test_a_conversation_has_an_address_and_comes_back_after_a_reload(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "What about sick leave, please?")
    answered(page)
    assert re.search(rf"{chat}/.+", page.url)
    page.reload()
    answered(page)
    expect(page.locator(".prose")).to_contain_text(FACT)
    expect(page.locator("[data-source]")).to_be_visible()
    expect(page.get_by_role("link", name="What about sick leave, please?")).to_have_attribute(
        "aria-current", "page"
    )


def test_an_answer_goes_on_while_another_screen_is_open(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "slowly, in the background")
    expect(page.locator(".prose")).to_contain_text("word2", timeout=30_000)
    page.get_by_role("link", name="Documents").click()
    expect(page.get_by_role("heading", name="Documents")).to_be_visible()
    page.get_by_role("link", name="slowly, in the background").click()
    expect(page.locator(".prose")).to_contain_text("word20")
    page.get_by_role("button", name="Stop").click()


def test_another_tab_follows_an_answer_until_it_ends(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "slowly, for two")
    expect(page.locator(".prose")).to_contain_text("word2", timeout=30_000)
    other = open_page(page.url)
    expect(other.locator("section.answer")).to_have_attribute("data-state", "running")
    page.get_by_role("button", name="Stop").click()
    expect(other.locator("section.answer")).to_have_attribute("data-state", "cancelled")
    expect(other.locator(".prose")).to_contain_text("word2")


def test_a_long_answer_is_followed_until_the_reader_scrolls_up(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat, viewport={"width": 800, "height": 420})
    ask(page, "a long text, slowly")
    expect(page.locator(".prose")).to_contain_text("word200", timeout=60_000)
    scroller = page.locator(".chat")
    below = "(box) => box.scrollHeight - box.scrollTop - box.clientHeight"
    assert scroller.evaluate(below) < 100
    scroller.evaluate("(box) => box.scrollTo({ top: 0 })")
    expect(page.locator(".prose")).to_contain_text("word220")
    assert scroller.evaluate("(box) => box.scrollTop") == 0
    page.get_by_role("button", name="Latest").click()
    expect(page.get_by_role("button", name="Latest")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()


def test_every_block_takes_its_own_direction(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "answer in arabic")
    answered(page)
    assert _direction(page, f".prose p:has-text('{ARABIC}')") == "rtl"
    assert _direction(page, ".prose p:has-text('English')") == "ltr"
    assert _direction(page, ".prose ul") == "rtl"
    page.get_by_role("textbox", name="Question").fill("ما هي الإجازة؟")
    assert _direction(page, "textarea") == "rtl"


def _direction(page: Page, selector: str) -> str:
    found: str = page.locator(selector).first.evaluate("(element) => getComputedStyle(element).direction")
    return found


def test_an_answer_cannot_bring_its_own_markup(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ask(page, "show me markup")
    answered(page)
    prose = page.locator(".prose")
    expect(prose).to_contain_text("<img src=x onerror=")
    assert prose.locator("img, script, a[href^=javascript]").count() == 0
    assert not [url for url in asked if "example.org" in url]
    expect(page).to_have_title("Chat · Loopyard")


def test_code_is_coloured_and_can_be_copied(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat, permissions=["clipboard-read", "clipboard-write"])
    ask(page, "show me markup again")
    answered(page)
    expect(page.locator("figure.code .hljs-string")).to_have_text("'hello'")
    page.get_by_role("button", name="Copy python").click()
    assert page.evaluate("navigator.clipboard.readText()") == "print('hello')"


def test_the_live_region_speaks_whole_sentences(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    page.evaluate(LISTEN)
    ask(page, "sick leave again")
    answered(page)
    expect(page.get_by_test_id("live")).to_have_text("Answer complete.")
    said = page.evaluate("window.said")
    assert said[0] == "Question sent."
    assert any(FACT in text for text in said)
    assert len(said) < 8  # sentences, not words


def test_details_tell_time_and_tokens(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "sick leave once more")
    answered(page)
    page.locator("section.answer").get_by_role("button", expanded=False).last.click()
    expect(page.get_by_text("Tokens written")).to_be_visible()
    expect(page.get_by_text("Until the first word")).to_be_visible()


def test_a_conversation_can_be_deleted(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "hello, soon to be gone")
    answered(page)
    link = page.get_by_role("link", name="hello, soon to be gone")
    link.hover()
    page.get_by_role("button", name="Delete the conversation hello, soon to be gone").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(link).to_have_count(0)
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def test_a_thumb_is_kept(open_page: OpenPage, chat: str) -> None:
    page = open_page(chat)
    ask(page, "hello there")
    answered(page)
    good = page.get_by_role("button", name="Good answer")
    with page.expect_response("**/api/v1/feedback/*") as told:
        good.click()
    assert told.value.ok
    expect(good).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "false")
