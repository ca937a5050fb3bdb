"""Stored responses: quotas, owners, restarts."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from llm_server.errors import PreparationFailed
from llm_server.response_store import ResponseStore, Stored

Make = Callable[..., ResponseStore]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Stores on one file whose clock ticks once a call."""
    ticks = count()
    opened: list[ResponseStore] = []

    def store(number: int = 10, size: int = 10_000) -> ResponseStore:
        made = ResponseStore(
            tmp_path / "a" / "r.sqlite3", count=number, size=size, clock=lambda: float(next(ticks))
        )
        opened.append(made)
        return made

    yield store
    for made in opened:
        made.close()


def response(identity: str, text: str = "") -> Stored:
    return Stored({"id": identity, "output": [], "text": text}, [{"type": "message", "content": identity}])


def held(store: ResponseStore, owner: str, *names: str) -> str:
    return "".join(name for name in names if store.get(owner, name))


def test_it_survives_a_restart(make: Make) -> None:
    make().put("ann", response("a"))
    again = make()
    assert again.get("ann", "a") == response("a")
    assert again.delete("ann", "a")
    assert not again.delete("ann", "a")
    assert again.get("ann", "a") is None


def test_owners_do_not_see_each_other(make: Make) -> None:
    store = make()
    store.put("ann", response("a"))
    assert store.get("bob", "a") is None
    assert not store.delete("bob", "a")
    assert store.get("ann", "a")


def test_the_least_recently_used_gives_way_to_number(make: Make) -> None:
    store = make(number=2)
    for name in "ab":
        store.put("ann", response(name))
    store.put("bob", response("z"))
    assert held(store, "ann", "a") == "a"
    store.put("ann", response("c"))
    assert held(store, "ann", *"abc") == "ac"
    assert held(store, "bob", "z") == "z"


def test_bytes_are_bounded_too(make: Make) -> None:
    store = make(size=1000)
    for name in "abc":
        store.put("ann", response(name, "x" * 300))
    assert held(store, "ann", *"abc") == "bc"
    store.put("ann", response("d", "x" * 1000))
    assert held(store, "ann", "d") == ""


def test_no_quota_keeps_nothing(make: Make) -> None:
    store = make(number=0)
    store.put("ann", response("a"))
    assert store.get("ann", "a") is None


def test_nothing_is_made_by_looking(make: Make, tmp_path: Path) -> None:
    assert make().get("ann", "a") is None
    assert not make().delete("ann", "a")
    assert not (tmp_path / "a").exists()


def test_only_its_user_reads_the_file(make: Make, tmp_path: Path) -> None:
    make().put("ann", response("a"))
    assert (tmp_path / "a" / "r.sqlite3").stat().st_mode & 0o077 == 0


def test_a_newer_format_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    connection = sqlite3.connect(tmp_path / "a" / "r.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(PreparationFailed, match="99"):
        make().get("ann", "a")
