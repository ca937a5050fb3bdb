"""Files: sent with their progress, followed until they can be searched, deleted."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.console.conftest import House, OpenPage, answered, ask
from tests.console.model import FACT

SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
WATCH_PROGRESS = """
window.shares = [];
new MutationObserver(() => {
  const bar = document.querySelector("[data-sending] [role=progressbar]");
  if (bar) shares.push(Number(bar.ariaValueNow));
}).observe(document.body, { subtree: true, childList: true, attributes: true });
"""


def _project(house: House, name: str) -> str:
    with house.http() as http:
        http.post("/projects", json={"name": name}).raise_for_status()
    return f"/p/{name}/documents"


def _drop(page: Page, name: str, text: str) -> None:
    """Lets go of a file over the page, as a browser tells it."""
    transfer = page.evaluate_handle(
        """([name, text]) => {
          const data = new DataTransfer();
          data.items.add(new File([text], name));
          return data;
        }""",
        [name, text],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to add to this project")).to_be_attached()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to add to this project")).to_have_count(0)


def test_an_upload_shows_its_progress_and_ends_searchable(
    house: House, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(_project(house, "papers"))
    expect(page.get_by_text("Drop files here")).to_be_visible()
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)
    page.evaluate(WATCH_PROGRESS)
    file = tmp_path / "leave.md"
    file.write_text(f"# Leave\n\n{FACT}\n\n<!-- {'x' * 1_500_000} -->\n")
    page.get_by_label("Files to upload").set_input_files(file)
    expect(page.locator("[data-document='leave.md']")).to_be_visible(timeout=60_000)
    shares = page.evaluate("window.shares")
    assert any(0 < share < 100 for share in shares)
    assert shares == sorted(shares)
    expect(page.locator("[data-document='leave.md']")).to_have_attribute(
        "data-state", "ready", timeout=90_000
    )


def test_dropped_files_are_taken_and_answer_questions(house: House, open_page: OpenPage) -> None:
    page = open_page(_project(house, "dropped"))
    expect(page.get_by_text("Drop files here")).to_be_visible()
    _drop(page, "leave.txt", f"About leave.\n\n{FACT}\n")
    row = page.locator("[data-document='leave.txt']")
    expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    row.get_by_role("button", name="leave.txt", exact=True).click()
    expect(page.get_by_role("complementary")).to_contain_text(FACT)
    expect(page.locator("mark")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="New chat").click()
    ask(page, "sick leave?")
    answered(page)
    expect(page.locator("[data-source]")).to_contain_text("leave.txt")


def test_a_bad_file_says_why_and_can_be_deleted(house: House, open_page: OpenPage) -> None:
    page = open_page(_project(house, "broken"))
    expect(page.get_by_text("Drop files here")).to_be_visible()
    _drop(page, "broken.pdf", "%PDF-1.7 and then nothing of the kind")
    row = page.locator("[data-document='broken.pdf'], [data-sending='broken.pdf']")
    expect(row.get_by_role("alert")).to_be_visible(timeout=60_000)
    _drop(page, "empty.md", "")
    expect(page.locator("[data-sending='empty.md']")).to_contain_text("The file is empty.")
    page.get_by_role("button", name="Dismiss empty.md").click()
    expect(page.locator("[data-sending='empty.md']")).to_have_count(0)


def test_a_document_is_deleted_after_being_asked(house: House, open_page: OpenPage) -> None:
    page = open_page(_project(house, "emptied"))
    expect(page.get_by_text("Drop files here")).to_be_visible()
    _drop(page, "note.md", "# A note\n\nA few words.")
    row = page.locator("[data-document='note.md']")
    expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    row.get_by_role("button", name="Delete note.md").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Delete note.md").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Drop files here")).to_be_visible()
