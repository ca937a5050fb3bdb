"""Reranking with the embedding model or a cross-encoder, in the shapes that clients read."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from llm_server.classifier import Classifier, Scores
from llm_server.embedder import EchoEmbedding, Embedder
from llm_server.reranker import BiEncoder, CrossEncoder
from llm_server.settings import Settings
from tests.llm_server.conftest import USER, serving
from tests.llm_server.encoders import EncoderCheckpoint

QUERY = "how many days of leave"
DOCUMENTS = ["the tax law of 2020", "leave: how many days", "days of rain", "how many days of leave"]
HEADERS = {"authorization": f"Bearer {USER}"}


def post(url: str, path: str = "/v1/rerank", **body: Any) -> httpx.Response:
    whole = {"model": "all-minilm-l6-v2", "query": QUERY, "documents": DOCUMENTS, **body}
    return httpx.post(f"{url}{path}", json=whole, headers=HEADERS)


async def test_scores_are_cosines_in_the_order_of_the_documents() -> None:
    embedder = Embedder(EchoEmbedding())
    relevance = await BiEncoder(embedder).score(QUERY, DOCUMENTS)
    assert relevance.scores[3] == pytest.approx(1, abs=1e-5)
    assert relevance.scores[3] > relevance.scores[1] > relevance.scores[2] > relevance.scores[0]
    assert relevance.tokens == 5 + 5 + 4 + 3 + 5


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_best_first_under_both_names(echo_url: str, path: str) -> None:
    answer = post(echo_url, path).json()
    assert [result["index"] for result in answer["results"]] == [3, 1, 2, 0]
    assert answer["data"] == answer["results"]
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert "document" not in answer["results"][0]
    assert answer["usage"] == {"prompt_tokens": 22, "total_tokens": 22}


def test_the_best_few_with_their_text(echo_url: str) -> None:
    documents = [{"text": text, "title": "x"} for text in DOCUMENTS]
    answer = post(echo_url, documents=documents, top_n=2, return_documents=True).json()
    assert [result["document"]["text"] for result in answer["results"]] == [DOCUMENTS[3], DOCUMENTS[1]]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": [{"title": "x"}]}, "documents"),
        ({"query": ""}, "query"),
        ({"top_n": 0}, "top_n"),
        ({"model": "echo"}, "model"),
    ],
)
def test_what_cannot_be_ranked_names_the_field(echo_url: str, wrong: dict[str, Any], param: str) -> None:
    answer = post(echo_url, **wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_cross_encoder_ranks_as_transformers_does(tmp_path: Path) -> None:
    checkpoint = EncoderCheckpoint(tmp_path / "tiny-cross-encoder", "bert", labels=1)
    settings = Settings(backend="echo", data=tmp_path, reranker=str(checkpoint.folder), threads=1)
    with serving(settings) as url:
        cards = {card["id"]: card for card in httpx.get(f"{url}/v1/models").json()["data"]}
        answer = post(url, model="tiny-cross-encoder").json()
        cosine = post(url).json()
        refused = [
            httpx.post(f"{url}/v1/{path}", json={"model": "tiny-cross-encoder", **body})
            for path, body in (
                ("embeddings", {"input": "x"}),
                ("chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
            )
        ]
    logits = checkpoint.scores([(QUERY, document) for document in DOCUMENTS])[:, 0]
    expected = 1 / (1 + np.exp(-logits))
    found = {result["index"]: result["relevance_score"] for result in answer["results"]}
    assert [found[i] for i in range(4)] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [result["index"] for result in answer["results"]] == np.argsort(-expected).tolist()
    assert answer["model"] == "tiny-cross-encoder"
    assert cards["tiny-cross-encoder"]["capabilities"] == ["rerank"]
    assert cosine["model"] == "all-minilm-l6-v2"
    assert [result["index"] for result in cosine["results"]] == [3, 1, 2, 0]
    assert [answer.status_code for answer in refused] == [400, 400]
    assert "ranks documents only" in refused[1].text


async def test_scores_far_below_zero_are_zero() -> None:
    class Certain:
        """Nothing answers anything."""

        labels = ("one",)
        max_tokens = 1

        def scores(self, texts: object) -> Scores:
            return Scores(np.array([[-1e4], [1e4]], np.float32), 2)

        def close(self) -> None:
            """Nothing is held."""

    classifier = Classifier(Certain())
    relevance = await CrossEncoder(classifier).score("x", ["a", "b"])
    assert relevance.scores == [0.0, 1.0]
    classifier.close()
