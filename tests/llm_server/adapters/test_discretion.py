"""What a key with scope inference, limited or not, learns about adapters and about the server's disk."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from llm_server.adapters.convert import Converter
from llm_server.settings import Settings
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving

LIMITED = "of-one-adapter-only"
KEYS = [{"name": "limited", "key": LIMITED, "models": ["tiny-f16:mine"]}]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home-of-somebody")


@pytest.fixture(scope="module")
def url(home: Path, models: Path, tiny: Callable[[str], Path]) -> Iterator[str]:
    """Two adapters, and a third one that was refused."""
    (home / "keys.yaml").write_text(yaml.safe_dump({"keys": KEYS}))
    made = {name: _gguf(home, models, name, seed) for seed, name in enumerate(("mine", "theirs"))}
    (home / "broken.gguf").write_bytes(b"GGUF not at all")
    options: dict[str, Any] = {"api_key": USER, "admin_key": ADMIN, "embeddings": False, "threads": 1}
    settings = Settings(
        model=str(tiny("f16")),
        data=home / "data",
        keys_file=home / "keys.yaml",
        adapter_folders=str(home),
        **options,
    )
    with serving(settings) as base:
        for name, path in {**made, "bad": home / "broken.gguf"}.items():
            body = {"name": name, "source": str(path)}
            with get(base, ADMIN) as http:
                answer = http.post("/v1/adapters?wait=true", json=body)
            assert answer.status_code == (422 if name == "bad" else 201), answer.text
        yield base


def _gguf(home: Path, models: Path, name: str, seed: int) -> Path:
    converter = Converter()
    try:
        converter.convert(make_adapter(home / f"peft-{name}", seed), models / "tiny", home / f"{name}.gguf")
    finally:
        converter.close()
    return home / f"{name}.gguf"


def get(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=60)


def test_metrics_name_only_what_a_key_may_use(url: str) -> None:
    with get(url, LIMITED) as limited, get(url, USER) as user:
        seen, everything = limited.get("/metrics").text, user.get("/metrics").text
    assert 'adapter="mine"' in seen
    assert "theirs" not in seen
    assert "llm_slots_busy{" not in seen
    assert "llm_adapter_load_seconds_total{" not in seen
    assert "llm_generated_tokens_total" in seen
    assert 'adapter="theirs"' in everything
    assert 'llm_slots_busy{model="tiny-f16"}' in everything
    assert 'llm_adapter_load_seconds_total{model="tiny-f16"}' in everything


@pytest.mark.parametrize("key", [USER, LIMITED])
def test_paths_are_for_operators(url: str, home: Path, key: str) -> None:
    with get(url, key) as http:
        told = [
            http.get(path).text
            for path in ("/v1/adapters", "/v1/adapters/mine", "/v1/adapters/mine@stable", "/lora-adapters")
        ]
        with http.stream("GET", "/v1/adapters/events") as events:
            for line in events.iter_lines():
                told.append(line)
                if line.startswith("data: ") and (
                    key == LIMITED or json.loads(line[6:])["event"] == "failed"
                ):
                    break
    assert "mine" in told[0]
    assert not [text for text in told if home.name in text]


def test_a_refusal_tells_its_code_only(url: str, home: Path) -> None:
    with get(url, USER) as user, get(url, ADMIN) as admin:
        (mine,) = user.get("/v1/adapters/bad").json()["versions"]
        (whole,) = admin.get("/v1/adapters/bad").json()["versions"]
        paths = [row["path"] for row in admin.get("/lora-adapters").json()]
    assert mine["error"] == {"code": whole["error"]["code"]}
    assert "source" not in mine
    assert whole["source"] == str(home / "broken.gguf")
    assert whole["error"]["message"]
    assert paths == [str(home / f"{name}.gguf") for name in ("mine", "theirs")]
