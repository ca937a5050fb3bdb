"""Drafts by prompt lookup: what followed the last words the last time they were said (Saxena 2023).

Agents copy: names out of the question, columns out of a schema, sentences out of a passage. A draft is
computed in the same step as the token before it, and as many of its tokens are kept as the sampler chooses
anyway, so that nothing but the speed changes. Whether that pays is measured: what one more token adds to a
step, and how often drafts of this sequence were right.
"""

from dataclasses import dataclass, field

REACH = 3
"""Tokens that have to be equal before a draft is made."""
MOST = 8
"""Tokens of a draft."""
PRIOR = 0.6
"""Chance of a drafted token until something is known."""
FORGETTING = 0.98
"""Weight of what was known before, at every step."""


class StepCost:
    """Seconds of a step by its tokens: a straight line through the latest steps, by least squares."""

    def __init__(self) -> None:
        self._steps = self._tokens = self._seconds = self._squares = self._products = 0.0

    def learn(self, tokens: int, seconds: float) -> None:
        """A step without prompts took that long."""
        news = (1.0, tokens, seconds, tokens * tokens, tokens * seconds)
        old = (self._steps, self._tokens, self._seconds, self._squares, self._products)
        mixed = (FORGETTING * before + now for before, now in zip(old, news, strict=True))
        self._steps, self._tokens, self._seconds, self._squares, self._products = mixed

    def share(self, rows: int) -> float:
        """What one more token costs, over what a token costs in a step of `rows`: 0 is free, 1 is no gain.
        A third until steps of different sizes have been seen.
        """
        spread = self._steps * self._squares - self._tokens**2
        if self._steps < 2 or spread < 1e-3 * self._tokens**2:
            return 1 / 3
        more = (self._steps * self._products - self._tokens * self._seconds) / spread
        start = (self._seconds - more * self._tokens) / self._steps
        each = max(start, 0.0) / rows + more
        return min(1.0, max(0.0, more) / each) if each > 0 else 1.0


@dataclass(slots=True)
class Lookup:
    """Where each run of REACH tokens of one sequence was last, and how often drafts were right."""

    chance: float = PRIOR
    _last: dict[tuple[int, ...], int] = field(default_factory=dict)
    """Run of tokens to the position after it."""
    _indexed: int = REACH

    def draft(self, tokens: list[int], room: int, cost: float) -> list[int]:
        """Up to `room` tokens that may follow; fewer where a wrong one costs more than a right one gains."""
        for end in range(self._indexed, len(tokens)):
            self._last[tuple(tokens[end - REACH : end])] = end
        self._indexed = max(self._indexed, len(tokens))
        after = self._last.get(tuple(tokens[-REACH:]))
        if after is None:
            return []
        count = min(self._worth(cost), room)
        if not count:
            # What was wrong long ago may be right now.
            self.chance += (PRIOR - self.chance) / 100
        return tokens[after : after + count]

    def learn(self, offered: int, taken: int) -> None:
        """Of a draft that many were right; behind a wrong token nothing was seen."""
        for right in [True] * taken + [False] * (taken < offered):
            self.chance += (right - self.chance) / 8

    def _worth(self, cost: float) -> int:
        """Tokens whose chance of being kept is above their cost."""
        count, kept = 0, self.chance
        while count < MOST and kept > cost:
            count += 1
            kept *= self.chance
        return count
