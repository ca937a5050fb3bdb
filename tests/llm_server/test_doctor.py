"""The doctor names what is missing."""

import socket
from pathlib import Path
from typing import Literal

import pytest

from llm_server.doctor import examine
from llm_server.settings import Settings


def test_everything_that_is_there_is_found(tmp_path: Path) -> None:
    findings = examine(Settings(port=0, data=tmp_path / "models"))
    assert {finding.what: finding.text for finding in findings if not finding.good} == {}


def test_what_is_missing_comes_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPYARD_CACHE", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        findings = examine(Settings(port=taken.getsockname()[1], data=tmp_path))
    bad = {finding.what: finding.text for finding in findings if not finding.good}
    assert set(bad) == {"converter", "port"}
    assert "prepare --converter" in bad["converter"]
    assert "LLM_PORT" in bad["port"]


@pytest.mark.parametrize(("provider", "good"), [("cpu", True), ("cuda", False)])
def test_the_engine_of_the_settings_is_looked_at(
    tmp_path: Path, provider: Literal["cpu", "cuda"], good: bool
) -> None:
    findings = examine(Settings(port=0, data=tmp_path, backend="onnx", provider=provider))
    onnx = next(finding for finding in findings if finding.what == "ONNX Runtime")
    assert onnx.good is good, onnx.text
