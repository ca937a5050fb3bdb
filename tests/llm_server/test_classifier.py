"""Classifiers on ONNX Runtime score as transformers does."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_server.backends.onnx_classifier import OnnxClassifier
from llm_server.classifier import Classifier, Scores, Text
from llm_server.convert.encoder_build import build
from llm_server.convert.onnx_encoder import prepare_encoder
from llm_server.errors import PreparationFailed
from tests.llm_server.encoders import FAMILIES, EncoderCheckpoint

TEXTS: list[Text] = [
    "How many days of leave are left?",
    ("refunds", "Refunds are made within 14 days."),
    "naïve résumé",
    ("a question " * 9, "an answer that is much too long for the model " * 20),
    "the dog " * 200,
    ("", "Orders leave the warehouse."),
]


@pytest.mark.parametrize("family", FAMILIES)
async def test_scores_are_those_of_transformers(tmp_path: Path, family: str) -> None:
    checkpoint = EncoderCheckpoint(tmp_path / "source", family, labels=3)
    build(checkpoint.folder, tmp_path / "built")
    classifier = Classifier(OnnxClassifier(tmp_path / "built", threads=1))
    expected = checkpoint.scores(TEXTS)
    assert expected.std(axis=0).min() > 0.05
    scored = await classifier.classify(TEXTS)
    assert np.abs(scored.values - expected).max() < 2e-5
    alone = [(await classifier.classify([text])).values[0] for text in TEXTS]
    assert np.abs(scored.values - alone).max() < 2e-5
    assert classifier.model.max_tokens == 64
    assert classifier.model.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    classifier.close()


async def test_many_texts_come_back_in_their_order(tmp_path: Path) -> None:
    checkpoint = EncoderCheckpoint(tmp_path / "source", "bert", labels=2)
    build(checkpoint.folder, tmp_path / "built")
    classifier = Classifier(OnnxClassifier(tmp_path / "built", threads=1))
    texts = [f"orders above {n} euros " * (n * 7 % 11 + 1) for n in range(150)]
    scored = await classifier.classify(texts)
    assert np.abs(scored.values - checkpoint.scores(texts)).max() < 2e-5
    assert scored.tokens == sum(len(checkpoint.tokenizer.encode(text).ids) for text in texts)
    classifier.close()


def test_labels_and_length_are_the_checkpoints_own(tmp_path: Path) -> None:
    checkpoint = EncoderCheckpoint(tmp_path / "source", "distilbert", labels=2)
    config = json.loads((checkpoint.folder / "config.json").read_text())
    config["id2label"] = {"0": "refund", "1": "greeting"}
    (checkpoint.folder / "config.json").write_text(json.dumps(config))
    (checkpoint.folder / "tokenizer_config.json").write_text('{"model_max_length": 24}')
    folder = prepare_encoder(checkpoint.folder, "intents", tmp_path, "scores")
    stamp = folder.stat().st_mtime_ns
    assert prepare_encoder(checkpoint.folder, "intents", tmp_path, "scores").stat().st_mtime_ns == stamp
    model = OnnxClassifier(folder, threads=1)
    assert (model.labels, model.max_tokens) == (("refund", "greeting"), 24)
    assert model.scores(["the dog " * 50]).tokens == 24
    model.close()


def test_what_has_no_classifier_is_refused_with_the_reason(tmp_path: Path) -> None:
    checkpoint = EncoderCheckpoint(tmp_path / "source", "bert", labels=2)
    config = json.loads((checkpoint.folder / "config.json").read_text())
    for changes, reason in (
        ({"model_type": "roberta"}, "no tensor"),
        ({"model_type": "modernbert"}, "is a modernbert"),
        ({"hidden_act": "silu"}, "with silu"),
        ({"position_embedding_type": "relative_key"}, "absolute positions"),
    ):
        (checkpoint.folder / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(PreparationFailed, match=reason):
            build(checkpoint.folder, tmp_path / "built")
    with pytest.raises(PreparationFailed, match="absolute positions"):
        prepare_encoder(checkpoint.folder, "odd", tmp_path / "out", "scores")
    assert list((tmp_path / "out").iterdir()) == []


async def test_the_event_loop_goes_on_while_texts_are_read() -> None:
    class Patient:
        """Scores when it is told to."""

        labels = ("one",)
        max_tokens = 1

        def __init__(self) -> None:
            self.told = threading.Event()

        def scores(self, texts: Sequence[Text]) -> Scores:
            assert self.told.wait(60)
            return Scores(np.zeros((len(texts), 1), np.float32), 0)

        def close(self) -> None:
            """Nothing is held."""

    model = Patient()
    classifier = Classifier(model)
    running = asyncio.ensure_future(classifier.classify(["a"]))
    await asyncio.sleep(0)
    model.told.set()
    assert (await running).values.shape == (1, 1)
    classifier.close()
