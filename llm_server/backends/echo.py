"""A backend without a model: it says the user's last message again. Deterministic, for tests and for wiring.

`call NAME {json}` in the user's message makes it call that tool; where a tool has answered, it repeats the
answer. Under a grammar it writes the grammar's example. An adapter is a text file: its words come first.
Tokens are bytes.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_server.engine.backend import Chunk
from llm_server.engine.blend import Blend, Resident
from llm_server.engine.fim import FimTokens
from llm_server.engine.grammar import Directive
from llm_server.engine.sampling import SamplingParams

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
FIRST_SPECIAL = 256
END = FIRST_SPECIAL + SPECIALS.index("<|im_end|>")
_SPECIAL = re.compile("|".join(map(re.escape, SPECIALS)))
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.S)
_CALL = re.compile(r"call ([\w.-]+) (?=\{)")


class EchoVocabulary:
    """Bytes, and ChatML's special tokens."""

    size = FIRST_SPECIAL + len(SPECIALS)
    chat_template: str | None = None
    control = frozenset(range(FIRST_SPECIAL, FIRST_SPECIAL + len(SPECIALS)))
    specials = {text: FIRST_SPECIAL + i for i, text in enumerate(SPECIALS)}  # noqa: RUF012 (constant)
    ends = frozenset({FIRST_SPECIAL, END})
    fim: FimTokens | None = None
    bos = ""
    eos = "<|im_end|>"

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """One token a byte."""
        if not special:
            return list(text.encode())
        tokens: list[int] = []
        at = 0
        for match in _SPECIAL.finditer(text):
            tokens += [*text[at : match.start()].encode(), self.specials[match.group()]]
            at = match.end()
        return tokens + list(text[at:].encode())

    def piece(self, token: int) -> bytes:
        """The byte, or the special token's text."""
        return SPECIALS[token - FIRST_SPECIAL].encode() if token >= FIRST_SPECIAL else bytes([token])

    def is_end(self, token: int) -> bool:
        """End of turn or text."""
        return token in self.ends

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens written out."""
        return b"".join(map(self.piece, tokens)).decode("utf-8", errors="replace")


def reply(prompt: str) -> str:
    """What the echo answers to a ChatML prompt, or to plain text."""
    turns = _TURN.findall(prompt)
    if not turns:
        return prompt
    role, text = turns[-1]
    if role == "tool":
        return str(text)
    call = _CALL.search(text)
    if call is None:
        return str(text)
    _, end = json.JSONDecoder().raw_decode(text[call.end() :])
    arguments = text[call.end() :][:end]
    return f'<tool_call>\n{{"name": "{call.group(1)}", "arguments": {arguments}}}\n</tool_call>'


class EchoSampler:
    """Follows the reply, or the example of a grammar where the reply has been left."""

    def __init__(self, backend: "EchoBackend") -> None:
        self._backend = backend
        self._target: list[int] | None = None
        self._written: list[int] = []

    def constrain(self, directive: Directive) -> None:
        """From here on the grammar's example is the target."""
        grammar = directive.grammar
        self._target = None if grammar is None else self._backend.vocabulary.tokenize(grammar.example)
        self._written = []

    def sample(self, row: int) -> int:
        """The next byte."""
        vocabulary = self._backend.vocabulary
        tokens = self._backend.rows[row]
        ahead = "".join(part.handle for part, _ in self._backend.blends[row].parts)
        wanted, written = self._script(tokens, ahead)
        scripted = self._target is None or vocabulary.specials["<tool_call>"] in wanted
        followed = scripted and wanted[: len(written)] == written and len(written) < len(wanted)
        if followed:
            token = wanted[len(written)]
        elif self._target is not None and len(self._written) < len(self._target):
            token = self._target[len(self._written)]
        else:
            token = END
        if self._target is not None:
            self._written.append(token)
            if followed and token < FIRST_SPECIAL:
                close = wanted.index(vocabulary.specials["</tool_call>"])
                self._target = wanted[1:close]
        return token

    def complete(self) -> bool:
        """Whether the target is written."""
        return self._target is not None and self._written == self._target

    def close(self) -> None:
        """Nothing is held."""

    def _script(self, tokens: Sequence[int], ahead: str) -> tuple[list[int], list[int]]:
        """The whole reply, adapters' words first, and what of it has been said."""
        vocabulary = self._backend.vocabulary
        head = vocabulary.tokenize("<|im_start|>assistant\n", special=True)
        starts = [
            i for i in range(len(tokens)) if tokens[i] == head[0] and list(tokens[i : i + len(head)]) == head
        ]
        if not starts:
            return [], list(tokens)
        at = starts[-1]
        answer = ahead + reply(vocabulary.text(tokens[:at]))
        return vocabulary.tokenize(answer, special=True), list(tokens[at + len(head) :])


class EchoBackend:
    """Remembers tokens instead of keys and values."""

    digest = b"echo"
    batch = 512
    mixes = True
    speculates = True
    blob_form = "echo"

    def __init__(self, context: int = 4096, slots: int = 8, cells: int | None = None) -> None:
        self.vocabulary = EchoVocabulary()
        self.context = context
        self.slots = slots
        self._held: dict[int, list[int]] = {}
        self.rows: list[list[int]] = []
        self.blends: list[Blend] = []

    def load_adapter(self, path: Path) -> Resident:
        """A text file: what an answer begins with."""
        text = path.read_bytes()
        return Resident(hashlib.sha256(text).digest(), text.decode(), len(text))

    def free_adapter(self, resident: Resident) -> None:
        """Nothing is held."""

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """Append to the slots."""
        self.rows, self.blends = [], []
        out = []
        for chunk in chunks:
            held = self._held.setdefault(chunk.slot, [])
            if len(held) != chunk.start:
                raise AssertionError(
                    f"slot {chunk.slot} holds {len(held)} tokens, the chunk begins at {chunk.start}"
                )
            held.extend(chunk.tokens)
            out.append(len(self.rows) if chunk.wanted else -1)
            for end in range(len(held) - chunk.wanted, len(held)):
                self.rows.append(held[: end + 1])
                self.blends.append(chunk.blend)
        return out

    def interrupt(self) -> None:
        """Nothing here takes long."""

    def logits(self, row: int) -> NDArray[np.float32]:
        """Certain of nothing but the length: a peak at the number of tokens seen."""
        scores = np.zeros(self.vocabulary.size, np.float32)
        scores[len(self.rows[row]) % self.vocabulary.size] = 5.0
        return scores

    def sampler(self, params: SamplingParams) -> EchoSampler:
        """Sampling parameters change nothing here."""
        return EchoSampler(self)

    def share(self, source: int, target: int, length: int) -> None:
        """Copy the list."""
        self._held[target] = self._held.get(source, [])[:length]

    def save(self, slot: int) -> NDArray[Any]:
        """The list."""
        return np.array(self._held.get(slot, []), np.int32)

    def restore(self, slot: int, blob: NDArray[Any]) -> bool:
        """The list."""
        self._held[slot] = blob.tolist()
        return True

    def trim(self, slot: int, length: int) -> None:
        """Cut the list."""
        self._held[slot] = self._held.get(slot, [])[:length]

    def close(self) -> None:
        """Nothing is held."""
        self._held.clear()
