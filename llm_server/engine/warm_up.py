"""What only the first request pays: graphs that are reserved for a prompt and for single tokens, threads that
are started, weights and cache pages that are touched for the first time, the first grammar.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from llm_server.engine.backend import Backend, Chunk
from llm_server.engine.grammar import Directive, Grammar
from llm_server.engine.sampling import SamplingParams

ANYTHING = Grammar("root ::= .+", "a")
STEPS = 3
"""Single tokens after the prompt: some libraries plan their memory at the second run."""


def warm_up(backend: Backend, prompt: Sequence[int]) -> None:
    """Compute a prompt and some tokens after it in slot 0, and forget them. In the thread that steps, because
    libraries keep threads for each thread that calls them. EngineFailure where the model cannot compute.
    """
    tokens = list(prompt)[: min(backend.batch, backend.context - STEPS)]
    sampler = backend.sampler(SamplingParams(temperature=0))
    try:
        row = backend.decode([Chunk(0, 0, tokens, 1)])[0]
        sampler.sample(row)
        sampler.constrain(Directive(ANYTHING))
        for position in range(len(tokens), len(tokens) + STEPS):
            row = backend.decode([Chunk(0, position, tokens[-1:], 1)])[0]
        sampler.sample(row)
    finally:
        sampler.close()
        backend.trim(0, 0)


def fulfil(promise: "Future[None]", action: Callable[[], None]) -> None:
    """Do it, and tell whoever waits in another thread how it went."""
    try:
        action()
    except Exception as error:
        promise.set_exception(error)
    else:
        promise.set_result(None)
