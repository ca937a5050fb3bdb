"""The sixty hand-written sentences keep the rules that they are judged by."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

STARTER = Path(__file__).parents[2] / "rlhf" / "starter"
SPANS = "x-span"


@pytest.fixture(scope="module")
def sentences() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load((STARTER / "handwritten.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def tools() -> dict[str, dict[str, Any]]:
    loaded = json.loads((STARTER / "tools.json").read_text(encoding="utf-8"))
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in loaded}


def test_sixty_of_them_ten_without_a_tool(
    sentences: list[dict[str, Any]], tools: dict[str, dict[str, Any]]
) -> None:
    counts = Counter(sentence["tool"] for sentence in sentences)
    assert len(sentences) == len({sentence["id"] for sentence in sentences}) == 60
    assert counts.pop(None) == 10
    assert set(counts) == set(tools)
    assert min(counts.values()) >= 3


def test_arguments_fit_their_tool(sentences: list[dict[str, Any]], tools: dict[str, dict[str, Any]]) -> None:
    for sentence in sentences:
        if sentence["tool"] is None:
            continue
        schema = tools[sentence["tool"]]
        names = set(sentence["arguments"])
        assert set(schema.get("required", [])) <= names <= set(schema["properties"]), sentence["id"]
        for name, value in sentence["arguments"].items():
            allowed = schema["properties"][name].get("enum", [value])
            assert value in allowed, sentence["id"]
            if schema["properties"][name].get(SPANS):
                assert value in sentence["text"], sentence["id"]
