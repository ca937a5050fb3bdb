"""What /v1/models tells whom."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_server.settings import Settings
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving

OPERATORS = {"checkpoint", "file", "engine", "threads", "context"}


@pytest.fixture(scope="module")
def url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny model with an adapter, asked for keys."""
    early = make_adapter(tmp_path_factory.mktemp("adapters") / "early", 60)
    settings = Settings(
        model=str(models / "tiny"),
        data=tmp_path_factory.mktemp("data"),
        lora=f"first={early}",
        threads=1,
        context=256,
        api_key=USER,
        admin_key=ADMIN,
    )
    with serving(settings) as base:
        yield base


def cards(url: str, key: str) -> dict[str, dict[str, Any]]:
    answer = httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"})
    return {card["id"]: card for card in answer.json()["data"]}


def test_an_operator_sees_what_a_model_is_made_of(url: str, models: Path) -> None:
    found = cards(url, ADMIN)
    for name in ("tiny", "tiny:first"):
        card = found[name]
        assert card["checkpoint"] == str(models / "tiny")
        assert Path(card["file"]).is_file()
        assert (card["engine"], card["threads"], card["context"]) == ("llama_cpp", 1, 256)
    headers = {"authorization": f"Bearer {ADMIN}"}
    one = httpx.get(f"{url}/v1/models/tiny:first", headers=headers).json()
    assert one["parent"] == "tiny"
    assert one["file"] == found["tiny"]["file"]
    assert not OPERATORS & found["all-minilm-l6-v2"].keys()


def test_others_see_none_of_it(url: str, models: Path) -> None:
    found = cards(url, USER)
    assert {"tiny", "tiny:first", "all-minilm-l6-v2"} <= found.keys()
    assert not [name for name, card in found.items() if OPERATORS & card.keys()]
    one = httpx.get(f"{url}/v1/models/tiny", headers={"authorization": f"Bearer {USER}"}).json()
    assert not OPERATORS & one.keys()
    assert str(models) not in str(found) + str(one)


def test_a_prompt_is_what_a_chat_reads(url: str) -> None:
    """llama-server's route: the text, and its tokens are those that the chat is charged for."""
    headers = {"authorization": f"Bearer {USER}"}
    messages = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hello"}]
    prompt = httpx.post(f"{url}/apply-template", json={"messages": messages}, headers=headers).json()[
        "prompt"
    ]
    assert prompt.index("be kind") < prompt.index("hello")
    assert prompt.endswith("<|im_start|>assistant\n")
    asked = {"model": "tiny", "content": prompt}
    count = httpx.post(f"{url}/v1/tokenize", json=asked, headers=headers).json()["count"]
    body = {"model": "tiny", "messages": messages, "max_tokens": 1}
    chat = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).json()
    assert chat["usage"]["prompt_tokens"] == count
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    asked = {"model": "tiny:first", "messages": messages, "tools": [tool]}
    assert "weather" in httpx.post(f"{url}/apply-template", json=asked, headers=headers).json()["prompt"]
    wrong = httpx.post(
        f"{url}/apply-template", json={"model": "nobody", "messages": messages}, headers=headers
    )
    assert wrong.status_code == 404
