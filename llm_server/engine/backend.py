"""The seam between the engine and whatever computes: one class a backend.

The engine's thread is the only caller after construction, but for `vocabulary` and `interrupt`, which any
thread may use, and `load_adapter`, which one thread at a time may call while the engine steps.
A slot is a row of the KV cache: it holds the keys and values of the first `length` tokens of one sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_server.engine.blend import BASE, Blend, Resident
from llm_server.engine.fim import FimTokens
from llm_server.engine.grammar import Directive
from llm_server.engine.sampling import SamplingParams


@dataclass(slots=True)
class Chunk:
    """Consecutive tokens of one sequence to compute. Nobody changes it; a frozen one takes three times as
    long to make, and every row of every step has one.
    """

    slot: int
    start: int
    """Position of the first token."""
    tokens: Sequence[int]
    wanted: int
    """Logits are made for that many of the last tokens."""
    blend: Blend = BASE
    """The adapters to compute it with."""


class Vocabulary(Protocol):
    """Text to tokens and back."""

    @property
    def size(self) -> int:
        """Number of tokens."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The model's own Jinja chat template."""
        ...

    @property
    def control(self) -> frozenset[int]:
        """Tokens that steer and are not text; they are left out of the output."""
        ...

    @property
    def specials(self) -> dict[str, int]:
        """Text and id of every token that has a meaning beyond its characters."""
        ...

    @property
    def fim(self) -> FimTokens | None:
        """Tokens for filling in the middle, where the model has them."""
        ...

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end a generation."""
        ...

    @property
    def bos(self) -> str:
        """Text of the token that begins a document, or an empty string."""
        ...

    @property
    def eos(self) -> str:
        """Text of the token that ends a turn, or an empty string."""
        ...

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Tokens of `text`; `special` reads the text of special tokens as them; `bos` adds the first one."""
        ...

    def piece(self, token: int) -> bytes:
        """UTF-8 bytes of a token, special ones included; may be a part of a character."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        ...


class Sampler(Protocol):
    """Chooses the tokens of one sequence."""

    def constrain(self, directive: Directive) -> None:
        """Replace the grammar and its exempt tokens. BadRequest for a broken grammar."""
        ...

    def sample(self, row: int) -> int:
        """The next token from an output of the last `decode`."""
        ...

    def complete(self) -> bool:
        """Whether the grammar may end here (False without a grammar)."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Backend(Protocol):
    """Computes chunks of many sequences in one go."""

    @property
    def digest(self) -> bytes:
        """Hash of the weights: half of the key of every cached prefix."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer."""
        ...

    @property
    def context(self) -> int:
        """Largest number of tokens of one sequence."""
        ...

    @property
    def slots(self) -> int:
        """Rows of the KV cache: sequences that can run."""
        ...

    @property
    def batch(self) -> int:
        """Largest number of tokens in one `decode`."""
        ...

    @property
    def mixes(self) -> bool:
        """Whether one `decode` may hold chunks of different blends; the scheduler groups them where not."""
        ...

    @property
    def speculates(self) -> bool:
        """Whether several tokens of a running sequence cost less than as many steps."""
        ...

    @property
    def blob_form(self) -> str:
        """Name of the form that `save` writes: blobs of another form cannot be restored."""
        ...

    def load_adapter(self, path: Path) -> Resident:
        """Read an adapter, in the backend's own format, into memory. AdapterRefused where it does not fit."""
        ...

    def free_adapter(self, resident: Resident) -> None:
        """Forget an adapter that no sequence uses."""
        ...

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """Compute; returns the first output row of each chunk, -1 where none is wanted. Others follow it.

        CacheExhausted when the KV cache has no room (nothing is changed), EngineFailure on anything else.
        """
        ...

    def interrupt(self) -> None:
        """Let the `decode` that runs end soon with Interrupted, or the next one where none is running. It may
        be taken again: what slots held before is still there.
        """
        ...

    def logits(self, row: int) -> NDArray[np.float32]:
        """Scores of every token for an output of the last `decode`; a view, valid until the next one."""
        ...

    def sampler(self, params: SamplingParams) -> Sampler:
        """A sampler for one sequence."""
        ...

    def share(self, source: int, target: int, length: int) -> None:
        """Let `target` hold the first `length` tokens of `source` too."""
        ...

    def save(self, slot: int) -> NDArray[Any]:
        """A copy of what `slot` holds, in the host's memory and in a form of the backend's own."""
        ...

    def restore(self, slot: int, blob: NDArray[Any]) -> bool:
        """Let an empty `slot` hold what was saved; False when there is no room."""
        ...

    def trim(self, slot: int, length: int) -> None:
        """Forget what `slot` holds from position `length` on."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...
