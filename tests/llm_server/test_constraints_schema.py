"""Whatever a schema's grammar lets through parses and fits the schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llm_server
from llm_server.constraints.example import example
from llm_server.constraints.integers import integer_range
from llm_server.constraints.tools import schema_grammar
from llm_server.errors import UnsupportedSchema
from tests.llm_server.walking import Walker

NAMES = st.sampled_from(["a", "b c", "naïve", 'quo"te', "x-y", "A", "a_1", "back\\slash"])
LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": "number"}),
    st.builds(lambda a, b: {"type": "string", "minLength": a, "maxLength": a + b}, *[st.integers(0, 4)] * 2),
    st.builds(
        lambda a, b: {"type": "integer", "minimum": a, "maximum": a + b},
        st.integers(-999, 999),
        st.integers(0, 3000),
    ),
    st.builds(lambda a: {"type": "integer", "minimum": a}, st.integers(-50, 5000)),
    st.builds(
        lambda values: {"enum": values},
        st.lists(st.one_of(NAMES, st.integers(), st.none()), min_size=1, max_size=4),
    ),
    st.builds(lambda value: {"const": value}, st.one_of(NAMES, st.booleans())),
    st.sampled_from([{"type": "string", "format": f} for f in ("date", "time", "date-time", "uuid")]),
    st.just({"type": ["string", "null"]}),
)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(properties: dict[str, Any], required: set[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(required & set(properties)),
            "additionalProperties": False,
        }

    return st.builds(build, st.dictionaries(NAMES, inner, max_size=4), st.sets(NAMES))


def arrays(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(items: dict[str, Any], low: int, more: int) -> dict[str, Any]:
        return {"type": "array", "items": items, "minItems": low, "maxItems": low + more}

    return st.builds(build, inner, st.integers(0, 3), st.integers(0, 2))


def unions(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))


SCHEMAS = st.recursive(
    LEAVES, lambda inner: st.one_of(objects(inner), arrays(inner), unions(inner)), max_leaves=6
)
CHECK = jsonschema.Draft202012Validator


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=SCHEMAS, seed=st.integers(0, 2**20))
def test_random_texts_fit_their_schema(walker: Walker, schema: dict[str, Any], seed: int) -> None:
    text = walker.random(schema_grammar(schema).gbnf, seed)
    CHECK(schema).validate(json.loads(text))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=SCHEMAS)
def test_examples_fit_their_schema(schema: dict[str, Any]) -> None:
    if "format" not in json.dumps(schema):
        CHECK(schema).validate(example(schema))


def test_optional_properties_may_be_left_out_and_keep_their_order(walker: Walker) -> None:
    kind = {"type": "integer"}
    schema = {"type": "object", "properties": {"a": kind, "b": kind, "c": kind}, "required": ["b"]}
    gbnf = schema_grammar(schema).gbnf
    for good in ('{"b": 1}', '{"a": 1, "b": 2}', '{"b": 1, "c": 2}', '{"a": 1, "b": 2, "c": 3}'):
        assert walker.accepts(gbnf, good)
    for bad in ("{}", '{"a": 1}', '{"b": 1, "a": 2}', '{"b":1}', '{"b": 1, }', '{"b": 1.5}', '{"b": "1"}'):
        assert not walker.accepts(gbnf, bad)


def test_references_may_be_recursive(walker: Walker) -> None:
    node = {
        "type": "object",
        "properties": {
            "v": {"type": "integer"},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        },
        "required": ["v", "next"],
    }
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}
    assert walker.accepts(schema_grammar(schema).gbnf, '{"v": 1, "next": {"v": 2, "next": null}}')


def test_all_of_is_joined(walker: Walker) -> None:
    parts = [{"properties": {name: {"type": "boolean"}}, "required": [name]} for name in "ab"]
    assert walker.accepts(
        schema_grammar({"type": "object", "allOf": parts}).gbnf, '{"b": true, "a": false}'
    ) or (walker.accepts(schema_grammar({"type": "object", "allOf": parts}).gbnf, '{"a": true, "b": false}'))


def test_any_json_object(walker: Walker) -> None:
    gbnf = schema_grammar({"type": "object"}).gbnf
    assert walker.accepts(gbnf, '{"a": [1, {"b": null}], "c": "\\u00e9 é", "d": -1.5e3}')
    assert not walker.accepts(gbnf, "[1]")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://x/y"},
        {"$ref": "#/nowhere"},
        {"type": "tuple"},
        {"type": "integer", "minimum": 3, "maximum": 2},
    ],
)
def test_what_cannot_be_a_grammar_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedSchema):
        schema_grammar(schema)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "pattern": "^a"}, '"b"'),
        ({"type": "number", "maximum": 1.5}, "2.5"),
        ({"type": "integer", "multipleOf": 5}, "7"),
        ({"type": "array", "uniqueItems": True}, "[1, 1]"),
        ({"type": "array", "contains": {"type": "string"}}, "[1]"),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, "[1]"),
        ({"type": "string", "not": {"const": "a"}}, '"a"'),
        ({"type": "integer", "if": {"minimum": 5}, "then": {"maximum": 7}}, "9"),
        ({"type": "object", "minProperties": 1}, "{}"),
        ({"type": "object", "maxProperties": 0}, '{"a": 1}'),
        ({"type": "object", "propertyNames": {"const": "b"}}, '{"a": 1}'),
        ({"type": "object", "patternProperties": {"^a": {"type": "string"}}}, '{"a": 1}'),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, '{"a": 1}'),
        ({"type": "string", "format": "email"}, '"nobody"'),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "1"),
    ],
)
def test_what_is_not_enforced_is_documented(walker: Walker, schema: dict[str, Any], text: str) -> None:
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert not checker.is_valid(json.loads(text))
    assert walker.accepts(schema_grammar(schema).gbnf, text)
    word = next(word for word in ("then", *reversed(schema)) if word in schema)
    said = {"then": "`if`", "maximum": "bounds of non-integers"}.get(word, f"`{word}`")
    assert said in (Path(llm_server.__path__[0]) / "README.md").read_text()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(low=st.integers(-1200, 1200), width=st.integers(0, 2500), at=st.integers(-4000, 4000))
def test_integer_ranges_are_exact(walker: Walker, low: int, width: int, at: int) -> None:
    gbnf = f"root ::= {integer_range(low, low + width)}\n"
    for value in (at, low, low + width, low - 1, low + width + 1):
        assert walker.accepts(gbnf, str(value)) == (low <= value <= low + width)
