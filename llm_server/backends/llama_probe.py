"""A model and a small context of its own, to try adapters while others are being served elsewhere."""

import ctypes
import os
from pathlib import Path
from typing import cast

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from llm_server.backends.llama_batch import LlamaBatch
from llm_server.backends.llama_vocabulary import LlamaVocabulary
from llm_server.engine.backend import Chunk
from llm_server.errors import AdapterRefused, EngineFailure


class LlamaProbe:
    """Logits of one text, with an adapter and without. One thread at a time."""

    def __init__(self, model: llama.llama_model_p, text: str, tokens: int) -> None:
        """Takes the model over."""
        self._model = model
        vocabulary = LlamaVocabulary(model)
        self._size = vocabulary.size
        self._tokens = vocabulary.tokenize(text)[:tokens]
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(tokens, 32)
        params.n_threads = params.n_threads_batch = max(1, (os.cpu_count() or 2) // 2)
        params.no_perf = True
        context = llama.llama_init_from_model(model, params)
        if not context:
            raise EngineFailure("There is no memory to try the adapter in.")
        self._context = cast(llama.llama_context_p, context)
        self._batch = LlamaBatch(len(self._tokens))
        self._base: NDArray[np.float32] | None = None

    def base(self) -> NDArray[np.float32]:
        """Positions x vocabulary, of the base alone; computed once."""
        if self._base is None:
            self._base = self._logits()
        return self._base

    def adapted(self, file: Path) -> NDArray[np.float32]:
        """The same with an adapter, a GGUF LoRA. AdapterRefused where llama.cpp does not take it."""
        handle = llama.llama_adapter_lora_init(self._model, os.fsencode(file))
        if not handle:
            raise AdapterRefused(f"llama.cpp does not take {file.name}: it does not fit this model.")
        handles = (llama.llama_adapter_lora_p_ctypes * 1)(handle)
        llama.llama_set_adapters_lora(self._context, handles, 1, (ctypes.c_float * 1)(1.0))
        try:
            return self._logits()
        finally:
            llama.llama_set_adapters_lora(self._context, None, 0, None)
            llama.llama_adapter_lora_free(handle)

    def close(self) -> None:
        """Free context and model."""
        llama.llama_free(self._context)
        llama.llama_model_free(self._model)

    def _logits(self) -> NDArray[np.float32]:
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        self._batch.fill([Chunk(0, 0, self._tokens, True)])
        self._batch.want_all()
        if llama.llama_decode(self._context, self._batch.native):
            raise EngineFailure("llama.cpp cannot compute with this adapter.")
        rows = (llama.llama_get_logits_ith(self._context, i) for i in range(len(self._tokens)))
        return np.stack([np.ctypeslib.as_array(row, shape=(self._size,)).copy() for row in rows])
