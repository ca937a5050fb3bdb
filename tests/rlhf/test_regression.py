"""A regression set says what is wrong with an answer, and a broken line is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.errors import BadRecords
from rlhf.regression import Expected, read_set

ASKED = {"name": "leave", "prompt": [{"role": "user", "content": "How much leave?"}]}


def called(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("expected", "right", "wrong", "fault"),
    [
        ({"contains": ["days"]}, said("20 days"), said("a lot"), "lacks 'days'"),
        ({"lacks": ["sorry"]}, said("20 days"), said("sorry, no"), "has 'sorry'"),
        ({"matches": r"\d+ days"}, said("20 days"), said("some days"), "does not match"),
        ({"no_personal_data": True}, said("ask HR"), said("ask ada@example.org"), "has personal data: EMAIL"),
        ({"call": None}, said("hello"), called("rag_search"), "calls rag_search where no tool is wanted"),
        (
            {"call": {"name": "rag_search", "arguments": {"query": "leave"}}},
            called("rag_search", query="leave", top_k=3),
            called("rag_search", query="pay"),
            "with query='pay'",
        ),
        (
            {"call": {"name": "rag_search"}},
            called("rag_search"),
            called("sql_query"),
            "instead of rag_search",
        ),
        ({"call": {"name": "rag_search"}}, called("rag_search"), said("20 days"), "does not call rag_search"),
        (
            {"json_schema": {"type": "object", "required": ["days"]}},
            said('{"days": 20}'),
            said('{"weeks": 4}'),
            "does not fit the schema: 'days' is a required property",
        ),
        ({"json_schema": {"type": "object"}}, said("{}"), said("none"), "is no JSON"),
    ],
)
def test_what_is_wrong_is_said(
    expected: dict[str, Any], right: dict[str, Any], wrong: dict[str, Any], fault: str
) -> None:
    rule = Expected.model_validate(expected)
    assert rule.fault(right) is None
    assert fault in str(rule.fault(wrong))


def test_a_schema_elsewhere_is_not_fetched() -> None:
    rule = Expected.model_validate({"json_schema": {"$ref": "http://127.0.0.1:9/schema.json"}})
    assert "cannot be held to the schema" in str(rule.fault(said("{}")))


def test_a_broken_line_is_named_and_nothing_is_read(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    lines = [
        ASKED | {"expect": {"contains": ["days"]}},
        ASKED | {"expect": {}},
        ASKED | {"expect": {"contain": ["days"]}},
        ASKED | {"expect": {"matches": "("}},
        ASKED | {"expect": {"json_schema": {"type": "objekt"}}},
    ]
    file.write_text("\n".join(map(json.dumps, lines)) + "\nnonsense\n")
    with pytest.raises(BadRecords) as caught:
        read_set(file)
    text = str(caught.value)
    assert f"{file}:2: expect: Value error, nothing is expected" in text
    assert f"{file}:3: expect.contain" in text
    assert "no regular expression" in text
    assert "no JSON Schema" in text
    assert f"{file}:6" in text
    with pytest.raises(BadRecords, match="cannot be read"):
        read_set(tmp_path / "absent.jsonl")
    file.write_text(json.dumps(lines[0]) + "\n\n")
    assert [line.name for line in read_set(file)] == ["leave"]
