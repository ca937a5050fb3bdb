"""Sentence-embedding models of any folder give the vectors of sentence-transformers."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from llm_server.catalog import EmbeddingModelEntry
from llm_server.config.resolve import of_file, read_config
from llm_server.convert.sentence import Pooling, Sentence, read_sentence
from llm_server.errors import ConfigRefused, PreparationFailed
from llm_server.load import load_encoder
from llm_server.settings import Settings
from tests.llm_server.conftest import serving
from tests.llm_server.encoders import EncoderCheckpoint

TEXTS = [
    "How many days of leave are left?",
    "naïve résumé",
    "the dog " * 200,
    "Refunds are made within 14 days.",
]
SENTENCE_NAMES = {"mean": "mean", "cls": "cls", "last": "lasttoken", "max": "max"}
EXACT = 2e-5


class SentenceCheckpoint:
    """A small random model as sentence-transformers writes it, and the vectors that it makes of texts."""

    def __init__(self, folder: Path, family: str, pooling: Pooling, prompts: dict[str, str]) -> None:
        source = EncoderCheckpoint(folder / "layers", family, labels=2).folder
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **special}
        (source / "tokenizer_config.json").write_text(json.dumps(settings))
        with warnings.catch_warnings():
            # Deprecations inside these libraries are not ours.
            warnings.simplefilter("ignore")
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer import modules

            parts: Any = modules
            layers = parts.Transformer(str(source), max_seq_length=40)
            pool = parts.Pooling(64, pooling_mode=SENTENCE_NAMES[pooling])
            self._model: Any = SentenceTransformer(modules=[layers, pool], prompts=prompts, device="cpu")
            self.folder = folder / family
            self._model.save(str(self.folder))

    def vectors(self, texts: list[str], *, normalise: bool = True, **how: str) -> NDArray[np.float32]:
        """[texts, 64], one text after the other."""
        rows = [self._model.encode(text, normalize_embeddings=normalise, **how) for text in texts]
        return np.stack(rows).astype(np.float32)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
async def test_vectors_are_those_of_sentence_transformers(
    tmp_path: Path, family: str, pooling: Pooling
) -> None:
    checkpoint = SentenceCheckpoint(tmp_path / "source", family, pooling, {})
    settings = Settings(data=tmp_path / "data", embeddings=str(checkpoint.folder), threads=1)
    (spec,) = read_config(settings).encoders
    entry = load_encoder(spec, settings, print)
    assert isinstance(entry, EmbeddingModelEntry)
    (raw,) = of_file(
        tmp_path / "models.yaml",
        b"{models: [{engine: echo}], embeddings: [{model: source/%b, normalise: false}]}" % family.encode(),
        settings,
    ).encoders
    unscaled = load_encoder(raw, settings, print)
    assert isinstance(unscaled, EmbeddingModelEntry)
    vectors = (await entry.embedder.embed(TEXTS)).vectors
    assert np.abs(vectors - checkpoint.vectors(TEXTS)).max() < EXACT
    own = (await unscaled.embedder.embed(TEXTS)).vectors
    assert np.abs(own - checkpoint.vectors(TEXTS, normalise=False)).max() < EXACT * np.abs(own).max()
    assert np.abs(vectors[0] - vectors[3]).max() > 0.01
    assert (entry.card()["max_model_len"], entry.id) == (40, family)
    entry.close()
    unscaled.close()


@pytest.fixture(scope="module")
def e5(tmp_path_factory: pytest.TempPathFactory) -> SentenceCheckpoint:
    prompts = {"query": "query: ", "document": "passage: "}
    return SentenceCheckpoint(tmp_path_factory.mktemp("e5"), "xlm-roberta", "mean", prompts)


@pytest.fixture(scope="module")
def served(e5: SentenceCheckpoint) -> Iterator[httpx.Client]:
    """Two embedders under names of their own, one with other prefixes than its folder's."""
    folder = e5.folder.parent
    other = {
        "id": "other",
        "model": e5.folder.name,
        "pooling": "cls",
        "query_prefix": "leave ",
        "max_tokens": 9,
    }
    config = {"models": [{"engine": "echo"}], "embeddings": [{"id": "e5", "model": e5.folder.name}, other]}
    (folder / "models.yaml").write_text(json.dumps(config))
    settings = Settings(config=folder / "models.yaml", data=folder / "data", threads=1)
    with serving(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def embedded(client: httpx.Client, model: str, kind: str | None = None) -> NDArray[np.float32]:
    body = {"model": model, "input": TEXTS, **({"input_type": kind} if kind else {})}
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return np.array([entry["embedding"] for entry in answer.json()["data"]], np.float32)


def test_queries_and_passages_have_the_models_prefixes(served: httpx.Client, e5: SentenceCheckpoint) -> None:
    for kind, name in (("query", "query"), ("search_query", "query"), ("passage", "document")):
        assert np.abs(embedded(served, "e5", kind) - e5.vectors(TEXTS, prompt_name=name)).max() < EXACT
    plain = embedded(served, "e5")
    assert np.abs(plain - e5.vectors(TEXTS)).max() < EXACT
    assert np.abs(plain - embedded(served, "e5", "query")).max() > 0.01
    refused = served.post("/v1/embeddings", json={"model": "e5", "input": "x", "input_type": "poem"})
    assert refused.status_code == 400


def test_the_file_says_what_the_folder_does_not(served: httpx.Client) -> None:
    cards = {card["id"]: card for card in served.get("/v1/models").json()["data"]}
    assert cards["e5"]["prefixes"] == {"query": "query: ", "passage": "passage: "}
    assert cards["other"]["prefixes"] == {"query": "leave ", "passage": "passage: "}
    assert (cards["e5"]["max_model_len"], cards["other"]["max_model_len"]) == (40, 9)
    assert "all-minilm-l6-v2" not in cards
    texts = {"model": "other", "input": ["leave How many?"]}
    said = served.post("/v1/embeddings", json=texts).json()
    asked = served.post(
        "/v1/embeddings", json={"model": "other", "input": ["How many?"], "input_type": "query"}
    ).json()
    assert np.allclose(said["data"][0]["embedding"], asked["data"][0]["embedding"], atol=1e-6)


def test_reranking_reads_a_query_and_passages(served: httpx.Client, e5: SentenceCheckpoint) -> None:
    body = {"model": "e5", "query": TEXTS[0], "documents": TEXTS[1:]}
    results = served.post("/v1/rerank", json=body).json()["results"]
    wanted = e5.vectors(TEXTS[1:], prompt_name="document") @ e5.vectors(TEXTS[:1], prompt_name="query")[0]
    for result in results:
        assert abs(result["relevance_score"] - wanted[result["index"]]) < 1e-4


def test_the_embedded_model_stays_beside_others(e5: SentenceCheckpoint) -> None:
    for text in (f"all-minilm-l6-v2, {e5.folder}", f"{e5.folder},sentence-transformers/all-MiniLM-L6-v2"):
        found = {spec.id: spec.model for spec in read_config(Settings(embeddings=text)).encoders}
        assert found == {"all-minilm-l6-v2": "all-minilm-l6-v2", "xlm-roberta": str(e5.folder)}
    assert not read_config(Settings(embeddings=False)).embeddings
    with pytest.raises(PreparationFailed, match="no model at /nowhere"):
        read_config(Settings(embeddings="/nowhere"))


def test_environment_words_are_yes_and_no(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, wanted in (("false", False), ("0", False), ("TRUE", True), ("models/e5", "models/e5")):
        monkeypatch.setenv("LLM_EMBEDDINGS", word)
        assert Settings().embeddings == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("embeddings: [{model: NOWHERE}]", "neither `starter`"),
        ("embeddings: /nowhere/e5", "no model at /nowhere/e5"),
        ("embeddings: [{model: FOLDER, poolin: cls}]", "Did you mean `pooling`"),
        ("embeddings: [{model: FOLDER, pooling: median}]", "'mean', 'cls', 'last' or 'max'"),
        ("embeddings: [FOLDER, FOLDER]", "belongs to embeddings.0 already"),
        ("embeddings: [all-minilm-l6-v2, all-minilm-l6-v2]", "belongs to"),
        ("embeddings: 3", "true, false, a model or a list of models"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(e5: SentenceCheckpoint, text: str, said: str) -> None:
    folder = e5.folder.parent
    raw = "models: [{engine: echo}]\n" + text.replace("FOLDER", e5.folder.name).replace("NOWHERE", "no name")
    with pytest.raises(ConfigRefused) as refusal:
        of_file(folder / "models.yaml", raw.encode(), Settings())
    assert said in refusal.value.reason
    assert refusal.value.line == 2


def test_steps_that_are_not_computed_are_refused(tmp_path: Path, e5: SentenceCheckpoint) -> None:
    def folder(modules: list[str], **pooling: object) -> Path:
        place = tmp_path / "odd"
        (place / "1_Pooling").mkdir(parents=True, exist_ok=True)
        steps = [
            {"type": f"sentence_transformers.models.{m}", "path": f"{i}_{m}"} for i, m in enumerate(modules)
        ]
        (place / "modules.json").write_text(json.dumps(steps))
        (place / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        return place

    with pytest.raises(PreparationFailed, match="Dense"):
        read_sentence(folder(["Transformer", "Pooling", "Dense"]), Sentence())
    odd = folder(["Transformer", "Pooling"], pooling_mode_weightedmean_tokens=True)
    with pytest.raises(PreparationFailed, match="weightedmean"):
        read_sentence(odd, Sentence())
    assert read_sentence(odd, Sentence(pooling="cls")).pooling == "cls"
    old = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    assert read_sentence(folder(["Transformer", "Pooling"], **old), Sentence()).head == "cls"
    assert read_sentence(tmp_path, Sentence(normalise=False)).head == "mean-raw"
