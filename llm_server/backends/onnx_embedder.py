"""Sentence embeddings on ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_server.backends.onnx_encoder import OnnxEncoder, Reading
from llm_server.backends.onnx_graph import Provider


class OnnxEmbedding:
    """An encoder whose graph ends in one vector a text."""

    def __init__(self, folder: Path, threads: int | None = None, provider: Provider = "cpu") -> None:
        self._encoder = OnnxEncoder(folder, threads, provider)
        self.dimensions = self._encoder.description.size
        self.max_tokens = self._encoder.description.max_tokens
        self.size = self._encoder.vocabulary

    def tokens(self, text: str) -> list[int]:
        """[CLS] ... [SEP], cut at `max_tokens`."""
        return list(self._encoder.read(text).tokens)

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors, as many texts in one run as fit."""
        return self._encoder.run([Reading(tokens) for tokens in batch])

    def close(self) -> None:
        """Free the session."""
        self._encoder.close()
