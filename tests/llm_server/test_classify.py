"""Classifiers and rerankers of the models' file, over HTTP."""

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from llm_server.settings import Settings
from tests.llm_server.conftest import ADMIN, serving
from tests.llm_server.encoders import EncoderCheckpoint

TEXTS = ["How many days of leave are left?", "Refunds are made within 14 days.", "hello"]
CHAT: dict[str, Any] = {"id": "writer", "engine": "echo"}
HEADERS = {"authorization": f"Bearer {ADMIN}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def intent(folder: Path) -> EncoderCheckpoint:
    return EncoderCheckpoint(folder / "intent", "distilbert", labels=3)


@pytest.fixture(scope="module")
def judge(folder: Path) -> EncoderCheckpoint:
    return EncoderCheckpoint(folder / "judge", "bert", labels=1)


def written(folder: Path, **more: Any) -> Path:
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump({"models": [CHAT], "embeddings": False, **more}))
    return path


def expected(checkpoint: EncoderCheckpoint) -> Any:
    scores = np.exp(checkpoint.scores(list(TEXTS)).astype(np.float64))
    return scores / scores.sum(axis=1, keepdims=True)


def test_the_file_of_models_names_classifiers_and_a_reranker(
    folder: Path, intent: EncoderCheckpoint, judge: EncoderCheckpoint
) -> None:
    path = written(
        folder,
        reranker="judge",
        classifiers=[{"id": "routes", "model": "intent", "aliases": ["intent-classifier"]}],
    )
    settings = Settings(backend="echo", data=folder / "data", config=path, admin_key=ADMIN, threads=1)
    with serving(settings) as url, httpx.Client(base_url=url, headers=HEADERS, timeout=60) as http:
        cards = {card["id"]: card for card in http.get("/v1/models").json()["data"]}
        assert cards["judge"]["capabilities"] == ["rerank"]
        assert cards["routes"]["capabilities"] == ["classify"]
        assert cards["routes"]["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"]

        for name in ("routes", "intent-classifier"):
            answer = http.post("/v1/classify", json={"model": name, "input": TEXTS}).json()
            assert answer["model"] == "routes"
            shares = [result["probs"] for result in answer["data"]]
            assert np.abs(np.array(shares) - expected(intent)).max() < 1e-5
            for result, row in zip(answer["data"], shares, strict=True):
                assert result["label"] == f"LABEL_{int(np.argmax(row))}"
                assert result["num_classes"] == 3
                assert list(result["scores"].values()) == row
        alone = http.post("/v1/classify", json={"model": "routes", "input": TEXTS[0]}).json()
        assert alone["data"][0]["probs"] == pytest.approx(shares[0], abs=1e-5)
        assert alone["usage"]["prompt_tokens"] > 0

        body = {"model": "judge", "query": TEXTS[0], "documents": TEXTS}
        assert len(http.post("/v1/rerank", json=body).json()["results"]) == 3

        wrong = [
            ("/v1/classify", {"model": "judge", "input": "x"}, "no classifier"),
            ("/v1/classify", {"model": "routes", "input": []}, "Between 1 and"),
            (
                "/v1/chat/completions",
                {"model": "routes", "messages": [{"role": "user", "content": "x"}]},
                "class",
            ),
            ("/v1/rerank", {**body, "model": "routes"}, "no embeddings"),
        ]
        for route, content, said in wrong:
            refused = http.post(route, json=content)
            assert refused.status_code == 400, refused.text
            assert said in refused.json()["error"]["message"]

        # An edit takes one away, and leaves the other as it is.
        written(folder, classifiers=[{"id": "routes", "model": "intent"}])
        change = http.post("/admin/reload").json()
        assert change["removed"] == ["judge"]
        assert {"id": "routes", "task": "classify"}.items() <= http.get("/admin/config").json()["encoders"][
            0
        ].items()
        assert http.post("/v1/rerank", json=body).status_code == 404
        assert http.post("/v1/classify", json={"model": "routes", "input": "x"}).status_code == 200


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"classifiers": [{"model": "no/such/place/here"}]}, "no/such/place"),
        ({"classifiers": [{"id": "x"}]}, "`model` is missing"),
        ({"classifiers": [{"model": "intent", "lables": 1}]}, "`lables` is not known here"),
        ({"classifiers": [{"id": "writer", "model": "intent"}]}, "belongs to models.0 already"),
        ({"reranker": "intent"}, "3 labels"),
        ({"reranker": "./nowhere"}, "There is no model at"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    folder: Path, intent: EncoderCheckpoint, more: dict[str, Any], said: str
) -> None:
    path = written(folder)
    settings = Settings(backend="echo", data=folder / "data", config=path, threads=1)
    with serving(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        written(folder, **more)
        refused = http.post("/admin/reload")
        assert refused.status_code == 400, refused.text
        assert refused.json()["error"]["line"] > 1
        assert said in refused.json()["error"]["message"]
        body = {"model": "writer", "messages": [{"role": "user", "content": "still here"}]}
        assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_a_broken_tokenizer_is_refused_and_keys_are_still_followed(
    folder: Path, intent: EncoderCheckpoint, tmp_path: Path
) -> None:
    """The tokenizers raise an Exception of no further type."""
    torn = shutil.copytree(intent.folder, folder / "torn")
    text = (torn / "tokenizer.json").read_text()
    (torn / "tokenizer.json").write_text(text[: len(text) // 2])
    keys, path = tmp_path / "keys.yaml", written(folder)
    keys.write_text(yaml.safe_dump({"keys": [{"name": "old", "key": "old-key", "scopes": ["admin"]}]}))
    settings = Settings(backend="echo", data=folder / "data", config=path, keys_file=keys, threads=1)
    with serving(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        written(folder, classifiers=[{"id": "routes", "model": "torn"}])
        refused = http.post("/admin/reload", headers={"authorization": "Bearer old-key"})
        assert refused.status_code == 400, refused.text
        assert "routes cannot be loaded" in refused.json()["error"]["message"]
        time.sleep(0.5)  # the watcher has stumbled over the file by now
        keys.write_text(yaml.safe_dump({"keys": [{"name": "new", "key": "new-key"}]}))
        for _ in range(200):
            asked = http.get("/v1/models", headers={"authorization": "Bearer old-key"})
            if asked.status_code == 401:
                break
            time.sleep(0.05)
        assert asked.status_code == 401
