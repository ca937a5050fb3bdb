"""The console in a real browser, on a real gateway and a real tools service; only the model has a script."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from chromium import MISSING, find_chromium
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.console.model import FACT, Model, running_model

ROOT = Path(__file__).parents[2]
CONSOLE = ROOT / "gateway" / "console"
KEY = "ly_console_" + "0" * 32
CONTEXT_KEY = "c0" * 32
CHROMIUM = find_chromium()
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)
# Listens from the first script of a page on, before anything could break the policy unseen.
WATCH = """
window.broken = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  broken.push(`${violatedDirective} ${blockedURI}`);
});
"""


@dataclass
class House:
    """A running gateway with its neighbours.

    Attributes:
        database: a SQLite file with three customers, not yet added to a project.
    """

    url: str
    model: Model
    database: Path

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30, trust_env=False)

    def project(self, name: str) -> str:
        """Makes a project with one document and one database; gives the path of its chat."""
        with self.http() as http:
            http.post("/projects", json={"name": name, "title": name.title()}).raise_for_status()
            text = f"# Leave\n\n## Annual leave\n\nThere are 28 days.\n\n## Sick leave\n\n{FACT}\n"
            file = {"file": ("leave.md", text.encode(), "text/markdown")}
            http.post(f"/projects/{name}/documents", files=file).raise_for_status()
            address = {"name": "shop", "url": f"sqlite:///{self.database}"}
            http.post(f"/projects/{name}/databases", json=address).raise_for_status()
            until(lambda: http.get(f"/projects/{name}/documents").json()["items"][0]["state"] == "ready")
        return f"/p/{name}/chat"


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that has to happen; the test's time limit is the only limit."""
    while not condition():
        time.sleep(0.05)


@contextmanager
def service(room: str, log: Path, health: str, verb: str = "serve", **variables: str) -> Iterator[None]:
    """`python -m ROOM VERB`, until it answers; ended in order."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", room, verb]
    with (
        log.open("wb") as sink,
        subprocess.Popen(command, stdout=sink, stderr=sink, env=env, cwd=log.parent) as process,
    ):
        try:
            until(lambda: process.poll() is not None or _answers(health))
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE Customer(CustomerId INTEGER PRIMARY KEY, Name TEXT, Country TEXT);"
            "CREATE TABLE Orders(OrderId INTEGER PRIMARY KEY,"
            " CustomerId INTEGER REFERENCES Customer(CustomerId), Total REAL);"
            "INSERT INTO Customer VALUES (1, 'Ada', 'France'), (2, 'Bo', 'Norway'), (3, 'Cy', NULL);"
            "INSERT INTO Orders VALUES (1, 1, 10.5), (2, 1, 20.0), (3, 2, 7.25), (4, 3, 3.0);"
        )


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if not (CONSOLE / "dist" / "index.html").exists():
        pytest.fail("The console is not built: run `npm ci && npm run build` in gateway/console.")
    folder = tmp_path_factory.mktemp("console")
    database = folder / "shop.sqlite"
    make_database(database)
    tools, traces, gateway = _free_port(), _free_port(), _free_port()
    with ExitStack() as stack:
        model = stack.enter_context(running_model())
        settings = {
            "TOOLS_PORT": str(tools),
            "TOOLS_DATA": str(folder / "tools"),
            "TOOLS_UPLOADS": str(folder / "gateway" / "uploads"),
            "TOOLS_CONTEXT_KEY": CONTEXT_KEY,
            "TOOLS_LLM_URL": model.url,
        }
        stack.enter_context(
            service("tools", folder / "tools.log", f"http://127.0.0.1:{tools}/health", **settings)
        )
        store = f"http://127.0.0.1:{traces}"
        settings = {"TRACES_PORT": str(traces), "TRACES_DATA": str(folder)}
        stack.enter_context(
            service("gateway", folder / "traces.log", f"{store}/health", "traces", **settings)
        )
        settings = {
            "GATEWAY_PORT": str(gateway),
            "GATEWAY_TRACES_URL": store,
            "GATEWAY_DATA": str(folder),
            "GATEWAY_CONTEXT_KEY": CONTEXT_KEY,
            "GATEWAY_ADMIN_KEY": KEY,
            "GATEWAY_LLM_URL": model.url,
            "GATEWAY_TOOLS_URL": f"http://127.0.0.1:{tools}",
        }
        url = f"http://127.0.0.1:{gateway}"
        stack.enter_context(service("gateway", folder / "gateway.log", f"{url}/health", **settings))
        yield House(url, model, database)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=20_000)  # a busy machine is no fault
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(house: House, browser: Browser) -> Iterator[OpenPage]:
    """Opens a path in a fresh profile, signed in unless told otherwise.

    At the end of a test no page may have broken its content security policy or have thrown anything.
    """
    pages: list[Page] = []
    thrown: list[str] = []

    def open_page(path: str = "/", signed_in: bool = True, **options: Any) -> Page:
        page = browser.new_context(base_url=house.url, reduced_motion="reduce", **options).new_page()
        page.add_init_script(WATCH)
        if signed_in:
            page.add_init_script(f"sessionStorage.setItem('loopyard.key', '{KEY}')")
        page.on("pageerror", lambda error: thrown.append(str(error)))
        page.goto(path)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        assert page.evaluate("window.broken") == []
        page.context.close()
    assert thrown == []


@pytest.fixture(scope="package")
def chat(house: House) -> str:
    """The chat of a project that has a document and a database."""
    return house.project("office")


def ask(page: Page, question: str) -> None:
    """Writes a question and sends it with Enter."""
    box = page.get_by_role("textbox", name="Question")
    box.fill(question)
    box.press("Enter")


def answered(page: Page, number: int = 0) -> None:
    """Waits for the answer with that index to be complete."""
    answer = page.locator("section.answer").nth(number)
    expect(answer).to_have_attribute("data-state", "complete", timeout=30_000)
