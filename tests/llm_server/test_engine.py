"""The engine on the echo backend, and on one that breaks on purpose."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from llm_server.backends.echo import EchoBackend
from llm_server.engine.backend import Chunk
from llm_server.engine.engine import Limits
from llm_server.engine.grammar import Directive, FixedGuide, Grammar
from llm_server.errors import CacheExhausted, EngineFailure, QueueFull, ShuttingDown
from tests.llm_server.running import running, say, start


class Gated(EchoBackend):
    """Computes only as often as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = threading.Semaphore(0)

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """Wait for leave."""
        self.allowed.acquire()
        return super().decode(chunks)


class Poisoned(EchoBackend):
    """Fails every batch that holds a certain byte."""

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """Fail before anything is computed."""
        if any(ord("!") in chunk.tokens for chunk in chunks):
            raise EngineFailure("poison")
        return super().decode(chunks)


class Small(EchoBackend):
    """Room for a number of tokens, prefixes included."""

    def __init__(self, cells: int) -> None:
        super().__init__(slots=8)
        self.cells = cells

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """CacheExhausted when it would hold more."""
        held = sum(map(len, self._held.values())) + sum(len(chunk.tokens) for chunk in chunks)
        if held > self.cells:
            raise CacheExhausted("full")
        return super().decode(chunks)


def test_many_sequences_finish_together() -> None:
    with running(EchoBackend()) as engine:
        runs = [start(engine, say(f"number {n}"), max_tokens=50) for n in range(20)]
        assert [run.wait().text for run in runs] == [f"number {n}" for n in range(20)]
        assert {run.reason for run in runs} == {"stop"}


def test_length_is_kept() -> None:
    with running(EchoBackend()) as engine:
        run = start(engine, say("abcdef"), max_tokens=3).wait()
        assert (run.text, run.reason, run.sequence.usage().completion) == ("abc", "length", 3)


def test_a_stop_string_ends_a_sequence() -> None:
    with running(EchoBackend()) as engine:
        run = start(engine, say("one two three"), stops=("two",), max_tokens=50).wait()
        assert (run.text, run.reason) == ("one ", "stop")


def test_the_context_is_the_limit_of_a_generation() -> None:
    backend = EchoBackend(context=36)
    with running(backend) as engine:
        prompt = say("abcdefghij")
        run = start(engine, prompt, max_tokens=1000).wait()
        assert run.reason == "length"
        assert len(run.sequence.tokens) == 36


def test_a_cancelled_sequence_is_out_before_the_next_step() -> None:
    backend = Gated()
    with running(backend, Limits(running=1, speculate=False)) as engine:
        run = start(engine, say("a" * 100), max_tokens=200)
        backend.allowed.release(2)
        run.step()
        engine.cancel(run.sequence)
        backend.allowed.release()  # the step that runs already
        assert run.wait().reason == "cancelled"
        assert len(run.text) <= 3
        waiting = start(engine, say("next"), max_tokens=8)
        backend.allowed.release(10)
        assert waiting.wait().text == "next"


def test_a_sequence_that_waits_can_be_cancelled() -> None:
    backend = Gated()
    with running(backend, Limits(running=1)) as engine:
        first, second = start(engine, say("first"), max_tokens=9), start(engine, say("second"), max_tokens=9)
        engine.cancel(second.sequence)
        backend.allowed.release(20)
        assert second.wait().reason == "cancelled"
        assert first.wait().text == "first"


def test_a_broken_sequence_fails_alone() -> None:
    with running(Poisoned()) as engine:
        runs = [start(engine, say(text), max_tokens=30) for text in ("fine", "bad!", "also fine")]
        assert [run.wait().text for run in runs] == ["fine", "", "also fine"]
        assert isinstance(runs[1].end, object)
        assert "poison" in str(runs[1].end)
        assert start(engine, say("and then"), max_tokens=30).wait().text == "and then"


def test_an_error_in_a_guide_fails_its_sequence_alone() -> None:
    class Broken(FixedGuide):
        def after(self, text: str, token: int, complete: bool) -> Directive | None:
            raise RuntimeError("oh")

    with running(EchoBackend()) as engine:
        other = start(engine, say("fine"), max_tokens=30)
        run = start(engine, say("x"), guide=Broken(Grammar("root ::= [a-z]", "x")), max_tokens=30).wait()
        assert "oh" in str(run.end)
        assert other.wait().text == "fine"


def test_cached_prefixes_make_room_for_running_sequences() -> None:
    with running(Small(200), Limits(running=2)) as engine:
        for n in range(6):
            assert start(engine, say(f"{n} " + "x" * 40), max_tokens=60).wait().reason == "stop"


def test_when_two_do_not_fit_one_waits_and_both_finish() -> None:
    with running(Small(200), Limits(running=2)) as engine:
        runs = [start(engine, say(f"{n} " + "y" * 50), max_tokens=60) for n in range(3)]
        assert [run.wait().text for run in runs] == [f"{n} " + "y" * 50 for n in range(3)]


def test_what_can_never_fit_fails_and_others_go_on() -> None:
    with running(Small(60)) as engine:
        assert "LLM_CACHE_TOKENS" in str(start(engine, say("z" * 90)).wait().end)
        assert start(engine, say("ok")).wait().text == "ok"


def test_a_prefix_is_reused_and_counted() -> None:
    with running(EchoBackend()) as engine:
        start(engine, say("the same words"), max_tokens=30).wait()
        again = start(engine, say("the same words"), max_tokens=30).wait()
        assert again.sequence.usage().cached == len(again.sequence.tokens) - again.sequence.generated - 1
        assert engine.scheduler.cache.hits == 1


def test_a_prefix_that_cannot_be_saved_or_restored_is_computed_again() -> None:
    class Forgetful(EchoBackend):
        """Every second thing it is asked to keep is lost."""

        saves = restores = 0

        def save(self, slot: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.int32]]":
            self.saves += 1
            if self.saves % 2:
                raise MemoryError
            return super().save(slot)

        def restore(self, slot: int, blob: "np.ndarray[tuple[int, ...], np.dtype[np.int32]]") -> bool:
            self.restores += 1
            return bool(self.restores % 2) and super().restore(slot, blob)

    backend = Forgetful(slots=1)
    words = [f"a long enough question {n}" for n in range(4)]
    with running(backend, Limits(running=1)) as engine:
        for word in [*words, *words, *words]:
            assert start(engine, say(word), max_tokens=60).wait().text == word
    assert backend.restores > 1


def test_a_full_queue_refuses_all_or_none() -> None:
    backend = Gated()
    with running(backend, Limits(running=1, queue=2)) as engine:
        runs = [start(engine, say(str(n)), max_tokens=4) for n in range(3)]
        with pytest.raises(QueueFull):
            start(engine, say("one too many"))
        backend.allowed.release(50)
        assert [run.wait().text for run in runs] == ["0", "1", "2"]


def test_draining_finishes_what_runs_and_takes_nothing_new() -> None:
    with running(EchoBackend()) as engine:
        run = start(engine, say("last words"), max_tokens=30)
        assert engine.drain(10)
        with pytest.raises(ShuttingDown):
            start(engine, say("too late"))
        assert run.wait().text == "last words"


def test_closing_fails_what_is_left() -> None:
    backend = Gated()
    with running(backend) as engine:
        run = start(engine, say("never"), max_tokens=30)
        threading.Timer(0.1, backend.allowed.release, [5]).start()
    assert "shutting down" in str(run.wait().end)
