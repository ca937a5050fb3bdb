"""An adapter on the embedded model has every help that the model itself has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock

from llm_server.convert.prepare import STARTER_ID, prepare_chat
from llm_server.settings import STARTER as STARTER_MODEL
from llm_server.settings import Settings
from tests.llm_server.adapters.making import STARTER, make_adapter
from tests.llm_server.conftest import serving

NAME = f"{STARTER_ID}:mild"
RESULT = "Name | total\nQueen of Ice | 25.5\nThe 3 Who | 11\n(2 rows)"


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = make_adapter(tmp_path_factory.mktemp("small") / "mild", 1, sizes=STARTER, size=0.01)
    with FileLock(models / "lock"):
        prepare_chat(STARTER_MODEL, models, "q8_0")
    settings = Settings(
        model=STARTER_MODEL, data=models, embeddings=False, threads=1, adapter_folders=str(folder.parent)
    )
    with (
        serving(settings) as url,
        httpx.Client(base_url=f"{url}/v1", timeout=120, trust_env=False) as client,
    ):
        body = {"name": "mild", "source": {"path": str(folder)}}
        loaded = client.post("/adapters", params={"wait": "true"}, json=body)
        assert loaded.status_code == 201, loaded.text
        yield client


def test_its_card_lists_the_same_extensions(server: httpx.Client) -> None:
    cards = {card["id"]: card for card in server.get("/models").json()["data"]}
    assert cards[NAME]["extensions"] == cards[STARTER_ID]["extensions"]
    assert {"x-sql", "x-sql-values", "grounding", "grounding-cells"} <= set(cards[NAME]["extensions"])
    assert server.get(f"/models/{NAME}").json()["extensions"] == cards[NAME]["extensions"]


def said(server: httpx.Client, model: str, seed: int, **more: Any) -> str:
    """A wild answer about a result."""
    ask = [
        {"role": "user", "content": "who leads?"},
        {"role": "tool", "tool_call_id": "x", "content": RESULT},
    ]
    body = {"model": model, "messages": ask, "temperature": 2, "seed": seed, "max_tokens": 60, **more}
    answer = server.post("/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"] or "")


def foreign(text: str) -> set[str]:
    """Numbers that the result does not have."""
    return set(re.findall(r"\d+", text)) - {"25", "5", "3", "11", "2"}


def test_its_figures_are_held_to_the_cells_of_a_result(server: httpx.Client) -> None:
    free = [said(server, NAME, seed) for seed in range(6)]
    held = [said(server, NAME, seed, grounding="cells") for seed in range(6)]
    assert set().union(*map(foreign, free))
    assert not set().union(*map(foreign, held))
