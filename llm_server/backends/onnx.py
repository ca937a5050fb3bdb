"""Folders of ours on ONNX Runtime: ragged rows in one run, each with adapters of its own.

Sequences that decode are one run over neighbouring rows of the KV cache; a part of a prompt is a run over its
one row, because GroupQueryAttention takes several tokens after a past for one row only. Rows without adapters
run on the graph that has none. The one with LoRA inputs is opened when the first adapter comes; it keeps
weights of its own in memory, as ONNX Runtime packs them for each session.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import psutil
from numpy.typing import NDArray

from llm_server.backends.llama_cpp import load_model
from llm_server.backends.llama_sampler import LlamaSampler
from llm_server.backends.llama_vocabulary import LlamaVocabulary
from llm_server.backends.onnx_bank import Banks, read_adapter
from llm_server.backends.onnx_graph import Batch, Graph, Provider, Session, open_session
from llm_server.backends.onnx_manifest import MANIFEST, MIXED, PLAIN, VOCABULARY, Manifest, read_manifest
from llm_server.backends.onnx_memory import DeviceMemory, HostMemory, Memory
from llm_server.backends.onnx_rows import KvRows
from llm_server.backends.onnx_vocabulary import OnnxVocabulary
from llm_server.engine.backend import Chunk
from llm_server.engine.blend import BASE, Blend, Resident
from llm_server.engine.sampling import SamplingParams
from llm_server.errors import EngineFailure

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.25
"""Part of the free memory that keys and values may take."""
MIN_CONTEXT = 256
ATTENTION_BYTES = 256 << 20
"""Memory for attention weights, [heads, tokens, context]: a longer part of a prompt is cut."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Sizes and device."""

    context: int | None = None
    """Tokens of one sequence; None takes the length that the model was trained with."""
    running: int = 8
    batch: int = 512
    threads: int | None = None
    provider: Provider = "cpu"
    """`cuda` wants a folder in fp16 and onnxruntime-gpu."""


class OnnxBackend:
    """A model with two graphs over one cache."""

    def __init__(self, folder: Path, options: OnnxOptions | None = None) -> None:
        self._options = options = options or OnnxOptions()
        self._folder = folder
        self._manifest = manifest = read_manifest(folder)
        self._digest = hashlib.blake2b((folder / MANIFEST).read_bytes(), digest_size=16).digest()
        self._vocabulary = OnnxVocabulary(folder, manifest.vocabulary, frozenset(manifest.ends))
        self._slots, self._context = _sizes(manifest, options)
        self._plain_session: Session = self._open(PLAIN)
        self._memory = self._reserve(self._slots + 1, self._context)
        self._rows = KvRows(self._memory)
        self._plain = Graph(self._plain_session, self._memory)
        self._mixed_session: Session | None = None
        self._mixed: Graph | None = None
        self._banks = Banks(self._slots)
        self._logits = np.empty((self._slots, manifest.vocabulary), self._plain.scores_dtype)
        self._piece = max(1, ATTENTION_BYTES // (manifest.heads * self._context * 4))
        self._words = load_model(folder / VOCABULARY, vocabulary_only=True)
        self._spelling = LlamaVocabulary(self._words)
        self._end = min(self._spelling.ends, default=0)
        steering = {*self._vocabulary.specials.values(), *self._vocabulary.control}
        self._unsayable = frozenset(token for token in steering if not self._vocabulary.is_end(token))

    @property
    def digest(self) -> bytes:
        """Hash of the manifest, which names the source's content and the precision."""
        return self._digest

    @property
    def vocabulary(self) -> OnnxVocabulary:
        """The tokenizer."""
        return self._vocabulary

    @property
    def context(self) -> int:
        """Tokens of one sequence."""
        return self._context

    @property
    def slots(self) -> int:
        """Rows of the cache."""
        return self._slots

    @property
    def batch(self) -> int:
        """Tokens of one decode."""
        return self._options.batch

    @property
    def mixes(self) -> bool:
        """Every row has its own adapters."""
        return True

    @property
    def speculates(self) -> bool:
        """Several tokens of a sequence are a run of their own."""
        return False

    @property
    def blob_form(self) -> str:
        """Arrays of the memory's numbers."""
        return f"onnx {self._memory.dtype.str}"

    @property
    def manifest(self) -> Manifest:
        """What adapters have to fit."""
        return self._manifest

    def load_adapter(self, path: Path) -> Resident:
        """Read a file of `convert/onnx_adapter.py`; the first one opens the graph for adapters."""
        resident = read_adapter(path, self._manifest)
        if self._mixed_session is None:
            self._mixed_session = self._open(MIXED)
            self._mixed = Graph(self._mixed_session, self._memory)
        return resident

    def score(self, tokens: Sequence[int], resident: Resident | None) -> NDArray[np.float32]:
        """Logits after every token, [tokens, vocabulary], with an adapter or without.

        In a row of its own beside the engine's: any thread may call it while the engine steps.
        """
        memory = self._reserve(1, len(tokens))
        picked = np.arange(len(tokens))
        batch = Batch(0, np.array([tokens], np.int64), np.array([len(tokens)], np.int64), picked)
        out = np.empty((len(tokens), self._manifest.vocabulary), self._logits.dtype)
        if resident is None:
            Graph(self._plain_session, memory).run(batch, out)
        elif self._mixed_session is not None:
            own = Blend(((resident, 1.0),), resident.digest)
            Graph(self._mixed_session, memory).run(batch, out, Banks().of(0, [own], memory.dtype))
        return out.astype(np.float32, copy=False)

    def free_adapter(self, resident: Resident) -> None:
        """Let go of everything that points to it."""
        self._banks.forget(resident)
        if self._mixed is not None:
            self._mixed.forget_adapter(resident.digest)

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """All single tokens in one run, then each part of a prompt in one of its own."""
        for chunk in chunks:
            if chunk.start + len(chunk.tokens) > self._context:
                raise EngineFailure(f"A sequence is longer than the context of {self._context} tokens.")
        singles = [chunk for chunk in chunks if len(chunk.tokens) == 1]
        prompts = [chunk for chunk in chunks if len(chunk.tokens) > 1]
        wanted = [chunk.slot for chunk in (*singles, *prompts) if chunk.wanted]
        outputs = {slot: row for row, slot in enumerate(wanted)}
        try:
            if singles:
                self._decode_singles(singles)
            for chunk in prompts:
                self._decode_prompt(chunk, outputs.get(chunk.slot))
        finally:
            self._interrupt(on=False)
        for chunk in chunks:
            self._rows.hold(chunk.slot, chunk.start + len(chunk.tokens))
        return [outputs.get(chunk.slot, -1) for chunk in chunks]

    def interrupt(self) -> None:
        """Takes effect at the next node. What was written lies behind what the slots hold."""
        self._interrupt(on=True)

    def _interrupt(self, *, on: bool) -> None:
        for graph in (self._plain, self._mixed):
            if graph is not None:
                graph.interrupt(on)

    def logits(self, row: int) -> NDArray[np.float32]:
        """A view of an output's scores (a copy where the model computes in 16 bits)."""
        scores: NDArray[np.float32] = self._logits[row].astype(np.float32, copy=False)
        return scores

    def sampler(self, params: SamplingParams) -> LlamaSampler:
        """llama.cpp's samplers and grammars over this engine's logits."""
        return LlamaSampler(self.logits, self._spelling, self._end, self._unsayable, params)

    def share(self, source: int, target: int, length: int) -> None:
        """Copy them: rows are apart."""
        self._rows.share(source, target, length)

    def save(self, slot: int) -> NDArray[np.generic]:
        """[tensors, heads, tokens, width]."""
        return self._rows.read(slot)

    def restore(self, slot: int, blob: NDArray[np.generic]) -> bool:
        """There is room for a whole context in every row."""
        self._rows.write(slot, blob)
        return True

    def trim(self, slot: int, length: int) -> None:
        """Nothing is cleared: positions behind the length are masked until they are written again."""
        self._rows.hold(slot, length)

    def close(self) -> None:
        """Free vocabulary, sessions and cache, whoever still holds this object."""
        llama.llama_model_free(self._words)
        self._banks = Banks()
        self._mixed = self._mixed_session = None
        del self._plain, self._plain_session, self._rows, self._memory, self._logits

    def _decode_singles(self, chunks: Sequence[Chunk]) -> None:
        """One token of each; outputs from row 0 on, in the chunks' order."""
        first = self._rows.gather([chunk.slot for chunk in chunks])
        count = len(chunks)
        tokens, lengths = np.zeros((count, 1), np.int64), np.zeros(count, np.int64)
        blends, picked = [BASE] * count, []
        for chunk in chunks:
            place = self._rows.row(chunk.slot) - first
            tokens[place, 0], lengths[place] = chunk.tokens[0], chunk.start + 1
            blends[place] = chunk.blend
            if chunk.wanted:
                picked.append(place)
        batch = Batch(first, tokens, lengths, np.array(picked, np.int64))
        self._run(batch, blends, self._logits[: len(picked)])

    def _decode_prompt(self, chunk: Chunk, output: int | None) -> None:
        """Several tokens of one sequence; its last token's logits go to row `output`."""
        first = self._rows.row(chunk.slot)
        for at in range(0, len(chunk.tokens), self._piece):
            part = chunk.tokens[at : at + self._piece]
            last = output is not None and at + len(part) == len(chunk.tokens)
            picked = np.array([len(part) - 1] if last else [], np.int64)
            lengths = np.array([chunk.start + at + len(part)], np.int64)
            out = self._logits[output : output + 1] if last and output is not None else self._logits[:0]
            self._run(Batch(first, np.array([part], np.int64), lengths, picked), [chunk.blend], out)

    def _run(self, batch: Batch, blends: Sequence[Blend], out: NDArray[np.generic]) -> None:
        """On the plain graph where no row has an adapter."""
        if not any(blend.parts for blend in blends):
            self._plain.run(batch, out)
            return
        if self._mixed is None:
            raise EngineFailure("An adapter is used that this backend has not loaded.")
        self._mixed.run(batch, out, self._banks.of(batch.first, blends, self._memory.dtype))

    def _reserve(self, rows: int, context: int) -> Memory:
        provider = self._options.provider
        if provider == "cpu":
            return HostMemory(self._manifest, rows, context)
        return DeviceMemory(self._manifest, rows, context, provider)

    def _open(self, graph: str) -> Session:
        return open_session(self._folder / graph, self._options.threads, self._options.provider)


def _sizes(manifest: Manifest, options: OnnxOptions) -> tuple[int, int]:
    """Slots, and tokens of each, so that they fit a quarter of the free memory."""
    context = min(options.context or manifest.context, manifest.context)
    token = 2 * manifest.layers * manifest.kv_heads * manifest.head_dim * np.dtype(manifest.dtype).itemsize
    affordable = int(psutil.virtual_memory().available * MEMORY_SHARE) // token
    fits = min(context, max(affordable // options.running, MIN_CONTEXT))
    if fits < context:
        log.warning("the context is cut to fit the memory", extra={"wanted": context, "context": fits})
    return options.running, fits
