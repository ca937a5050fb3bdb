"""The whole chain on a tiny model and a real server: learn to cite first, prove it, serve it, go back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_server.settings import Settings
from rlhf.deploy import candidate_of, deploy, rollback
from rlhf.errors import DeployError
from rlhf.pairs import read_rows
from rlhf.recipe import Recipe
from rlhf.registry import LIVE, Registry
from rlhf.retrain import Order, Retraining
from rlhf.serving import Server
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving
from tests.rlhf.preferring import SIZES, recipe, rows, write
from tests.rlhf.preferring import base as make_base

NAME = "citing"


def held_out(place: Path) -> list[dict[str, Any]]:
    """Rows that were not trained on."""
    [file] = (place / "out" / "datasets").glob("*/held_out.jsonl")
    return read_rows(file)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retrain")
    make_base(folder / "tiny")
    write(folder / "pairs.jsonl", rows(60))
    (folder / "out" / "adapters").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    settings = Settings(
        model=str(place / "tiny"),
        data=place / "models",
        quantisation="f16",
        embeddings=False,
        threads=1,
        api_key=USER,
        admin_key=ADMIN,
        adapter_folders=str(place / "out" / "adapters"),
    )
    with serving(settings) as url:
        found = Server(f"{url}/v1", ADMIN)
        yield found
        found.close()


def plan(**changes: Any) -> Recipe:
    return recipe(
        train={"epochs": 8, "sft_weight": 1.0, **changes},
        evaluate={
            "judge": "cite_first",
            "cases": 0,
            "max_tokens": 24,
            "temperature": 0.0,
            "likelihood": 8,
            "likelihood_tokens": 512,
        },
        gate={"minimum": 8, "keeps": 0.8, "length": (0.1, 10.0), "kl": 20.0},
        deploy={"prompts": 4},
    )


@pytest.fixture(scope="module")
def done(place: Path, server: Server) -> dict[str, Any]:
    """The report of the first run."""
    order = Order(NAME, place / "out", plan(), place / "pairs.jsonl", base=place / "tiny")
    return Retraining(order, server, lambda _: None).run()


def test_the_adapter_is_proven_and_served(place: Path, server: Server, done: dict[str, Any]) -> None:
    assert done["evaluation"]["kept"]["current"] == 0
    assert done["evaluation"]["kept"]["candidate"] >= 0.8
    assert done["decision"]["verdict"] == "promote", done["decision"]["reasons"]
    assert done["deployed"]["parity"] >= done["deployed"]["floor"] == 0.99
    digest = done["adapter"]["digest"]
    assert server.stable(NAME) == digest
    answer = server.chat(f"tiny:{NAME}", rows(61)[-1], temperature=0, max_tokens=8)
    assert answer["choices"][0]["message"]["content"].startswith("[1]")
    version = Registry(place / "out").find(NAME, LIVE)
    assert version.digest == digest
    assert len(version.pairs()) == done["trained"]["rows"]["train"]["used"]
    assert version.lineage()["dataset_digest"]
    page = (version.folder / "report.html").read_text()
    assert "promote" in page
    assert page.count("data:image/png;base64,") == 3
    likely = done["evaluation"]["likelihood"]["held-out answers"]
    assert likely["candidate"]["perplexity"] < likely["base"]["perplexity"]
    assert likely["candidate"]["kl"] > 0
    assert json.loads((place / "out" / "report.json").read_text())["adapter"]["digest"] == digest


def test_what_is_done_is_not_done_again(place: Path, server: Server, done: dict[str, Any]) -> None:
    order = Order(NAME, place / "out", plan(), place / "pairs.jsonl", base=place / "tiny")
    again = Retraining(order, server, lambda _: None).run()
    assert {step[0]: step[2] for step in again["steps"]} == dict.fromkeys(
        ("dataset", "train", "evaluate", "judge", "gate", "deploy"), "reused"
    )
    assert again["decision"] == done["decision"]


def test_a_failed_check_leaves_what_is_live(place: Path, server: Server, done: dict[str, Any]) -> None:
    strict = plan(learning_rate=0.0001).model_dump(mode="json")
    order = Order(NAME, place / "out", Recipe(**strict), place / "pairs.jsonl", base=place / "tiny")
    report = Retraining(order, server, lambda _: None).run()
    assert report["decision"]["verdict"] != "promote"
    assert report["deployed"] is None
    assert server.stable(NAME) == done["adapter"]["digest"]
    assert server.versions(candidate_of(NAME)) == []


def test_an_adapter_that_the_server_computes_otherwise_is_not_promoted(
    place: Path, server: Server, done: dict[str, Any]
) -> None:
    registry, held = Registry(place / "out"), held_out(place)
    folder = make_adapter(place / "another", 5, sizes=SIZES)
    version = registry.add(NAME, folder, {"dataset_digest": "", "parent": None}, [])
    # PEFT is asked about another base, as if the server had been given the wrong one
    other = make_base(place / "other")
    from safetensors.numpy import load_file, save_file

    weights = load_file(other / "model.safetensors")
    save_file({k: v[::-1].copy() for k, v in weights.items()}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(DeployError, match="computes something else than PEFT"):
        deploy(server, registry, version, other, held, plan().deploy, lambda _: None)
    assert server.stable(NAME) == registry.aliases(NAME)[LIVE] == done["adapter"]["digest"]
    assert server.versions(NAME) == [done["adapter"]["digest"]]


def test_one_call_goes_back(place: Path, server: Server, done: dict[str, Any]) -> None:
    registry, held = Registry(place / "out"), held_out(place)
    folder = make_adapter(place / "second", 6, sizes=SIZES)
    second = registry.add(NAME, folder, {"dataset_digest": "", "parent": None}, [])
    # Random adapters on random weights leave near ties, which half precision may turn.
    lenient = plan().deploy.model_copy(update={"parity": 0.8})
    deployed = deploy(server, registry, second, place / "tiny", held, lenient, lambda _: None)
    assert (deployed.was, server.stable(NAME)) == (done["adapter"]["digest"], second.digest)
    assert rollback(server, registry, NAME).digest == server.stable(NAME) == done["adapter"]["digest"]
    assert registry.find(NAME, LIVE).digest == done["adapter"]["digest"]


def test_a_server_that_is_not_there_is_named() -> None:
    absent = Server("http://127.0.0.1:9/v1")
    with pytest.raises(DeployError, match=r"no answer from http://127\.0\.0\.1:9/v1"):
        absent.base()
    absent.close()
