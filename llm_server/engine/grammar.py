"""What a sequence may say next: grammars, and guides that change them between tokens."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Grammar:
    """A context-free grammar over characters in llama.cpp's GBNF, its start symbol `root`."""

    gbnf: str
    example: str = ""
    """One text of the language, for a backend that has no logits to mask."""


@dataclass(frozen=True, slots=True)
class Directive:
    """What a guide wants before the next token is sampled."""

    grammar: Grammar | None = None
    """The grammar of the tokens from here on; None lets everything through."""
    exempt: frozenset[int] = frozenset()
    """Tokens that are allowed before the grammar's first one and wherever it may end, whatever it says."""
    force: tuple[int, ...] = ()
    """Tokens that follow now without being sampled."""
    replay: bool = False
    """The grammar begins where the one before it began: it has to take what has been said since."""
    finish: str | None = None
    """Ends the sequence, with this reason."""


class Guide(Protocol):
    """Steers one sequence. Called in the engine's thread, so it is quick and blocks on nothing."""

    def begin(self) -> Directive:
        """Before the first token."""
        ...

    def after(self, text: str, token: int, complete: bool) -> Directive | None:
        """After a token: `text` is what it added, `complete` says that the grammar may end here.

        None leaves everything as it is.
        """
        ...


class FixedGuide:
    """One grammar from the first token to the last; the sequence ends where the grammar does."""

    def __init__(self, grammar: Grammar) -> None:
        self._directive = Directive(grammar=grammar)

    def begin(self) -> Directive:
        """The grammar."""
        return self._directive

    def after(self, text: str, token: int, complete: bool) -> Directive | None:
        """Nothing changes."""
        return None
