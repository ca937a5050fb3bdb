"""GGUF models on llama.cpp, through llama-cpp-python's low-level binding.

One `llama_context` holds every sequence; sequence ids are the engine's slots. Each has a KV buffer of its own
where the memory allows it: a step then walks over what a sequence holds, not over what all of them hold.
Where it does not, they share one buffer.
"""

import ctypes
import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import llama_cpp
import llama_cpp.llama_cpp as llama
import numpy as np
import psutil
from numpy.typing import NDArray

from llm_server.backends.llama_abort import AbortSwitch
from llm_server.backends.llama_batch import LlamaBatch
from llm_server.backends.llama_sampler import LlamaSampler
from llm_server.backends.llama_vocabulary import LlamaVocabulary
from llm_server.convert.digest import weights_sha256
from llm_server.engine.backend import Chunk
from llm_server.engine.blend import BASE, Blend, Resident
from llm_server.engine.sampling import SamplingParams
from llm_server.errors import AdapterRefused, CacheExhausted, EngineFailure, Interrupted, PreparationFailed

log = logging.getLogger(__name__)
native_log = logging.getLogger("llama.cpp")

LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
MAX_SEQUENCES = 256
ABORTED = 2
"""What `llama_decode` says when it was ended."""
PADDING = 256
"""Cells come in multiples of this."""
MEMORY_SHARE = 0.25
"""Part of the free memory that the KV cache takes unless it is told."""


@llama.llama_log_callback  # type: ignore[untyped-decorator]  # a ctypes function type
def _log(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    message = text.decode("utf-8", errors="replace").rstrip()
    if message.strip("."):
        native_log.log(LEVELS.get(level, logging.DEBUG) - 10, message)


def start_llama() -> None:
    """Send llama.cpp's own log to `logging`, one level lower (it is talkative), and set it up. Idempotent."""
    llama.llama_log_set(_log, ctypes.c_void_p(0))
    llama.llama_backend_init()


def load_model(path: Path, *, vocabulary_only: bool = False) -> llama.llama_model_p:
    """Map a GGUF file. PreparationFailed when llama.cpp does not take it."""
    start_llama()
    params = llama.llama_model_default_params()
    params.vocab_only = vocabulary_only
    # Repacked weights (AMX) crash llama_decode from about 8 tokens a batch on (ggml-org/llama.cpp#20824).
    params.use_extra_bufts = False
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise PreparationFailed(f"{path} is not a GGUF file that this llama.cpp can load.")
    return cast(llama.llama_model_p, model)


def file_digest(path: Path) -> bytes:
    """Hash of all of a model: fine-tunes of one base have the same size, header and ends, and what one of
    them has left on the disk must not be another's.
    """
    return bytes.fromhex(weights_sha256(path))


def content_digest(path: Path) -> bytes:
    """Hash of a whole file: adapters are small, and two that differ in one byte must not be taken for one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """Sizes of a context."""

    context: int | None = None
    """Tokens of one sequence; None takes the length that the model was trained with."""
    running: int = 8
    cache_tokens: int | None = None
    """Cells of the KV cache; None takes what `running` full contexts need, within a quarter of the free
    memory. Fewer than that are shared by all sequences.
    """
    batch: int = 512
    threads: int | None = None
    float32_cache: bool = False
    """Exact keys and values, for tests of parity."""


class LlamaBackend:
    """A model with one context."""

    def __init__(self, path: Path, options: LlamaOptions | None = None) -> None:
        options = options or LlamaOptions()
        self._model = load_model(path)
        self._vocabulary = LlamaVocabulary(self._model)
        self._digest = file_digest(path)
        self._slots = min(MAX_SEQUENCES, options.running)
        cells, self._context_length = self._sizes(options)
        self._apart = cells >= self._slots * self._context_length
        self._exact = options.float32_cache
        self._threads = self._computing = options.threads or os.cpu_count() or 1
        self._lent, self._stepping = 0, threading.Lock()
        self._batch_size = min(options.batch, cells)
        self._context = self._open(options, cells)
        self._memory = llama.llama_get_memory(self._context)
        self._abort = AbortSwitch(self._context)
        self._batch = LlamaBatch(self._batch_size)
        self._scores: NDArray[np.float32] | None = None
        """Of all outputs of the last step, once somebody asks: a call for each row costs more than a row."""
        self._vocab = llama.llama_model_get_vocab(self._model)
        self._end = self._any_end()
        steering = {*self._vocabulary.specials.values(), *self._vocabulary.control}
        self._blend = BASE
        self._unsayable = frozenset(token for token in steering if not self._vocabulary.is_end(token))

    @property
    def model(self) -> llama.llama_model_p:
        """The weights, for another context beside this one."""
        return self._model

    @property
    def digest(self) -> bytes:
        """Hash of the file."""
        return self._digest

    @property
    def vocabulary(self) -> LlamaVocabulary:
        """The tokenizer."""
        return self._vocabulary

    @property
    def context(self) -> int:
        """Tokens of one sequence."""
        return self._context_length

    @property
    def slots(self) -> int:
        """Sequence ids."""
        return self._slots

    @property
    def batch(self) -> int:
        """Tokens of one decode."""
        return self._batch_size

    @property
    def mixes(self) -> bool:
        """Adapters belong to the context: one blend a batch."""
        return False

    @property
    def speculates(self) -> bool:
        """Weights are read once for several tokens."""
        return True

    @property
    def blob_form(self) -> str:
        """llama.cpp's own, which may change with every version of it."""
        return f"llama.cpp {llama_cpp.__version__} {self._apart} {self._exact}"

    def load_adapter(self, path: Path) -> Resident:
        """Read a GGUF LoRA. The model's own lock is not needed: nothing but adapters touches the list."""
        handle = llama.llama_adapter_lora_init(self._model, os.fsencode(path))
        if not handle:
            raise AdapterRefused(f"llama.cpp does not take {path.name}: it does not fit this model.")
        return Resident(content_digest(path), handle, path.stat().st_size)

    def free_adapter(self, resident: Resident) -> None:
        """Take it off the context first: a freed adapter that is still set would be used."""
        if any(part is resident for part, _ in self._blend.parts):
            self._apply(BASE)
        llama.llama_adapter_lora_free(resident.handle)

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """Fill the batch and run it with the chunks' adapters, which are the same in all of them."""
        rows, self._scores = self._batch.fill(chunks), None
        if chunks[0].blend.digest != self._blend.digest:
            self._apply(chunks[0].blend)
        with self._stepping:
            self._take_cores()
            status = llama.llama_decode(self._context, self._batch.native)
        self._abort.off()
        if status == ABORTED:
            # Parts of the batch that were through before stay in the cache otherwise.
            for chunk in chunks:
                self.trim(chunk.slot, chunk.start)
            raise Interrupted("The step was ended.")
        if status == 1:
            raise CacheExhausted("The KV cache has no room for this batch.")
        if status != 0:
            raise EngineFailure(f"llama_decode returned {status}.")
        return rows

    @contextmanager
    def lending_a_core(self) -> Iterator[None]:
        """Inside of it one thread less decodes, so that a program beside the server has a core. Where threads
        of a step share the last core, each waits for the other at every barrier: a token of 2 ms took 120 ms.
        """
        self._lent += 1
        try:
            # The step that runs has all threads: what needs the core waits for its end.
            self._stepping.acquire()
            self._stepping.release()
            yield
        finally:
            self._lent -= 1

    def _take_cores(self) -> None:
        wanted = max(1, self._threads - self._lent)
        if wanted != self._computing:
            llama.llama_set_n_threads(self._context, wanted, wanted)
            self._computing = wanted

    def interrupt(self) -> None:
        """Takes effect at the next node of the graph."""
        self._abort.on()

    def logits(self, row: int) -> NDArray[np.float32]:
        """A view of an output's scores."""
        if self._scores is None:
            shape = (len(self._batch.outputs), self._vocabulary.size)
            self._scores = np.ctypeslib.as_array(llama.llama_get_logits(self._context), shape=shape)
        scores: NDArray[np.float32] = self._scores[self._batch.outputs[row]]
        return scores

    def sampler(self, params: SamplingParams) -> LlamaSampler:
        """A chain of C samplers."""
        return LlamaSampler(
            self.logits, self._vocabulary, self._end, self._unsayable, params, context=self._context
        )

    def share(self, source: int, target: int, length: int) -> None:
        """Add `target` to the cells of `source`, or copy them where buffers are apart."""
        if not self._apart:
            llama.llama_memory_seq_cp(self._memory, source, target, 0, length)
        elif self.restore(target, self.save(source)):
            self.trim(target, length)

    def save(self, slot: int) -> NDArray[np.uint8]:
        """llama.cpp's own form: cells, keys and values."""
        blob = np.empty(llama.llama_state_seq_get_size(self._context, slot), np.uint8)
        if llama.llama_state_seq_get_data(self._context, _bytes(blob), blob.size, slot) != blob.size:
            raise EngineFailure("llama.cpp did not copy a sequence's keys and values.")
        return blob

    def restore(self, slot: int, blob: NDArray[np.uint8]) -> bool:
        """False where the shared buffer has no room in one piece."""
        return bool(llama.llama_state_seq_set_data(self._context, _bytes(blob), blob.size, slot))

    def trim(self, slot: int, length: int) -> None:
        """Drop cells from position `length` on."""
        llama.llama_memory_seq_rm(self._memory, slot, length, -1)

    def close(self) -> None:
        """Free context and model; nothing may be called afterwards."""
        llama.llama_free(self._context)
        llama.llama_model_free(self._model)

    def _apply(self, blend: Blend) -> None:
        """Set the context's adapters: microseconds, and the next decode reserves its graph again."""
        count = len(blend.parts)
        handles = (llama.llama_adapter_lora_p_ctypes * count)(*(part.handle for part, _ in blend.parts))
        scales = (ctypes.c_float * count)(*(scale for _, scale in blend.parts))
        if llama.llama_set_adapters_lora(self._context, handles, count, scales):
            raise EngineFailure("llama.cpp does not set these adapters.")
        self._blend = blend

    def _sizes(self, options: LlamaOptions) -> tuple[int, int]:
        """Cells of the cache and tokens of one sequence."""
        wanted = options.context or int(llama.llama_model_n_ctx_train(self._model))
        full = self._slots * (wanted + -wanted % PADDING)
        if options.cache_tokens is not None:
            return min(options.cache_tokens, full), min(wanted, options.cache_tokens)
        affordable = int(psutil.virtual_memory().available * MEMORY_SHARE / self._cell_bytes(options))
        cells = min(full, max(affordable, 2048))
        if cells < wanted:
            log.warning("the context is cut to fit the memory", extra={"wanted": wanted, "context": cells})
        return cells, min(wanted, cells)

    def _cell_bytes(self, options: LlamaOptions) -> int:
        """Bytes of keys and values of one token, estimated from the model's sizes."""
        model = self._model
        heads = max(1, llama.llama_model_n_head(model))
        width = max(128, llama.llama_model_n_embd(model) // heads)
        values = 2 * llama.llama_model_n_layer(model) * max(1, llama.llama_model_n_head_kv(model)) * width
        return int(values * (4 if options.float32_cache else 2))

    def _open(self, options: LlamaOptions, cells: int) -> llama.llama_context_p:
        params = llama.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = self._batch_size
        params.n_seq_max = self._slots
        params.n_threads = params.n_threads_batch = self._threads
        params.kv_unified = not self._apart
        params.no_perf = True
        if options.float32_cache:
            params.type_k = params.type_v = 0  # GGML_TYPE_F32
            params.flash_attn_type = 0
        context = llama.llama_init_from_model(self._model, params)
        if not context:
            raise PreparationFailed(
                f"No memory for a KV cache of {cells} tokens. Set LLM_CACHE_TOKENS lower."
            )
        return cast(llama.llama_context_p, context)

    def _any_end(self) -> int:
        """A token that ends a generation, to ask grammars with."""
        for token in (llama.llama_vocab_eot(self._vocab), llama.llama_vocab_eos(self._vocab)):
            if token >= 0:
                return int(token)
        return next((i for i in range(self._vocabulary.size) if self._vocabulary.is_end(i)), 0)


def _bytes(blob: NDArray[np.uint8]) -> Any:
    """For ctypes."""
    return blob.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
