"""Webhooks that get lost: the record is complete all the same, and soon."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from annotation.follow import PATH, Doorbell, follow, webhook
from annotation.label_studio import LabelStudio
from annotation.pull import Pulled
from annotation.push import push
from annotation.record import Record
from tests.annotation.conftest import Studio
from tests.annotation.proxy import Fate, proxy
from tests.annotation.tasks import a_task
from tests.annotation.test_pull import annotate, results

pytestmark = pytest.mark.timeout(600)
LIMIT = 60
"""Seconds within which a judgement is known, whatever became of its webhook."""


class Watcher:
    """Follows a project in a thread, and lets a test wait for what it finds."""

    def __init__(self) -> None:
        self.found: list[Pulled | Exception] = []
        self._changed = threading.Condition()

    def told(self, found: Pulled | Exception) -> None:
        with self._changed:
            self.found.append(found)
            self._changed.notify_all()

    def until_judged(self, count: int, seconds: float = LIMIT) -> bool:
        def done() -> bool:
            return any(isinstance(one, Pulled) and one.judgements == count for one in self.found)

        with self._changed:
            return self._changed.wait_for(done, seconds)

    def until_failed(self, seconds: float = LIMIT) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: any(isinstance(o, Exception) for o in self.found), seconds)


@contextmanager
def following(
    studio: LabelStudio, record: Record, title: str, bell: Doorbell, every: float
) -> Iterator[Watcher]:
    watcher, stop = Watcher(), threading.Event()
    arguments = (studio, record, title, bell, watcher.told, stop, every)
    thread = threading.Thread(target=follow, args=arguments)
    thread.start()
    try:
        yield watcher
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def bell() -> Iterator[Doorbell]:
    made = Doorbell()
    yield made
    made.close()


def test_every_judgement_arrives_though_a_fifth_of_the_webhooks_is_lost(
    server: Studio, studio: LabelStudio, bell: Doorbell, tmp_path: Path, title: str
) -> None:
    dice, lock = random.Random(20), threading.Lock()
    fates: list[Fate] = []

    def fate(method: str, path: str) -> Fate:
        with lock:
            # The last one is lost in any case: after it nothing else would ring.
            chosen: Fate = "drop" if dice.random() < 0.2 or len(fates) == count - 1 else "pass"
            fates.append(chosen)
        return chosen

    count = 25
    project = push(studio, Record(tmp_path), title, [a_task(n) for n in range(count)]).project
    with (
        proxy(bell.url.removesuffix(PATH), fate) as url,
        webhook(studio, project, bell, url + PATH),
        following(studio, Record(tmp_path), title, bell, every=15) as watcher,
    ):
        given = [{"task_id": f"pair-{n}", "result": results("left")} for n in range(count)]
        annotate(server, project, tmp_path, *given)
        assert watcher.until_judged(count)
    assert len(fates) == count
    assert fates.count("drop") >= 2
    assert len(Record(tmp_path).rows()) == count


def test_a_webhook_wakes_at_once(
    server: Studio, studio: LabelStudio, bell: Doorbell, tmp_path: Path, title: str
) -> None:
    project = push(studio, Record(tmp_path), title, [a_task(0)]).project
    # Without a ring the next look would be in a day.
    with (
        webhook(studio, project, bell),
        following(studio, Record(tmp_path), title, bell, every=86_400) as watcher,
    ):
        assert watcher.until_judged(0)
        annotate(server, project, tmp_path, {"task_id": "pair-0", "result": results("right")})
        assert watcher.until_judged(1, seconds=300)


def test_only_one_webhook_is_left_by_any_number_of_followers_and_none_in_the_end(
    server: Studio, studio: LabelStudio, bell: Doorbell, title: str
) -> None:
    project = studio.project(title)
    code = "print(json.dumps([w.url for w in ls.webhooks.list(project=int(sys.argv[1]))]))"
    with webhook(studio, project, bell):
        studio.set_webhook(project, bell.url, "another")
        assert server.sdk(code, str(project)) == [bell.url]
    assert server.sdk(code, str(project)) == []


def test_a_label_studio_that_is_away_is_tried_again(
    server: Studio, bell: Doorbell, tmp_path: Path, title: str, studio: LabelStudio
) -> None:
    away = threading.Event()
    away.set()

    def fate(method: str, path: str) -> Fate:
        return "drop" if away.is_set() else "pass"

    push(studio, Record(tmp_path), title, [a_task(0)])
    with proxy(server.url, fate) as url:
        far = LabelStudio(url, server.token)
        with following(far, Record(tmp_path), title, bell, every=0.5) as watcher:
            assert watcher.until_failed()
            away.clear()
            assert watcher.until_judged(0)
        far.close()


def test_the_bell_rings_for_nobody_without_its_secret(bell: Doorbell) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.post(bell.url, headers={"X-Loopyard-Secret": "guess"}).status_code == 404
        assert client.post(bell.url, content=b"x" * 10_000).status_code == 404
        assert not bell.rung.is_set()
        right = {"X-Loopyard-Secret": bell.secret}
        assert client.post(bell.url + "x", headers=right).status_code == 404
        assert not bell.rung.is_set()
        assert client.post(bell.url, headers=right).status_code == 204
    assert bell.rung.is_set()
