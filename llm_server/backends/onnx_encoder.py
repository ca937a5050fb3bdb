"""Encoders on ONNX Runtime: texts padded to the same length, alike lengths together."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llm_server.backends.onnx_graph import Provider, open_session
from llm_server.errors import EngineFailure, PreparationFailed

IDS, MASK, TYPES, OUTPUT = "input_ids", "attention_mask", "token_type_ids", "output"
GRAPH, WEIGHTS, DESCRIPTION, TOKENIZER = "model.onnx", "model.bin", "encoder.json", "tokenizer.json"
BATCH_TOKENS = 4096
"""Padding included."""
BATCH_TEXTS = 32


@dataclass(frozen=True, slots=True)
class Description:
    """What a folder holds."""

    size: int
    """Numbers for each text: dimensions of a vector, or labels."""
    max_tokens: int
    labels: tuple[str, ...] = ()
    """Empty for vectors."""

    def write(self, folder: Path) -> None:
        """As JSON; written last, it says that the folder is whole."""
        (folder / DESCRIPTION).write_text(json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True)
class Reading:
    """A text, or two, as an encoder reads them."""

    tokens: Sequence[int]
    types: Sequence[int] = ()
    """1 for the tokens of the second text; empty is all 0."""


class OnnxEncoder:
    """A folder of `convert.onnx_encoder`, loaded. One thread at a time calls it."""

    def __init__(self, folder: Path, threads: int | None = None, provider: Provider = "cpu") -> None:
        try:
            given = json.loads((folder / DESCRIPTION).read_text())
            self.description = Description(given["size"], given["max_tokens"], tuple(given["labels"]))
        except (OSError, ValueError, KeyError) as error:
            raise PreparationFailed(f"{folder} holds no encoder for ONNX Runtime: {error}.") from error
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.description.max_tokens)
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        self._session = open_session(folder / GRAPH, threads, provider)
        self._types = TYPES in {given.name for given in self._session.get_inputs()}

    def read(self, text: str, second: str | None = None) -> Reading:
        """Token ids with those that begin and end a text; the longer of two is cut first."""
        encoded = self._tokenizer.encode(text, second)
        return Reading(encoded.ids, encoded.type_ids)

    def run(self, batch: Sequence[Reading]) -> NDArray[np.float32]:
        """[texts, size], in the order of `batch`."""
        out = np.zeros((len(batch), self.description.size), np.float32)
        for group in _groups(batch):
            out[group] = self._run([batch[i] for i in group])
        return out

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def _run(self, group: Sequence[Reading]) -> NDArray[np.float32]:
        shape = len(group), max(len(reading.tokens) for reading in group)
        ids, mask, types = (np.zeros(shape, np.int64) for _ in range(3))
        for row, reading in enumerate(group):
            ids[row, : len(reading.tokens)] = reading.tokens
            mask[row, : len(reading.tokens)] = 1
            types[row, : len(reading.types)] = reading.types
        inputs = {IDS: ids, MASK: mask} | ({TYPES: types} if self._types else {})
        try:
            (result,) = self._session.run([OUTPUT], inputs)
        except Exception as error:  # the library has no base class of its own
            raise EngineFailure(f"ONNX Runtime failed: {error}") from error
        return np.asarray(result, np.float32)


def _groups(batch: Sequence[Reading]) -> Iterator[list[int]]:
    """Indexes of texts that go through together. In the order of lengths, so that little is padded."""
    group: list[int] = []
    for i in sorted(range(len(batch)), key=lambda i: len(batch[i].tokens)):
        if group and (len(batch[i].tokens) * (len(group) + 1) > BATCH_TOKENS or len(group) == BATCH_TEXTS):
            yield group
            group = []
        group.append(i)
    if group:
        yield group
