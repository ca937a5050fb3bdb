"""Settings come from TOOLS_*, and a slip in them is said."""

import os
from pathlib import Path

import pytest

from tools.errors import SettingsError
from tools.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TOOLS_")]:
        monkeypatch.delenv(name)


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLS_DATA", "/srv/tools")
    monkeypatch.setenv("TOOLS_UPLOADS", "")
    settings = Settings.from_environment()
    assert settings.data == Path("/srv/tools")
    assert settings.uploads is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TOOLS_DATTA", "x", "unknown settings: TOOLS_DATTA"),
        ("TOOLS_PORT", "many", "TOOLS_PORT"),
        ("TOOLS_CONTEXT_KEY", "zz" * 32, "64 hex characters"),
        ("TOOLS_SQL_SECONDS", "0", "TOOLS_SQL_SECONDS"),
    ],
)
def test_slips_are_said(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        Settings.from_environment()


def test_the_key_is_not_shown() -> None:
    assert "5f5f" not in repr(Settings.model_validate({"context_key": "5f" * 32}))
