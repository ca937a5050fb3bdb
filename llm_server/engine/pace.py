"""How much of a prompt goes into one step, measured in time: who decodes meanwhile waits for the whole step,
and so does a client that wants to leave.
"""

ALONE = 1.0
"""Seconds of a step in which nobody decodes."""
BESIDE = 0.15
"""Seconds that a step is longer for a prompt while others decode: a pause that a reader does not notice."""
LEAST = 32
"""Tokens that are computed whatever they take: fewer at a time cost more each."""
FIRST = 128
"""Tokens of the first part, before anything is known."""


class Pace:
    """Seconds that a token of a prompt takes, on this machine and at present."""

    def __init__(self) -> None:
        self._each = 0.0

    def learn(self, tokens: int, seconds: float) -> None:
        """Prompts of so many tokens made a step that long."""
        each = seconds / tokens
        self._each = each if not self._each else self._each + (each - self._each) / 4

    def tokens(self, budget: int, beside: bool) -> int:
        """Tokens of prompts in the next step, `budget` at most; `beside` others that decode."""
        if not self._each:
            return min(budget, FIRST)
        return min(budget, max(LEAST, int((BESIDE if beside else ALONE) / self._each)))
