"""One request's way through the engine."""

import codecs
import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from llm_server.engine.backend import Sampler
from llm_server.engine.blend import BASE, Blend
from llm_server.engine.detokenizer import Detokenizer
from llm_server.engine.grammar import Guide
from llm_server.engine.sampling import SamplingParams
from llm_server.engine.speculation import Lookup
from llm_server.errors import LlmServerError

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with its log probability (natural logarithm)."""

    token: int
    piece: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()
    """The likeliest tokens at this place: id, bytes, log probability."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Text that came out of one step; `scores` where log probabilities were asked for."""

    text: str
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one sequence."""

    prompt: int
    completion: int
    cached: int
    """Prompt tokens that came out of the prefix cache."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: `stop`, `length`, `tool_calls` or `cancelled`."""

    reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a sequence that could not go on."""

    error: LlmServerError


Event = Delta | Finished | Failed


class CacheKey(NamedTuple):
    """What computed keys and values depend on besides the tokens: a prefix is reused under the same key
    only.
    """

    base: bytes
    blend: bytes = b""
    """Hash of the adapters' contents and scales; empty for none."""

    def digest(self, tokens: "list[int]") -> bytes:
        """Name of a cached prefix: hash of (base, adapter contents, scales, tokens)."""
        head = b"%b|%b|" % (self.base, self.blend)
        return hashlib.blake2b(head + repr(tokens).encode(), digest_size=16).digest()


@dataclass(eq=False, slots=True)
class Sequence:
    """Tokens of one generation and where they stand; only the engine's thread changes it."""

    tokens: list[int]
    params: SamplingParams
    key: CacheKey
    sink: Callable[[Event], None]
    """Called in the engine's thread."""
    max_tokens: int
    guide: Guide | None = None
    stops: tuple[str, ...] = ()
    visible: frozenset[int] = frozenset()
    """Special tokens whose text is part of the output."""
    blend: Blend = BASE
    """The adapters that compute it; `key` has their hash."""
    release: Callable[[], None] = lambda: None
    """Called once when it is through: whoever lent the adapters may take them back."""
    id: int = field(default_factory=lambda: next(_ids))
    created: float = field(default_factory=time.monotonic)
    prompt_length: int = field(init=False)
    computed: int = 0
    """Tokens whose keys and values are in `slot`."""
    reused: int = 0
    slot: int | None = None
    lookup: Lookup = field(default_factory=Lookup)
    """Where drafts come from."""
    sampler: Sampler | None = None
    detokenizer: Detokenizer = field(init=False)
    reader: codecs.IncrementalDecoder = field(init=False)
    """Bytes to text for the guide, which must not wait for stop strings."""
    scoring: int | None = None
    """Likeliest tokens to tell beside each token of the prompt; None scores no prompt."""
    prompt_scores: list[TokenScore] = field(default_factory=list)
    """Of the prompt's tokens but the first, which nothing comes before; whole when the first token is out."""
    last_token_at: float | None = None
    cancelled: bool = False
    done: bool = False

    def __post_init__(self) -> None:
        self.prompt_length = len(self.tokens)
        self.detokenizer = Detokenizer(self.stops)
        self.reader = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def pending(self) -> int:
        """Tokens that are known but not computed; 1 while it decodes."""
        return len(self.tokens) - self.computed

    @property
    def unscored(self) -> bool:
        """Whether tokens of its prompt are still to be scored: each of them is computed, none reused."""
        return self.scoring is not None and len(self.prompt_scores) < self.prompt_length - 1

    @property
    def generated(self) -> int:
        """Tokens beyond the prompt."""
        return len(self.tokens) - self.prompt_length

    @property
    def prefilling(self) -> bool:
        """Whether its prompt is not through yet."""
        return self.computed < self.prompt_length - 1

    def usage(self) -> Usage:
        """Counts so far."""
        return Usage(self.prompt_length, self.generated, self.reused)
