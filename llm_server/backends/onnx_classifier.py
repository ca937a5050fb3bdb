"""Sequence classifiers on ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path

from llm_server.backends.onnx_encoder import OnnxEncoder
from llm_server.backends.onnx_graph import Provider
from llm_server.classifier import Scores, Text


class OnnxClassifier:
    """An encoder whose graph ends in a classifier."""

    def __init__(self, folder: Path, threads: int | None = None, provider: Provider = "cpu") -> None:
        self._encoder = OnnxEncoder(folder, threads, provider)
        self.labels = self._encoder.description.labels
        self.max_tokens = self._encoder.description.max_tokens

    def scores(self, texts: Sequence[Text]) -> Scores:
        """As many texts in one run as fit."""
        batch = [self._encoder.read(*((text,) if isinstance(text, str) else text)) for text in texts]
        return Scores(self._encoder.run(batch), sum(len(reading.tokens) for reading in batch))

    def close(self) -> None:
        """Free the session."""
        self._encoder.close()
