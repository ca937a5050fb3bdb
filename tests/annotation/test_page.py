"""Label Studio's own page in a browser: what models said is text, and a verdict is two keys away."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import MISSING, find_chromium
from playwright.sync_api import Page, expect, sync_playwright

from annotation.label_studio import LabelStudio
from annotation.pull import pull
from annotation.push import push
from annotation.record import Record
from annotation.server import USER
from annotation.tasks import preferences, task_of
from tests.annotation.conftest import Studio
from tests.annotation.tasks import AT, question, said

pytestmark = pytest.mark.timeout(600)
CHROMIUM = find_chromium()
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server")
ATTACK = "<img src=x onerror='window.attacked=1'><b id=bold>fat</b><script>window.attacked=1</script>{}"
MARKS = "document.querySelectorAll('#bold, img[src=x]').length"


def signed_in(page: Page, server: Studio) -> None:
    page.goto(f"{server.url}/user/login/")
    page.fill("input[name=email]", USER)
    page.fill("input[name=password]", server.own.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/user/login" not in url)


def test_markup_stays_text_and_a_verdict_reaches_the_record(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    one, other = said(ATTACK.format("one")), said(ATTACK.format("other"))
    task = task_of("attack", question(ATTACK.format("prompt")), None, one, other, at=AT)
    project = push(studio, Record(tmp_path), title, [task]).project
    (card,) = studio.cards(project)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1400, "height": 1400})
        page.set_default_timeout(120_000)
        expect.set_options(timeout=120_000)
        signed_in(page, server)
        page.goto(f"{server.url}/projects/{project}/data?task={card.id}")
        for text in ("prompt", "one", "other"):
            expect(page.get_by_text(ATTACK.format(text), exact=False).first).to_be_visible()
        assert page.evaluate("window.attacked") is None
        assert page.evaluate(MARKS) == 0
        page.keyboard.press("2")
        page.locator("[role=radio][aria-posinset='4']").first.click()
        # Typed and not "added": Label Studio takes it along all the same.
        page.get_by_placeholder("The answer as it should have been").fill("<i>Better</i>")
        page.get_by_role("button", name="Submit").click()
        expect(page.locator("button", has_text="Update")).to_be_visible()
        browser.close()
    assert pull(studio, Record(tmp_path), title).judgements == 1
    (judgement,) = Record(tmp_path).judgements()
    assert (judgement.choice, judgement.annotator) == ("right", USER)
    assert judgement.correction == "<i>Better</i>"
    assert (judgement.left_stars, judgement.right_stars) == (4, None)
    assert judgement.seconds is not None
    assert Record(tmp_path).rows() == preferences(task, judgement)
