"""Sampling in llama.cpp's own C chains, with a grammar where one is set.

A grammar is asked about the chosen token first and masks the vocabulary only when it says no: the mask
costs a walk over all tokens, the question a walk over one (the same order as llama.cpp's `common_sampler`).
"""

import codecs
import ctypes
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from llm_server.backends.llama_vocabulary import LlamaVocabulary
from llm_server.engine.grammar import Directive
from llm_server.engine.sampling import SamplingParams
from llm_server.errors import BadRequest, EngineFailure

Pointer = Any
"""A `llama_sampler *`; the binding has a type for it at type-checking time only."""
Scores = Callable[[int], NDArray[np.float32]]
"""Logits of an output row, [vocabulary]; they are not written to."""

log = logging.getLogger(__name__)

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
SHORTLIST = 1024
"""Candidates that a grammar looks at first in a large vocabulary; all of them only when none of these
fits.
"""
LAST_TOKENS = 1 << 16
"""Reach of the penalties: everything that was generated."""


def make_chain(params: SamplingParams, vocabulary: int) -> Pointer:
    """The C samplers of a request, in llama.cpp's usual order."""
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())

    def add(sampler: Pointer) -> None:
        llama.llama_sampler_chain_add(chain, sampler)

    if params.logit_bias:
        pairs = [llama.llama_logit_bias(t, b) for t, b in params.logit_bias.items() if 0 <= t < vocabulary]
        add(
            llama.llama_sampler_init_logit_bias(
                vocabulary, len(pairs), (llama.llama_logit_bias * len(pairs))(*pairs)
            )
        )
    if params.penalises:
        repeat, frequency, presence = (
            params.repetition_penalty,
            params.frequency_penalty,
            params.presence_penalty,
        )
        add(llama.llama_sampler_init_penalties(vocabulary, LAST_TOKENS, repeat, frequency, presence))
    if params.temperature <= 0:
        add(llama.llama_sampler_init_greedy())
        return chain
    if params.top_k > 0:
        add(llama.llama_sampler_init_top_k(params.top_k))
    if params.top_p < 1:
        add(llama.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p > 0:
        add(llama.llama_sampler_init_min_p(params.min_p, 1))
    add(llama.llama_sampler_init_temp(params.temperature))
    seed = params.seed if params.seed is not None else random.getrandbits(32)
    add(llama.llama_sampler_init_dist(seed & 0xFFFFFFFF))
    return chain


class LlamaSampler:
    """Chooses tokens of one sequence out of logits, whoever computed them."""

    def __init__(
        self,
        scores: Scores,
        vocabulary: LlamaVocabulary,
        end: int,
        unsayable: Iterable[int],
        params: SamplingParams,
        context: llama.llama_context_p | None = None,
    ) -> None:
        """`context`: where llama.cpp computed the logits, it samples without a copy of them."""
        self._scores, self._context = scores, context
        self._vocabulary, self._size, self._end = vocabulary, vocabulary.size, end
        self._likeliest = params.temperature <= 0 and not params.penalises and not params.logit_bias
        self._unsayable = frozenset(unsayable)
        """Tokens that no grammar lets through, although their text might fit."""
        self._chain = make_chain(params, vocabulary.size)
        self._grammar: Pointer | None = None
        self._directive = Directive()
        self._off = np.empty(0, np.int64)
        self._said: list[int] = []
        """Tokens that the grammar has taken."""
        self._open_bytes = b""
        """The beginning of a character that the last token left unfinished."""

    def constrain(self, directive: Directive) -> None:
        """Replace the grammar; BadRequest for one that llama.cpp does not take."""
        grammar = None if directive.grammar is None else self._parse(directive.grammar.gbnf)
        said = self._said if directive.replay else []
        if grammar is not None and not self._replayed(grammar, said):
            llama.llama_sampler_free(grammar)
            log.debug("a narrower grammar does not fit what was said; the wider one stays")
            return
        self._free_grammar()
        self._grammar, self._directive, self._said = grammar, directive, said
        off = self._unsayable - directive.exempt if grammar is not None else frozenset()
        self._off = np.fromiter(off, np.int64, len(off))

    def _parse(self, gbnf: str) -> Pointer:
        grammar = llama.llama_sampler_init_grammar(self._vocabulary.pointer, gbnf.encode(), b"root")
        if not grammar:
            raise BadRequest("The grammar of this request is not valid.", code="invalid_grammar")
        return grammar

    def _replayed(self, grammar: Pointer, tokens: list[int]) -> bool:
        """Let a fresh grammar take tokens; False when one does not fit (it would end the process)."""
        for token in tokens:
            if not _fits(grammar, token):
                return False
            llama.llama_sampler_accept(grammar, token)
        return True

    def sample(self, row: int) -> int:
        """The next token."""
        if self._grammar is None:
            return self._sample_freely(row)
        logits = self._logits(row)
        token = self._choose(logits, None)
        while not self._allowed(token):
            logits[token] = -np.inf
            token = self._choose_fitting(logits)
        if token not in self._directive.exempt:
            llama.llama_sampler_accept(self._grammar, token)
            self._said.append(token)
            self._open_bytes = utf8_tail(self._open_bytes + self._vocabulary.piece(token)) or b""
        llama.llama_sampler_accept(self._chain, token)
        return token

    def _sample_freely(self, row: int) -> int:
        """Without a grammar."""
        if self._likeliest:
            return int(self._scores(row).argmax())
        if self._context is not None:
            return int(llama.llama_sampler_sample(self._chain, self._context, row))
        token = self._choose(self._scores(row), None)
        llama.llama_sampler_accept(self._chain, token)
        return token

    def complete(self) -> bool:
        """Whether the grammar may end here."""
        return self._grammar is not None and _fits(self._grammar, self._end)

    def close(self) -> None:
        """Free the C samplers."""
        self._free_grammar()
        if self._chain is not None:
            llama.llama_sampler_free(self._chain)
            self._chain = None

    def _allowed(self, token: int) -> bool:
        """Whether the grammar takes the token, and characters stay whole: llama.cpp's grammars let
        broken UTF-8 through, and a quotation mark inside a broken character would not end a string
        for anyone else.
        """
        if token in self._directive.exempt:
            return self._between()
        if not _fits(self._grammar, token):
            return False
        whole = not self._open_bytes if token == self._end else True
        return whole and utf8_tail(self._open_bytes + self._vocabulary.piece(token)) is not None

    def _between(self) -> bool:
        """Whether exempt tokens may come: in the middle of what the grammar has begun they would break it."""
        return not self._said or self.complete()

    def _logits(self, row: int) -> NDArray[np.float32]:
        """A copy without the tokens that are off."""
        logits = np.array(self._scores(row), dtype=np.float32)
        logits[self._off] = -np.inf
        return logits

    def _choose_fitting(self, logits: NDArray[np.float32]) -> int:
        """Sample among the tokens that the grammar allows."""
        if self._size > 4 * SHORTLIST:
            near = np.argpartition(-logits, SHORTLIST)[:SHORTLIST]
            token = self._choose(logits, near.astype(np.int32), masked=True)
            if token >= 0:
                return token
        token = self._choose(logits, None, masked=True)
        if token < 0:
            raise EngineFailure("No token of this model fits the grammar of the request.")
        return token

    def _choose(
        self, logits: NDArray[np.float32], ids: NDArray[np.int32] | None, masked: bool = False
    ) -> int:
        """Apply (grammar and) chain to candidates; -1 when the grammar leaves none."""
        candidates = np.zeros(self._size if ids is None else ids.size, CANDIDATE)
        candidates["id"] = np.arange(self._size, dtype=np.int32) if ids is None else ids
        candidates["logit"] = logits if ids is None else logits[ids]
        array = _array(candidates)
        if masked:
            kept = np.isin(candidates["id"], list(self._directive.exempt))
            before = candidates["logit"][kept] if self._between() else -np.inf
            llama.llama_sampler_apply(self._grammar, ctypes.byref(array))
            candidates["logit"][kept] = before
            if not np.isfinite(candidates["logit"]).any():
                return -1
            candidates = candidates[np.isfinite(candidates["logit"])]
            array = _array(candidates)
        llama.llama_sampler_apply(self._chain, ctypes.byref(array))
        if array.selected < 0:
            raise EngineFailure("The sampler chose no token.")
        return int(array.data[array.selected].id)

    def _free_grammar(self) -> None:
        if self._grammar is not None:
            llama.llama_sampler_free(self._grammar)
            self._grammar = None


def utf8_tail(data: bytes) -> bytes | None:
    """The unfinished character at the end of UTF-8 text, or None when the text is broken.

    The decoder takes two bytes of a surrogate for a beginning, which nothing can finish.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        return None
    tail = bytes(decoder.getstate()[0])
    return tail if not tail or any(_finished(tail, byte) for byte in (b"\x80", b"\xbf")) else None


def _finished(tail: bytes, byte: bytes) -> bool:
    """Whether a character can end with this byte, as often as it takes."""
    length = 2 if tail[0] < 0xE0 else 3 if tail[0] < 0xF0 else 4
    try:
        (tail + byte * (length - len(tail))).decode()
    except UnicodeDecodeError:
        return False
    return True


def _fits(grammar: Pointer, token: int) -> bool:
    """Whether the grammar would take the token now."""
    one = np.zeros(1, CANDIDATE)
    one["id"] = token
    llama.llama_sampler_apply(grammar, ctypes.byref(_array(one)))
    return bool(np.isfinite(one["logit"][0]))


def _array(candidates: "np.ndarray[tuple[int], np.dtype[np.void]]") -> llama.llama_token_data_array:
    """A view of `candidates` (CANDIDATE, contiguous) for llama.cpp; keep them alive while it is used."""
    pointer = candidates.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
    return llama.llama_token_data_array(data=pointer, size=candidates.size, selected=-1, sorted=False)
