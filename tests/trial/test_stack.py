"""Finding a running loopyard, and room for an own one."""

import json
from pathlib import Path

import pytest

from tests.trial.client import ChainError
from tests.trial.stack import Stack, free_ports, own_stack


def test_a_data_folder_tells_address_and_keys(tmp_path: Path) -> None:
    for folder in ("run", "secrets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "admin-key").write_text("ly_1\n")
    (tmp_path / "secrets" / "llm-api-key").write_text("k\n")
    (tmp_path / "run" / "gateway.json").write_text(json.dumps({"url": "http://127.0.0.1:1"}))
    stack = Stack(tmp_path, 7)
    assert (stack.key, stack.llm_key) == ("ly_1", "k")
    assert (stack.url, stack.llm_url) == ("http://127.0.0.1:1", "http://127.0.0.1:7/v1")


def test_ports_differ() -> None:
    assert len(set(free_ports(3))) == 3


def test_a_stack_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with (
        pytest.raises(ChainError, match="loopyard up ended with"),
        own_stack(tmp_path / "data", tmp_path / "log"),
    ):
        pass
