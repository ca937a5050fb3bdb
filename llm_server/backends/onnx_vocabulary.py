"""The tokenizer of a transformers folder, through the `tokenizers` library."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from llm_server.backends.llama_vocabulary import CALL_MARKS
from llm_server.engine.fim import FimTokens, find_fim
from llm_server.errors import PreparationFailed

ENDS = frozenset(
    {
        "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "<|return|>",
        "<end_of_turn>", "<eos>", "</s>",
    }
)  # fmt: skip
"""Special tokens that end a turn or a text wherever they exist: checkpoints often name one of them only."""


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte in byte-level BPE (Radford et al., 2019, GPT-2's encoder)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(others)}


LETTERS = byte_letters()
BYTES = {letter: byte for byte, letter in LETTERS.items()}


class OnnxVocabulary:
    """Vocabulary of a folder. Every method may be called from any thread."""

    def __init__(self, folder: Path, size: int, ends: frozenset[int] = frozenset()) -> None:
        """`size`: rows of the model's output, which may be more than there are tokens."""
        try:
            text = (folder / "tokenizer.json").read_text(encoding="utf-8")
            self._tokenizer, self._reader = Tokenizer.from_str(text), Tokenizer.from_str(text)
            content: dict[str, Any] = json.loads(text)
        except Exception as error:  # the library raises Exception itself
            raise PreparationFailed(f"{folder} has no tokenizer that can be read: {error}.") from error
        self._tokenizer.encode_special_tokens = True
        self._folder, self._size, self._ends = folder, size, ends
        self._added = {token["id"]: token for token in content.get("added_tokens") or ()}
        self._byte_level = "ByteLevel" in json.dumps([content.get("decoder"), content.get("pre_tokenizer")])

    @property
    def size(self) -> int:
        """Number of scores in the model's output."""
        return self._size

    @cached_property
    def chat_template(self) -> str | None:
        """The folder's template."""
        file = self._folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8")
        template = self._config.get("chat_template")
        return template if isinstance(template, str) else None

    @cached_property
    def control(self) -> frozenset[int]:
        """Added tokens that are marked special."""
        return frozenset(i for i, token in self._added.items() if token.get("special"))

    @cached_property
    def ends(self) -> frozenset[int]:
        """Those that the checkpoint names, and the usual ones."""
        return self._ends | {i for i in self.control if self._added[i]["content"] in ENDS}

    @cached_property
    def specials(self) -> dict[str, int]:
        """Control tokens, and the marks of tool calls and thinking where they are single tokens."""
        found = {self._added[i]["content"]: i for i in self.control}
        marks = {mark: self._tokenizer.token_to_id(mark) for mark in CALL_MARKS}
        return found | {mark: token for mark, token in marks.items() if token is not None}

    @cached_property
    def fim(self) -> FimTokens | None:
        """By their well-known names; checkpoints do not always mark them special."""
        return find_fim({token["content"]: i for i, token in self._added.items()})

    @cached_property
    def bos(self) -> str:
        """Text of the first token of a document."""
        return self._named("bos_token")

    @cached_property
    def eos(self) -> str:
        """Text of the token that ends a turn."""
        return self._named("eos_token")

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Tokens of `text`."""
        tokenizer = self._reader if special else self._tokenizer
        tokens = list(tokenizer.encode(text, add_special_tokens=False).ids)
        return [*self._beginning, *tokens] if bos else tokens

    def piece(self, token: int) -> bytes:
        """Bytes of a token, special ones written out; none for a number that is no token."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else b""

    def is_end(self, token: int) -> bool:
        """One of `ends`."""
        return token in self.ends

    @cached_property
    def _pieces(self) -> list[bytes]:
        return [self._spell(token) for token in range(self._tokenizer.get_vocab_size())]

    @cached_property
    def _beginning(self) -> list[int]:
        """What the tokenizer puts before every text: the first token, or nothing."""
        first = self._tokenizer.token_to_id(self.bos) if self.bos else None
        usual = self._reader.encode("a", add_special_tokens=True).ids
        return [first] if first is not None and usual[:1] == [first] else []

    @cached_property
    def _config(self) -> dict[str, Any]:
        file = self._folder / "tokenizer_config.json"
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return content if isinstance(content, dict) else {}

    def _named(self, key: str) -> str:
        value = self._config.get(key)
        return str(value.get("content", "") if isinstance(value, dict) else value or "")

    def _spell(self, token: int) -> bytes:
        if token in self._added:
            return str(self._added[token]["content"]).encode()
        text = self._tokenizer.id_to_token(token)
        if text is None:
            return b""
        if self._byte_level:
            return bytes(BYTES[letter] for letter in text if letter in BYTES)
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return bytes([int(text[3:5], 16)])
        return text.replace("▁", " ").encode()
