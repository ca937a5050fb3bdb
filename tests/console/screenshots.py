"""`PYTHONPATH=compose/scripts python -m tests.console.screenshots URL KEY_FILE`: pictures for the README.

They are of a running Loopyard. It expects the demo project. The question is an option, so that the picture
can show what the served model does well.
"""

import argparse
import json
import re
from pathlib import Path

from playwright.sync_api import FilePayload, Page, expect, sync_playwright

from tests.console.conftest import CHROMIUM, CONSOLE, FLAGS, answered, ask

FOLDER = CONSOLE / "screenshots"
QUESTION = "How expensive may a hotel be in a capital?"
SQL = (
    "SELECT customers.country, COUNT(*) AS orders FROM customers\n"
    "JOIN orders ON orders.customer_id = customers.id\n"
    "GROUP BY customers.country ORDER BY orders DESC"
)


PAIR = {
    "prompt": "How expensive may a hotel be in a capital, and who has to approve more?",
    "answers": [
        "In a capital a hotel may cost **up to 180 euros** a night.\n\n"
        "- More needs the approval of your *team lead* before you book.\n"
        "- Keep the invoice: it is handed in with the expenses.",
        "It depends on the city. Companies usually pay between 100 and 250 euros for a hotel. You should ask "
        "before you book, since policies differ between companies and can change at any time.",
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key_file", type=Path)
    parser.add_argument("--question", default=QUESTION)
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(base_url=options.url, viewport={"width": 1280, "height": 800})
        key = options.key_file.read_text().strip()
        context.add_init_script(f"sessionStorage.setItem('loopyard.key', '{key}')")
        page = context.new_page()
        passage(page, options.question)
        figures(page)
        trace(page)
        annotate(page)
        browser.close()


def passage(page: Page, question: str) -> None:
    """A question to the documents, with its first source opened."""
    page.goto("/p/demo/chat")
    ask(page, question)
    answered(page)
    page.locator(".timeline button").click()
    page.locator("[data-source]").first.click()
    expect(page.locator("mark").first).to_be_visible()
    keep(page, "passage")


def figures(page: Page) -> None:
    """A statement by hand with its chart, in the dark theme."""
    page.emulate_media(color_scheme="dark")
    page.goto("/p/demo/databases")
    editor = page.get_by_role("textbox", name="SQL")
    expect(editor).not_to_have_value("")  # the first table is proposed once the schema is read
    editor.fill(SQL)
    editor.press("Control+Enter")
    expect(page.locator("svg text").first).to_be_visible()
    keep(page, "figures")


def trace(page: Page, project: str = "demo") -> None:
    """The newest trace with its steps, in the light theme."""
    page.emulate_media(color_scheme="light")
    page.goto(f"/p/{project}/traces")
    page.locator("[data-trace]").first.click()
    expect(page.get_by_role("treeitem").first).to_be_visible()
    page.get_by_role("button", name=re.compile("All .* steps")).click()
    keep(page, "trace")


def annotate(page: Page, project: str = "demo") -> None:
    """Two answers side by side, in the dark theme."""
    page.emulate_media(color_scheme="dark")
    page.goto(f"/p/{project}/annotate")
    file: FilePayload = {
        "name": "pairs.jsonl",
        "mimeType": "application/jsonl",
        "buffer": json.dumps(PAIR).encode(),
    }
    page.get_by_label("File of pairs").set_input_files(file)
    expect(page.get_by_role("region", name="Left answer")).to_be_visible()
    page.get_by_role("button", name="Clearer").click()
    keep(page, "annotate")


def keep(page: Page, name: str) -> None:
    path = FOLDER / f"{name}.png"
    page.wait_for_timeout(1000)  # what moves has come to rest
    page.screenshot(path=path)
    print(path, path.stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()
