"""Settings that are wrong are refused, with the remedy."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llm_server.settings import Settings, is_loopback, load_settings, unknown_keys

KEYS: dict[str, Any] = {"api_key": "a-long-random-key-1", "admin_key": "a-long-random-key-2"}


def test_loopback_needs_no_key() -> None:
    assert Settings(host="127.0.0.1").api_key is None


@pytest.mark.parametrize(
    "wrong", [{}, {"api_key": None}, {"admin_key": "changeme"}, {"api_key": "short,keys"}]
)
def test_the_network_needs_real_keys(wrong: dict[str, str | None]) -> None:
    given: dict[str, Any] = {**KEYS, **wrong} if wrong else {}
    with pytest.raises(ValidationError, match="LLM_"):
        Settings(host="0.0.0.0", **given)


def test_the_network_with_real_keys() -> None:
    assert Settings(host="0.0.0.0", **KEYS).host == "0.0.0.0"


def test_misspelt_keys_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown_keys({"LLM_PORT": "1", "LLM_PROT": "2", "PATH": ""}) == ["LLM_PROT"]
    monkeypatch.setenv("LLM_SLOT", "3")
    with pytest.raises(ValueError, match="LLM_SLOT"):
        load_settings()


def test_the_environment_and_then_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PORT", "1234")
    monkeypatch.setenv("LLM_SLOTS", "3")
    settings = load_settings(port=99, model=None)
    assert (settings.port, settings.slots, settings.model) == (99, 3, "starter")


def test_models_are_named_in_one_place(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    assert Settings(config=file, slots=2).slots == 2
    assert Settings(config=file, model="starter", lora="").config == file
    with pytest.raises(ValidationError, match="LLM_LORA and LLM_MODEL would not be used"):
        Settings(config=file, model="other", lora="a=b")


def test_what_is_loopback() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
