"""A browser that is there is found, under each of its names."""

from pathlib import Path

import pytest
from chromium import NAMES, find_chromium


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the whole search path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    return tmp_path


def install(path: Path) -> str:
    path.touch(mode=0o755)
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_browser_on_the_path_is_found(programs: Path, name: str) -> None:
    assert find_chromium() is None
    path = install(programs / name)
    assert find_chromium() == path


def test_the_one_that_is_named_comes_first(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(programs / "chromium")
    monkeypatch.setenv("CHROMIUM", install(programs / "mine"))
    assert find_chromium() == str(programs / "mine")
    monkeypatch.setenv("CHROMIUM", str(programs / "gone"))
    assert find_chromium() is None
