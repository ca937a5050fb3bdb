"""Who computes in the next step. Knows sequences, slots and counts; never a tensor.

A step has a budget of tokens: sequences that decode come first with one token each, what is left goes to
prompts, in chunks, oldest first, so that a long prompt delays the others by one chunk and never by its
whole length. A chunk is as long as a pause may be (see `pace`). Where the backend cannot mix adapters in a
batch, a step is of one group (see `turns`).
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from llm_server.engine.backend import Chunk
from llm_server.engine.pace import Pace
from llm_server.engine.prefix_cache import Placement, Prefix, PrefixCache, Saved, common_prefix
from llm_server.engine.sequence import Sequence
from llm_server.engine.speculation import StepCost
from llm_server.engine.turns import Turns
from llm_server.errors import EngineFailure

WORTH_WAITING = 64
"""Tokens of a prompt that another sequence computes right now from which on it is better to wait and
share them.
"""


@dataclass(slots=True)
class Work:
    """Compute `count` tokens of a sequence from its `computed` on. As short-lived as a `Chunk`."""

    sequence: Sequence
    count: int
    draft: list[int] = field(default_factory=list)
    """Tokens that may come after them, computed in the same go."""
    scored: bool = False
    """Whether the logits of all of them are wanted, for the tokens that come after."""

    @property
    def wanted(self) -> int:
        """How many of the last tokens' logits are needed: of those that nothing known comes after."""
        if self.scored:
            return self.count
        return 1 + len(self.draft) if self.count == self.sequence.pending else 0

    def chunk(self) -> Chunk:
        """For the backend. EngineFailure for a sequence without a slot."""
        sequence = self.sequence
        if sequence.slot is None:
            raise EngineFailure("The sequence has no slot.")
        start = sequence.computed
        tokens = sequence.tokens[start : start + self.count]
        if self.draft:
            tokens += self.draft
        return Chunk(sequence.slot, start, tokens, self.wanted, sequence.blend)


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: first make slots hold what they shall, then compute."""

    work: list[Work] = field(default_factory=list)
    placed: list[tuple[Sequence, Placement]] = field(default_factory=list)
    """Sequences that start. In this order: one may take the slot whose prefix the next one reuses."""


class Scheduler:
    """Waiting and running sequences. One thread."""

    def __init__(
        self,
        cache: PrefixCache,
        *,
        running: int,
        budget: int,
        mixes: bool = True,
        context: int = 0,
        cost: StepCost | None = None,
        pace: Pace | None = None,
        scored: int = 1,
    ) -> None:
        """`cost`: what steps take; without it nothing is drafted. `pace`: what prompts take. `scored`: tokens
        of a prompt whose logits a step may be asked for.
        """
        self._scored = scored
        self.cache = cache
        self._context = context
        self._cost = cost
        self._pace = pace
        self._turns = None if mixes else Turns()
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._limit = running
        self._budget = budget
        self._full = False
        """Somebody was sent back for want of room: nobody is admitted until another one is through."""

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; how many may wait is the engine's affair."""
        self.waiting.append(sequence)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self.running)

    def schedule(self) -> Plan:
        """Admit what fits, then share out the step's tokens."""
        plan = Plan()
        self._admit(plan)
        budget = self._budget
        group = self._group()
        pending = [(s, s.pending) for s in group]
        deciding = [s for s, count in pending if count == 1]
        prompts = [s for s, count in pending if count > 1]
        # A prompt's reader waits already; groups that take turns get equal tokens from equal steps.
        drafting = not prompts and len(group) == len(self.running)
        for sequence in deciding[:budget]:
            draft = self._draft(sequence, len(deciding), budget - len(deciding)) if drafting else []
            plan.work.append(Work(sequence, 1, draft))
            budget -= 1 + len(draft)
        room = self._pace.tokens(budget, beside=len(self.running) > len(prompts)) if self._pace else budget
        for sequence in prompts:
            scored = sequence.unscored
            count = min(sequence.pending, room, self._scored if scored else room)
            if count:
                plan.work.append(Work(sequence, count, scored=scored))
                room -= count
        if self._turns:
            self._turns.charge(sum(work.count + len(work.draft) for work in plan.work))
        return plan

    def _draft(self, sequence: Sequence, rows: int, room: int) -> list[int]:
        """Tokens to try; none where that does not pay."""
        if self._cost is None:
            return []
        room = min(
            room, sequence.max_tokens - sequence.generated - 1, self._context - len(sequence.tokens) - 1
        )
        return sequence.lookup.draft(sequence.tokens, room, self._cost.share(rows)) if room > 0 else []

    def _group(self) -> list[Sequence]:
        """The sequences that may be in this step's batch."""
        if self._turns is None:
            return self.running
        key = self._turns.choose(s.key for s in self.running)
        return [s for s in self.running if s.key == key]

    def finish(self, sequence: Sequence, keep: bool = True) -> list[int]:
        """Take a sequence out; returns slots to be emptied. `keep` caches its tokens as a prefix."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        if sequence in self.running:
            self.running.remove(sequence)
            self._full = False
        slot, sequence.slot = sequence.slot, None
        if slot is None:
            return []
        tokens = sequence.tokens[: sequence.computed] if keep else []
        return self.cache.keep(slot, Prefix.of(sequence.key, tokens))

    def preempt(self) -> tuple[int, Saved | None] | None:
        """Send the youngest running sequence back to the queue's head; its slot, to be emptied, and what is
        to be saved before. None when it is the only one: it could never go on.
        """
        if len(self.running) < 2:
            return None
        self._full = True
        sequence = self.running.pop()
        done = Prefix.of(sequence.key, sequence.tokens[: sequence.computed])
        slot, sequence.slot, sequence.computed = sequence.slot, None, 0
        self.waiting.appendleft(sequence)
        return None if slot is None else (slot, self.cache.release(slot, done))

    def _admit(self, plan: Plan) -> None:
        for sequence in list(self.waiting):
            if len(self.running) >= self._limit or self._full:
                return
            if self._shared_soon(sequence):
                continue
            known = [] if sequence.unscored else sequence.tokens
            placement = self.cache.place(Prefix.of(sequence.key, known), self._live())
            if placement is None:
                return
            self.waiting.remove(sequence)
            sequence.slot, sequence.computed = placement.slot, placement.reused
            if not sequence.generated:
                sequence.reused = placement.reused
            self.running.append(sequence)
            plan.placed.append((sequence, placement))

    def _live(self) -> dict[int, Prefix]:
        return {s.slot: Prefix.of(s.key, s.tokens[: s.computed]) for s in self.running if s.slot is not None}

    def _shared_soon(self, sequence: Sequence) -> bool:
        """Whether a running prompt is about to compute much more of the same prefix than is there now."""
        if sequence.unscored:
            return False
        there = 0
        coming = 0
        wanted = Prefix.of(sequence.key, sequence.tokens)
        for other in (s for s in self.running if s.key == sequence.key):
            common = common_prefix(np.array(other.tokens, np.int32), wanted.tokens)
            there = max(there, min(common, other.computed))
            coming = max(coming, common if other.pending > 1 else 0)
        if coming < there + WORTH_WAITING:
            return False
        _, cached = self.cache.find(wanted)
        return coming >= max(there, cached) + WORTH_WAITING
