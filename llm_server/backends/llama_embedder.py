"""Sentence embeddings from a BERT model in a GGUF file: mean over the tokens, length 1."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llm_server.backends.llama_batch import LlamaBatch
from llm_server.backends.llama_cpp import load_model
from llm_server.engine.backend import Chunk
from llm_server.errors import EngineFailure, PreparationFailed

BATCH_TOKENS = 2048
BATCH_TEXTS = 32


class LlamaEmbedding:
    """An encoder with a context of its own. The tokenizer is the model's own file, not llama.cpp's
    rewriting of it.
    """

    def __init__(
        self, path: Path, tokenizer: Path, max_tokens: int = 256, threads: int | None = None
    ) -> None:
        self._model = load_model(path)
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self.max_tokens = max_tokens
        self.size: int = self._tokenizer.get_vocab_size()
        self.dimensions = int(llama.llama_model_n_embd(self._model))
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = BATCH_TEXTS
        params.kv_unified = True
        params.embeddings = True
        params.pooling_type = llama.LLAMA_POOLING_TYPE_MEAN
        params.n_threads = params.n_threads_batch = threads or os.cpu_count() or 1
        self._context = llama.llama_init_from_model(self._model, params)
        if not self._context:
            raise PreparationFailed("No memory for the embedding model.")
        self._batch = LlamaBatch(BATCH_TOKENS)

    def tokens(self, text: str) -> list[int]:
        """[CLS] ... [SEP], cut at `max_tokens`."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors, as many texts in one pass as fit."""
        out = np.zeros((len(batch), self.dimensions), np.float32)
        for group in _groups(batch):
            self._run([batch[i] for i in group])
            for row, i in enumerate(group):
                pointer = llama.llama_get_embeddings_seq(self._context, row)
                if not pointer:
                    raise EngineFailure("The embedding model returned nothing.")
                vector = np.ctypeslib.as_array(pointer, shape=(self.dimensions,))
                out[i] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return out

    def close(self) -> None:
        """Free context and model."""
        if self._context is not None:
            llama.llama_free(self._context)
            llama.llama_model_free(self._model)
            self._context = None

    def _run(self, group: Sequence[Sequence[int]]) -> None:
        self._batch.fill([Chunk(row, 0, tokens, True) for row, tokens in enumerate(group)])
        self._batch.want_all()
        status = llama.llama_encode(self._context, self._batch.native)
        if status != 0:
            raise EngineFailure(f"llama_encode returned {status}.")


def _groups(batch: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indexes of texts that go through together; alike lengths stay near each other."""
    group: list[int] = []
    total = 0
    for i in sorted(range(len(batch)), key=lambda i: len(batch[i])):
        if group and (total + len(batch[i]) > BATCH_TOKENS or len(group) == BATCH_TEXTS):
            yield group
            group, total = [], 0
        group.append(i)
        total += len(batch[i])
    if group:
        yield group
