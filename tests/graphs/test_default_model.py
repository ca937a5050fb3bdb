"""The model of agents that name none: chosen, replaced where it is not served, or required."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from graphs.errors import UnknownModel
from graphs.events import Notice
from graphs.llm import CARD_SECONDS
from tests.graphs.conftest import Bench, answered
from tests.graphs.model_server import MODEL, Reply

CITING = f"{MODEL}:citing"


def hello(_: dict[str, Any]) -> Reply:
    return Reply("Hello there.")


class Chosen:
    """What an admin says, and may say anew at any time."""

    def __init__(self, bench: Bench, model: str = "") -> None:
        self.model = model
        bench.agents.default = replace(bench.agents.default, chosen=self)

    async def __call__(self) -> str:
        return self.model


async def asked(bench: Bench) -> tuple[str, list[str]]:
    """The model that a chat asks for, and what its reader is told."""
    events = await bench.ask("data-analyst", "Hi")
    assert answered(events).answer == "Hello there."
    return bench.model.requests[-1]["model"], [e.message for e in events if isinstance(e, Notice)]


async def test_the_chosen_model_answers_from_the_next_question_on(bench: Bench) -> None:
    await bench.start(hello, adapters=["citing"])
    chosen = Chosen(bench)
    assert await asked(bench) == (MODEL, [])
    chosen.model = CITING
    assert await asked(bench) == (CITING, [])
    chosen.model = ""
    assert await asked(bench) == (MODEL, [])


async def test_an_adapter_that_was_loaded_a_moment_ago_answers(bench: Bench) -> None:
    await bench.start(hello)
    chosen = Chosen(bench)
    await asked(bench)
    bench.model.adapters.append("citing")
    chosen.model = CITING
    assert await asked(bench) == (CITING, [])


async def test_a_chosen_model_that_is_not_served_is_stood_in_for_and_the_reader_is_told(
    bench: Bench,
) -> None:
    await bench.start(hello, adapters=["citing"])
    Chosen(bench, CITING)
    assert (await asked(bench))[0] == CITING
    bench.model.adapters.clear()
    await asyncio.sleep(CARD_SECONDS)  # as long as a card is believed
    told = f"{CITING} is chosen for chats and not served now; {MODEL} answers instead."
    assert await asked(bench) == (MODEL, [told])
    bench.model.adapters.append("citing")
    assert await asked(bench) == (CITING, [])


async def test_a_required_model_answers_whatever_is_chosen_and_nothing_stands_in_for_it(bench: Bench) -> None:
    await bench.start(hello, adapters=["citing", "other"])
    Chosen(bench, CITING)
    bench.agents.default = replace(bench.agents.default, required=f"{MODEL}:other")
    assert await asked(bench) == (f"{MODEL}:other", [])
    bench.agents.default = replace(bench.agents.default, required="gpt-9")
    with pytest.raises(UnknownModel, match=r"gpt-9.*loopyard-starter"):
        await asked(bench)


async def test_an_agent_that_names_a_model_keeps_it(bench: Bench) -> None:
    await bench.start(hello, adapters=["citing", "other"])
    Chosen(bench, CITING)
    spec = bench.specs["data-analyst"].model_copy(update={"model": f"{MODEL}:other"})
    await bench.ask(spec, "Hi")
    assert bench.model.requests[-1]["model"] == f"{MODEL}:other"


async def test_the_tokenizer_is_measured_once_for_a_base_and_its_adapters(bench: Bench) -> None:
    await bench.start(hello, adapters=["citing", "other"])
    chosen = Chosen(bench, CITING)
    for name in (CITING, "", f"{MODEL}:other"):
        chosen.model = name
        await asked(bench)
    assert bench.model.measured == [CITING]


async def test_what_has_a_model_of_its_own_is_listed_before_its_adapters(bench: Bench) -> None:
    await bench.start(hello, adapters=["citing"])
    served = await bench.agents.default.models.served()
    assert [(card.id, card.base) for card in served] == [(MODEL, ""), (CITING, MODEL)]
    assert served[0].extensions == served[1].extensions
