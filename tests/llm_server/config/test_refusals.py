"""Edits that are refused: with line and reason, and nobody notices them but who made them."""

from pathlib import Path
from typing import Any

import pytest

from llm_server.config.resolve import of_file
from llm_server.errors import ConfigRefused
from llm_server.settings import Settings
from tests.llm_server.config.broken import GOOD, LINES, WRECKS, all_broken
from tests.llm_server.config.conftest import Open


def test_the_good_file_is_good(tmp_path: Path) -> None:
    resolved = of_file(tmp_path / "models.yaml", GOOD.encode(), Settings(backend="echo"))
    assert [spec.id for spec in resolved.models] == ["first", "second"]
    assert not resolved.embeddings


def test_broken_edits_are_refused_and_the_service_goes_on(open_server: Open, tmp_path: Path) -> None:
    """Each with its line and its reason; at least a hundred reasons are different."""
    broken, reasons = all_broken(tmp_path), set()
    with open_server(GOOD) as server:
        before = server.config()
        fingerprint = server.say("uno").json()["system_fingerprint"]
        for name, case in broken.items():
            answer = server.edit(case.text)
            assert answer.status_code == 400, (name, answer.text)
            error = answer.json()["error"]
            assert error["code"] == "config_refused", (name, error)
            place, reason = error["message"].split(": ", 1)
            assert place.endswith(f"models.yaml:{error['line']}:{error['column']}"), (name, error)
            assert (error["line"], case.said in reason) == (case.line, True), (name, error)
            reasons.add(reason)
            said = server.say("uno")
            assert said.status_code == 200, (name, said.text)
            assert said.json()["system_fingerprint"] == fingerprint
        assert len(reasons) >= 100
        after = server.config()
        assert after["refused"]["line"] is not None
        assert {**after, "refused": None} == before
        assert server.edit(GOOD).json()["unchanged"] == ["first", "second"]
        assert server.config()["refused"] is None


@pytest.mark.parametrize("wreck", WRECKS.values(), ids=list(WRECKS))
def test_a_wreck_is_refused_in_any_line(wreck: str, tmp_path: Path) -> None:
    for number in range(1, len(LINES)):
        text = "\n".join([*LINES[:number], wreck, *LINES[number:]])
        with pytest.raises(ConfigRefused, match="no YAML") as refused:
            of_file(tmp_path / "models.yaml", text.encode(), Settings())
        assert number + 1 <= refused.value.line <= len(LINES) + 2


@pytest.mark.parametrize(
    "raw", [b"models:\n  - id: \xff\n", b"\xff", b"models: \x00\n", "models: \ud7ff\x01".encode()]
)
def test_bytes_that_are_no_text(raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused) as refused:
        of_file(tmp_path / "models.yaml", raw, Settings())
    assert refused.value.line == raw.count(b"\n", 0, raw.find(b"\xff") + 1) + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models:\n  - modle: starter\n", "Did you mean `model`?"),
        ("models:\n  - frobnicate: 1\n", "Known: id, model, engine"),
        ("models:\n  - engine: tensorrt\n", "'llama_cpp', 'onnx' or 'echo'"),
        ("models:\n  - model: /nowhere/x.gguf\n", "There is no model at /nowhere/x.gguf."),
        ("models: []\n", "at least 1 item"),
        ("models:\n  - {engine: echo, slots: 99}\n", "`slots` should be less than or equal to 64"),
    ],
)
def test_the_reason_names_the_remedy(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused) as refused:
        of_file(tmp_path / "models.yaml", text.encode(), Settings())
    assert said in refused.value.message


def test_a_file_that_goes_away_changes_nothing(open_server: Open) -> None:
    with open_server(GOOD) as server:
        server.path.unlink()
        answer = server.http.post("/admin/reload")
        assert (answer.status_code, answer.json()["error"]["line"]) == (400, 1)
        assert server.say("first").status_code == 200


def test_a_model_that_does_not_load_leaves_everything(
    open_server: Open, models: Path, tmp_path: Path
) -> None:
    """It looks like a model until somebody loads it."""
    wreck = tmp_path / "wreck.gguf"
    wreck.write_bytes(b"GGUF" + b"\x00" * 64)
    entries: list[dict[str, Any]] = [
        {"id": "second", "engine": "echo", "context": 512},
        {"id": "first", "engine": "llama_cpp", "model": str(wreck)},
    ]
    with open_server(GOOD) as server:
        before = server.config()
        answer = server.edit({"models": entries})
        assert answer.status_code == 400
        assert "wreck" in answer.json()["error"]["message"]
        after = server.config()
        assert {**after, "refused": None} == before
        assert server.say("one").status_code == 200
        assert len(server.app.state.catalog.engines()) == 2


def test_only_an_admin_sees_and_reloads(open_server: Open) -> None:
    with open_server(GOOD, api_key="user-key", admin_key="root-key") as server:
        for key, status in (("user-key", 403), ("other", 401), ("root-key", 200)):
            headers = {"Authorization": f"Bearer {key}"}
            assert server.http.get("/admin/config", headers=headers).status_code == status
            assert server.http.post("/admin/reload", headers=headers).status_code == status
        told = server.http.get("/admin/config", headers={"Authorization": "Bearer root-key"}).text
        assert "user-key" not in told
        assert "root-key" not in told
