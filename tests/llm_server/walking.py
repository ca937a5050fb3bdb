"""Random texts of a grammar, and whether a text is one, by llama.cpp's own grammar engine."""

import ctypes
import random

import llama_cpp.llama_cpp as llama
import numpy as np

from llm_server.backends.llama_cpp import LlamaBackend
from llm_server.backends.llama_sampler import CANDIDATE, Pointer, utf8_tail

LIMIT = 1500


class Walker:
    """Walks through grammars over a model's vocabulary."""

    def __init__(self, backend: LlamaBackend) -> None:
        self.vocabulary = backend.vocabulary
        self._vocab = backend.vocabulary.pointer
        self._end = backend._end
        self._candidates = np.zeros(self.vocabulary.size, CANDIDATE)
        self._candidates["id"] = np.arange(self.vocabulary.size)

    def random(self, gbnf: str, seed: int) -> str:
        """A random text of the language. Closing marks are preferred, so that it ends."""
        rng, grammar, out = random.Random(seed), self._parse(gbnf), b""
        for step in range(LIMIT):
            allowed = self.sayable(grammar, out)
            assert allowed, f"nothing fits after {out!r}"
            closing = [t for t in allowed if t == self._end or self.vocabulary.piece(t)[:1] in b'"}]']
            token = (
                rng.choice(closing) if closing and rng.random() < 0.2 + step / 100 else rng.choice(allowed)
            )
            if token == self._end:
                llama.llama_sampler_free(grammar)
                return out.decode()
            llama.llama_sampler_accept(grammar, token)
            out += self.vocabulary.piece(token)
        raise AssertionError(f"no end in sight: {out[:200]!r}")

    def sayable(self, grammar: Pointer, said: bytes) -> list[int]:
        """Tokens that the grammar allows and that leave characters whole."""
        tail = utf8_tail(said) or b""
        return [t for t in self._allowed(grammar) if utf8_tail(tail + self.vocabulary.piece(t)) is not None]

    def accepts(self, gbnf: str, text: str) -> bool:
        """Whether the whole text is in the language."""
        grammar = self._parse(gbnf)
        for token in self.vocabulary.tokenize(text):
            if token not in self._allowed(grammar):
                return False
            llama.llama_sampler_accept(grammar, token)
        return self._end in self._allowed(grammar)

    def _parse(self, gbnf: str) -> Pointer:
        grammar = llama.llama_sampler_init_grammar(self._vocab, gbnf.encode(), b"root")
        assert grammar, gbnf
        return grammar

    def _allowed(self, grammar: Pointer) -> list[int]:
        candidates = self._candidates.copy()
        data = candidates.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        array = llama.llama_token_data_array(data=data, size=candidates.size, selected=-1, sorted=False)
        llama.llama_sampler_apply(grammar, ctypes.byref(array))
        control = self.vocabulary.control - {self._end}
        return [int(i) for i in candidates["id"][np.isfinite(candidates["logit"])] if int(i) not in control]
