"""One thread that steps: schedule, run, postprocess. Everything else talks to it through an inbox.

The event loop never waits for it: `submit` and `cancel` put a note into the inbox and return, results come
through the sequence's sink.
"""

import logging
import queue
import threading
import time
from collections import abc
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from llm_server.engine.backend import Backend
from llm_server.engine.blend import Resident
from llm_server.engine.grammar import Directive
from llm_server.engine.observer import Observer
from llm_server.engine.pace import Pace
from llm_server.engine.prefix_cache import Placement, PrefixCache
from llm_server.engine.prefix_disk import PrefixDisk
from llm_server.engine.scheduler import Plan, Scheduler, Work
from llm_server.engine.scores import SCORED_TOKENS, score_prompt, token_score
from llm_server.engine.sequence import Delta, Event, Failed, Finished, Sequence, TokenScore
from llm_server.engine.slots import Slots
from llm_server.engine.speculation import StepCost
from llm_server.engine.warm_up import fulfil, warm_up
from llm_server.errors import (
    CacheExhausted,
    EngineFailure,
    Interrupted,
    LlmServerError,
    QueueFull,
    ShuttingDown,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of an engine."""

    running: int = 8
    """Sequences that decode together."""
    queue: int = 64
    """Sequences that may wait."""
    step_tokens: int = 512
    """Tokens a step."""
    prefix_bytes: int = 256 << 20
    """Of prefixes saved in the host's memory."""
    speculate: bool = True
    """Try what followed the last words before, where that is measured to pay."""


class Engine:
    """Runs sequences on a backend, many at a time."""

    def __init__(
        self,
        backend: Backend,
        limits: Limits | None = None,
        observer: Observer | None = None,
        disk: PrefixDisk | None = None,
    ) -> None:
        limits = limits or Limits()
        self.backend = backend
        self.limits = limits
        self._observer = observer or Observer()
        budget = min(limits.step_tokens, backend.batch)
        cache = PrefixCache(backend.slots, limits.prefix_bytes)
        self._slots = Slots(backend, cache, disk)
        self._cost, self._pace = StepCost(), Pace()
        self.scheduler = Scheduler(
            cache,
            running=limits.running,
            budget=budget,
            mixes=backend.mixes,
            context=backend.context,
            cost=self._cost if limits.speculate and backend.speculates else None,
            pace=self._pace,
            scored=SCORED_TOKENS if backend.speculates else 1,
        )
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._reading: tuple[Sequence, ...] = ()
        """Whose prompts the running step computes."""
        self._accepting, self._stopping = True, False
        self._count = 0
        self._lock = threading.Lock()

    # Any thread

    def start(self, prompt: abc.Sequence[int] = ()) -> None:
        """Begin to step. A `prompt` is computed first, and waited for: what only a first request pays is
        paid before anybody asks. EngineFailure where the model cannot compute.
        """
        self._thread.start()
        if prompt:
            warm: Future[None] = Future()
            self._inbox.put(lambda: fulfil(warm, lambda: warm_up(self.backend, prompt)))
            warm.result()

    def submit(self, sequences: list[Sequence]) -> None:
        """Hand sequences in, all or none. QueueFull or ShuttingDown, at once."""
        with self._lock:
            if not self._accepting:
                raise ShuttingDown("The server is shutting down.")
            waiting = self._count - self.limits.running
            if self._count and waiting + len(sequences) > self.limits.queue:
                raise QueueFull(max(0, waiting), retry_after=max(1.0, waiting / self.limits.running))
            self._count += len(sequences)
        self._inbox.put(lambda: self._accept(sequences))

    def cancel(self, sequence: Sequence) -> None:
        """Take a sequence out before the next step; nothing happens when it is through. A step that computes
        its prompt ends at once and is taken again without it.
        """
        sequence.cancelled = True
        self._inbox.put(lambda: self._end(sequence, "cancelled"))
        if sequence in self._reading:
            self.backend.interrupt()

    def cancel_using(self, resident: Resident, error: LlmServerError) -> None:
        """End every sequence that an adapter computes, with an error that its client sees."""

        def end() -> None:
            for sequence in (*self.scheduler.running, *self.scheduler.waiting):
                if any(part is resident for part, _ in sequence.blend.parts):
                    self._fail(sequence, error)

        self.between_steps(end)

    def between_steps(self, action: Callable[[], None]) -> None:
        """Run something in the engine's thread before the next step; at once where no thread is running."""
        if self._thread.is_alive():
            self._inbox.put(action)
        else:
            action()

    def drain(self, seconds: float) -> bool:
        """Accept nothing new and wait until all is through; False when `seconds` were not enough."""
        with self._lock:
            self._accepting = False
        deadline = time.monotonic() + seconds
        while self._count and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self._count

    def close(self) -> None:
        """Stop after the running step, fail what is left, free the backend."""
        with self._lock:
            self._accepting = False
        self._stopping = True
        self._inbox.put(lambda: None)
        if self._thread.is_alive():
            self._thread.join()
        self._slots.close()
        self.scheduler.cache.clear()
        self.backend.close()

    @property
    def load(self) -> int:
        """Sequences that are not through."""
        return self._count

    # The engine's thread

    def _run(self) -> None:
        while not self._stopping:
            self._read_inbox(wait=not self.scheduler.busy)
            if self.scheduler.busy and not self._stopping:
                self._step()
        self._read_inbox(wait=False)
        for sequence in (*self.scheduler.running, *self.scheduler.waiting):
            self._fail(sequence, ShuttingDown("The server is shutting down."))

    def _read_inbox(self, wait: bool) -> None:
        """Read every note; `wait` for one when there is nothing to compute."""
        while True:
            try:
                note = self._inbox.get(block=wait)
            except queue.Empty:
                return
            note()
            wait = False

    def _accept(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            if sequence.cancelled:
                self._end(sequence, "cancelled")
            else:
                self.scheduler.add(sequence)

    def _step(self) -> None:
        try:
            plan = self.scheduler.schedule()
            self._place(plan)
            self._compute([work for work in plan.work if not work.sequence.done])
            self._observer.step(self.scheduler)
        except Exception as error:
            log.exception("a step failed")
            for sequence in list(self.scheduler.running):
                self._fail(sequence, EngineFailure(f"The engine failed: {error}"))

    def _place(self, plan: Plan) -> None:
        """Make slots hold what the plan says and open the samplers."""
        for sequence, placement in plan.placed:
            if placement.displaced is not None:
                self._slots.save(placement.slot, placement.displaced)
            self._guarded(sequence, partial(self._settle, sequence, placement))

    def _settle(self, sequence: Sequence, placement: Placement) -> None:
        self._slots.fill(sequence, placement)
        if sequence.sampler is None:
            self._open(sequence)

    def _open(self, sequence: Sequence) -> None:
        sequence.sampler = self.backend.sampler(sequence.params)
        if sequence.guide is not None:
            self._follow(sequence, sequence.guide.begin())

    def _compute(self, work: list[Work]) -> None:
        """Run the batch. No room: free some, the next step tries again. Broken: find out whose fault."""
        work = [item for item in work if item.sequence.pending >= item.count]
        if not work:
            return
        self._reading = tuple(item.sequence for item in work if item.count > 1)
        began = time.perf_counter()
        try:
            # Who leaves later finds itself in there; who has left before has a note in the inbox.
            if any(sequence.cancelled for sequence in self._reading):
                return
            rows = self.backend.decode([item.chunk() for item in work])
        except Interrupted:
            return
        except CacheExhausted:
            self._make_room(work)
            return
        except EngineFailure as error:
            self._compute_apart(work, error)
            return
        finally:
            self._reading = ()
        self._time(work, time.perf_counter() - began)
        for item in work:
            item.sequence.computed += item.count
        for item, row in zip(work, rows, strict=True):
            if row >= 0:
                self._guarded(item.sequence, partial(self._read, item, row))

    def _read(self, work: Work, row: int) -> None:
        """The scores of a prompt where they are wanted, and what comes after all that is known."""
        if work.scored:
            score_prompt(self.backend, work.sequence, row, work.count)
            row += work.count - 1
        if not work.sequence.pending:
            self._next_tokens(work, row)

    def _time(self, work: list[Work], seconds: float) -> None:
        """A step with prompts in it is theirs: next to them the others' tokens are few."""
        prompts = sum(item.count for item in work if item.count > 1)
        if prompts:
            self._pace.learn(prompts, seconds)
        else:
            self._cost.learn(sum(1 + len(item.draft) for item in work), seconds)

    def _next_tokens(self, work: Work, row: int) -> None:
        """One token, and one more for each drafted token that is what was sampled."""
        sequence, draft = work.sequence, work.draft
        taken = 0
        while True:
            self._next_token(sequence, row + taken)
            right = taken < len(draft) and sequence.tokens[sequence.computed] == draft[taken]
            if sequence.done or sequence.pending != 1 or not right:
                break
            sequence.computed += 1
            taken += 1
        if draft:
            sequence.lookup.learn(len(draft), taken)
            self._observer.drafted(len(draft), taken)
            if sequence.slot is not None:
                self.backend.trim(sequence.slot, sequence.computed)

    def _compute_apart(self, work: list[Work], error: EngineFailure) -> None:
        """Every sequence by itself, so that only those fail that cannot be computed."""
        if len(work) == 1:
            self._fail(work[0].sequence, error)
            return
        log.warning("batch failed, computing its sequences one by one", extra={"sequences": len(work)})
        for item in work:
            self._slots.clean(item.sequence)
            self._compute([item])

    def _make_room(self, work: list[Work]) -> None:
        freed = self.scheduler.cache.evict() or self.scheduler.preempt()
        if freed is None:
            sequence = work[0].sequence
            self._fail(
                sequence,
                EngineFailure("The KV cache has no room for this sequence. Set LLM_CACHE_TOKENS higher."),
            )
            return
        slot, saved = freed
        if saved is not None:
            self._slots.save(slot, saved)
        self.backend.trim(slot, 0)

    def _next_token(self, sequence: Sequence, row: int) -> None:
        """Sample, follow the guide, say what came out."""
        sampler = sequence.sampler
        if sampler is None:
            raise EngineFailure("The sequence has no sampler.")
        token = sampler.sample(row)
        count = sequence.params.logprobs
        scores = () if count is None else (token_score(self.backend, row, token, count),)
        now = time.monotonic()
        self._observer.token(sequence, now)
        sequence.last_token_at = now
        sequence.tokens.append(token)
        if self.backend.vocabulary.is_end(token):
            self._end(sequence, "stop")
            return
        text = self._say(sequence, token, scores)
        if sequence.guide is not None and not sequence.done:
            directive = sequence.guide.after(text, token, sampler.complete())
            if directive is not None:
                self._follow(sequence, directive)
        self._check_length(sequence)

    def _follow(self, sequence: Sequence, directive: Directive) -> None:
        if sequence.sampler is None:
            return
        sequence.sampler.constrain(directive)
        for token in directive.force:
            sequence.tokens.append(token)
            self._say(sequence, token, ())
        if directive.finish is not None:
            self._end(sequence, directive.finish)

    def _say(self, sequence: Sequence, token: int, scores: tuple[TokenScore, ...]) -> str:
        """Send a token's text on; returns the text of the token itself, held back or not, for a guide."""
        vocabulary = self.backend.vocabulary
        hidden = token in vocabulary.control and token not in sequence.visible
        piece = b"" if hidden else vocabulary.piece(token)
        text = sequence.detokenizer.feed(piece)
        if text or scores:
            sequence.sink(Delta(text, scores))
        if sequence.detokenizer.stopped:
            self._end(sequence, "stop")
        return sequence.reader.decode(piece) if sequence.guide is not None else ""

    def _check_length(self, sequence: Sequence) -> None:
        full = len(sequence.tokens) >= self.backend.context
        if not sequence.done and (sequence.generated >= sequence.max_tokens or full):
            self._end(sequence, "length")

    def _end(self, sequence: Sequence, reason: str) -> None:
        if sequence.done:
            return
        if reason != "cancelled":
            rest = sequence.detokenizer.flush()
            if rest:
                sequence.sink(Delta(rest))
        self._close(sequence, reason, Finished(reason, sequence.usage()))

    def _fail(self, sequence: Sequence, error: LlmServerError) -> None:
        if not sequence.done:
            self._close(sequence, "error", Failed(error))

    def _close(self, sequence: Sequence, reason: str, event: Event) -> None:
        sequence.done = True
        self._slots.empty(self.scheduler.finish(sequence, keep=reason != "error"))
        if sequence.sampler is not None:
            sequence.sampler.close()
            sequence.sampler = None
        with self._lock:
            self._count -= 1
        self._observer.finished(sequence, reason)
        self._observer.step(self.scheduler)
        sequence.release()
        sequence.sink(event)

    def _guarded(self, sequence: Sequence, action: Callable[[], None]) -> None:
        """One sequence's error ends that sequence only."""
        try:
            action()
        except LlmServerError as error:
            self._fail(sequence, error)
        except Exception as error:
            log.exception("a sequence failed", extra={"sequence": sequence.id})
            self._fail(sequence, EngineFailure(f"The engine failed on this request: {error}"))
