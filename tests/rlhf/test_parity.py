"""Server and PEFT at every position of the answers, on a real server; what either is asked about."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from llm_server.settings import Settings
from rlhf.adapters import causal
from rlhf.deploy import base_of, loaded
from rlhf.errors import DeployError
from rlhf.methods import starter
from rlhf.parity import MANY, adapted, parity, tokenised
from rlhf.recipe import Deploy, load_recipe
from rlhf.registry import Registry, Version
from rlhf.serving import Served, Server
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving
from tests.rlhf.preferring import SIZES, rows
from tests.rlhf.preferring import base as make_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("parity") / "tiny")


@pytest.fixture(scope="module")
def version(base: Path) -> Version:
    folder = make_adapter(base.parent / "made", 3, sizes=SIZES)
    return Registry(base.parent).add("exact", folder, {"base": "tiny", "parent": None}, [])


@pytest.fixture(scope="module")
def server(base: Path, version: Version) -> Iterator[Server]:
    settings = Settings(
        model=str(base),
        data=base.parent / "models",
        quantisation="f32",
        embeddings=False,
        threads=1,
        api_key=USER,
        admin_key=ADMIN,
        adapter_folders=str(base.parent / "adapters"),
    )
    with serving(settings) as url:
        found = Server(f"{url}/v1", ADMIN)
        yield found
        found.close()


def plan(**changes: Any) -> Deploy:
    return load_recipe(deploy=changes).deploy


def test_every_position_of_the_answers_to_the_prompts_is_compared(
    server: Server, base: Path, version: Version
) -> None:
    tokenizer, _ = adapted(base, version.folder)
    lengths = [len(tokens) - first for tokens, first in (tokenised(tokenizer, row) for row in rows(3))]
    assert min(lengths) > 3
    with loaded(server, version) as candidate:
        share, positions = parity(server, candidate, base, version.folder, rows(9), plan(prompts=3))
        assert share >= 0.99
        assert positions == sum(lengths)
        _, fewer = parity(server, candidate, base, version.folder, rows(9), plan(prompts=3, tokens=2))
        assert fewer == 6


def test_special_tokens_are_spelt_out_and_told_apart(server: Server, base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    special = tokenizer.convert_tokens_to_ids(["<tool_call>", "</tool_call>", "<|im_start|>"])
    pairs = torch.cartesian_prod(torch.arange(60), torch.arange(len(tokenizer)))
    with torch.no_grad():
        found = causal(base)(pairs).logits[:, -1].argmax(-1)
    after = torch.isin(found, torch.tensor(special)).nonzero()[:MANY, 0]
    assert len(after) > 1
    said = server.next_tokens(server.base(), pairs[after].tolist())
    assert said == [tokenizer.decode([token]) for token in found[after].tolist()]
    assert all(text.startswith("<") for text in said)


def test_a_base_that_the_adapter_does_not_fit_is_named(version: Version) -> None:
    with pytest.raises(DeployError, match=f"PEFT cannot put {version.short} on the base .*model"):
        adapted(starter(), version.folder)


def test_the_floor_is_that_of_the_weights_that_are_served(server: Server, base: Path) -> None:
    assert server.served() == Served(str(base), "f32")
    committed = load_recipe().deploy
    assert (committed.floor("f16"), committed.floor("f32"), committed.floor("fp16")) == (0.99, 0.99, 0.99)
    assert set(committed.quantised) == {"q8_0", "q4_k_m", "int8", "int4", "gguf"}
    assert (committed.floor("q8_0"), committed.floor("q4_k_m")) == (0.95, 0.8)
    assert committed.tokens is None
    assert committed.prompts == 32
    mine = plan(quantised={"q8_0": 0.5})
    assert (mine.floor("q8_0"), mine.floor("q4_k_m")) == (0.5, 0.8)


def test_the_base_is_what_is_served_else_what_was_trained_on(base: Path, version: Version) -> None:
    assert base_of(version, Served(str(base), "f16")) == base
    assert base_of(version, Served("starter", "q8_0")) == starter()
    assert base_of(version, Served("owner/name", "q8_0"), base) == base
    with pytest.raises(DeployError, match="RLHF_SERVER_BASE"):
        base_of(version, Served("mine.gguf", "gguf"))
    lineage = {"base": {"path": str(base), "sha256": ""}, "parent": None}
    trained = Registry(base.parent).add("trained", version.folder, lineage, [])
    assert base_of(trained, Served("mine.gguf", "gguf")) == base
