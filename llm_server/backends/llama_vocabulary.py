"""The tokenizer inside a GGUF file."""

import ctypes
from functools import cached_property

import llama_cpp.llama_cpp as llama

from llm_server.engine.fim import FimTokens, find_fim

CALL_MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>")


class LlamaVocabulary:
    """Vocabulary of a loaded model. Every method may be called from any thread."""

    def __init__(self, model: llama.llama_model_p) -> None:
        self._model = model
        self.pointer = llama.llama_model_get_vocab(model)
        """`llama_vocab *`."""
        self._pieces: dict[int, bytes] = {}

    @cached_property
    def size(self) -> int:
        """Number of tokens."""
        return int(llama.llama_vocab_n_tokens(self.pointer))

    @cached_property
    def chat_template(self) -> str | None:
        """The template that the file carries."""
        template = llama.llama_model_chat_template(self._model, None)
        return template.decode() if template else None

    @cached_property
    def control(self) -> frozenset[int]:
        """Tokens that are not text."""
        return frozenset(i for i in range(self.size) if llama.llama_vocab_is_control(self.pointer, i))

    @cached_property
    def ends(self) -> frozenset[int]:
        """End of turn, of text, of message."""
        return frozenset(i for i in range(self.size) if llama.llama_vocab_is_eog(self.pointer, i))

    @cached_property
    def specials(self) -> dict[str, int]:
        """Control tokens, and the marks of tool calls and thinking where they are single tokens."""
        found = {self.piece(i).decode("utf-8", errors="replace"): i for i in self.control}
        for mark in CALL_MARKS:
            tokens = self.tokenize(mark, special=True)
            if len(tokens) == 1:
                found[mark] = tokens[0]
        found.pop("", None)
        return found

    @cached_property
    def fim(self) -> FimTokens | None:
        """What the file names, else the well-known names."""
        prefix, suffix, middle = (
            read(self.pointer)
            for read in (llama.llama_vocab_fim_pre, llama.llama_vocab_fim_suf, llama.llama_vocab_fim_mid)
        )
        if min(prefix, suffix, middle) < 0:
            return find_fim(self.specials)
        repository, file = (
            read(self.pointer) for read in (llama.llama_vocab_fim_rep, llama.llama_vocab_fim_sep)
        )
        return FimTokens(
            prefix, suffix, middle, None if repository < 0 else repository, None if file < 0 else file
        )

    @cached_property
    def bos(self) -> str:
        """Text of the first token of a document."""
        return self._text_of(llama.llama_vocab_bos(self.pointer))

    @cached_property
    def eos(self) -> str:
        """Text of the token that ends a turn."""
        return self._text_of(llama.llama_vocab_eos(self.pointer))

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Tokens of `text`."""
        data = text.encode("utf-8", errors="replace")
        room = len(data) + 8
        while True:
            out = (llama.llama_token * room)()
            n = llama.llama_tokenize(self.pointer, data, len(data), out, room, bos, special)
            if n >= 0:
                return list(out[:n])
            room = -n

    def piece(self, token: int) -> bytes:
        """Bytes of a token, special ones written out."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._piece(token)
        return known

    def is_end(self, token: int) -> bool:
        """One of `ends`."""
        return token in self.ends

    def _piece(self, token: int) -> bytes:
        room = 64
        while True:
            out = (ctypes.c_char * room)()
            n = llama.llama_token_to_piece(self.pointer, token, out, room, 0, True)
            if n >= 0:
                return out.raw[:n]
            room = -n

    def _text_of(self, token: int) -> str:
        return "" if token < 0 else self.piece(token).decode("utf-8", errors="replace")
