"""How many tokens a text has: by the base's own tokenizer where its folder is known, else an estimate.

Only the tokenizer is loaded, by the library `tokenizers`: no model, no torch.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rlhf.registry import file_sha256

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHARACTERS_A_TOKEN = 4
FILE = "tokenizer.json"
ESTIMATE = f"estimate: {CHARACTERS_A_TOKEN} characters a token"


@dataclass(frozen=True)
class Tokens:
    """Counts tokens. `base` is a transformers folder; without one, or without its tokenizer, it estimates."""

    base: Path | None = None

    @property
    def by(self) -> str:
        """What counts: the folder's name and the first digits of its tokenizer's hash, or `estimate: …`."""
        if self.base is None or self._tokenizer is None:
            return ESTIMATE
        return f"{self.base.resolve().name} {file_sha256(self.base / FILE)[:12]}"

    @cached_property
    def _tokenizer(self) -> "Tokenizer | None":
        if self.base is None or not (self.base / FILE).is_file():
            return None
        from tokenizers import Tokenizer

        found = Tokenizer.from_file(str(self.base / FILE))
        # A tokenizer may be kept with the length of its model.
        found.no_truncation()
        found.no_padding()
        return found

    def count(self, text: str) -> int:
        """Tokens of a text, without those that a template or a model adds."""
        if self._tokenizer is None:
            return -(-len(text) // CHARACTERS_A_TOKEN)
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def ends(self, text: str) -> list[int]:
        """Where each token of a text ends, in characters."""
        if self._tokenizer is None:
            return [*range(CHARACTERS_A_TOKEN, len(text), CHARACTERS_A_TOKEN), len(text)] if text else []
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return [end for _, end in offsets]
