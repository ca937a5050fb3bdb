"""Which routes of another server are asked, and what a client hears where it has none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_server.config.resolve import of_file
from llm_server.config.schema import PRESETS
from llm_server.errors import ConfigRefused
from llm_server.settings import Settings
from tests.llm_server.upstreams.scripted import scripted
from tests.llm_server.upstreams.test_forward import far

ASKED: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/rerank", {"query": "q", "documents": ["a"]}, "/v1/rerank"),
    ("/v1/fim/completions", {"prompt": "a", "suffix": "b"}, "/v1/fim/completions"),
    ("/infill", {"input_prefix": "a", "input_suffix": "b"}, "/infill"),
]


@pytest.mark.parametrize(("path", "body", "there_path"), ASKED)
def test_ranks_and_text_in_the_middle_are_passed_on(
    front: Callable[..., Any], path: str, body: dict[str, Any], there_path: str
) -> None:
    with scripted() as there, front(far({"url": there.url, "model": "m"})) as server:
        answer = server.http.post(path, json={"model": "far", **body})
        assert answer.json() == {"object": "scripted"}
        assert there.asked == [{**body, "model": "m"}]
        assert there.paths == [there_path]


@pytest.mark.parametrize(("path", "body", "there_path"), ASKED)
def test_a_server_without_the_route(
    front: Callable[..., Any], path: str, body: dict[str, Any], there_path: str
) -> None:
    with scripted(status=404) as there, front(far({"url": there.url})) as server:
        answer = server.http.post(path, json={"model": "far", **body})
        assert answer.status_code == 404
        assert f"it may have no {there_path}" in answer.json()["error"]["message"]


def test_ranks_of_a_real_server(front: Callable[..., Any], other: str) -> None:
    entry = far({"url": other, "key_env": "OTHER_KEY", "model": "all-minilm-l6-v2"})
    with front(entry) as server:
        body = {"model": "far", "query": "days of leave", "documents": ["tax", "days of leave"]}
        assert server.http.post("/v1/rerank", json=body).json()["results"][0]["index"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/tokenize", {"content": "x"}),
        ("/v1/responses/input_tokens", {"input": "x"}),
    ],
)
def test_a_route_that_needs_the_model_here_is_named(
    front: Callable[..., Any], path: str, body: dict[str, Any]
) -> None:
    with scripted() as there, front(far({"url": there.url})) as server:
        answer = server.http.post(path, json={"model": "far", **body})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "unsupported_route"
        assert error["message"].startswith(f"{path} is for models of this server")
        assert not there.asked


WELL_KNOWN = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "vllm": ("http://127.0.0.1:8000/v1", None),
    "llama_server": ("http://127.0.0.1:8080/v1", None),
    "ollama": ("http://127.0.0.1:11434/v1", None),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_its_address_and_the_variable_of_its_key(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, variable = WELL_KNOWN[preset]
    file = tmp_path / "models.yaml"
    raw = yaml.safe_dump({"models": [far({"preset": preset, "model": "m"})]}).encode()
    settings = Settings(backend="echo", data=tmp_path)
    if variable is not None:
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(ConfigRefused, match=f"{variable} is not set"):
            of_file(file, raw, settings)
        monkeypatch.setenv(variable, f"key-of-{preset}")
    ((server,),) = [spec.servers for spec in of_file(file, raw, settings).upstreams]
    assert (server.url, server.model) == (url, "m")
    assert server.key == (None if variable is None else f"key-of-{preset}")
