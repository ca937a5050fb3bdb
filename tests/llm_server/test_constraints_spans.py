"""Copied strings are whole words of the user."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_server.constraints.gbnf import Rules
from llm_server.constraints.spans import span_rule, words
from llm_server.constraints.tools import CallGrammar, Words
from tests.llm_server.walking import Walker


def grammar(*texts: str, quote: str = "json") -> str:
    rules = Rules()
    rule = span_rule(rules, texts, quote=quote)
    assert rule is not None
    return rules.text(rule)


def test_spans_begin_and_end_at_words(walker: Walker) -> None:
    gbnf = grammar("Could you look up the refund policy, please?")
    for good in (
        "refund policy",
        "the refund policy",
        "policy, please",
        "Could you look up the refund policy, please",
    ):
        assert walker.accepts(gbnf, good)
    for bad in (
        "refund pol",
        "fund policy",
        "refund policy,",
        "policy please",
        "please?",
        "refunds",
        ", please",
    ):
        assert not walker.accepts(gbnf, bad)


def test_a_span_that_may_be_null_is_still_a_span(walker: Walker) -> None:
    table = {"anyOf": [{"type": "string"}, {"type": "null"}], "x-span": True, "default": None}
    function = {"name": "describe", "parameters": {"type": "object", "properties": {"table": table}}}
    gbnf = CallGrammar([function], Words(("show the album table",))).whole.gbnf
    for arguments, fits in (('{"table": "album table"}', True), ("{}", True), ('{"table": "x"}', False)):
        call = f'\n{{"name": "describe", "arguments": {arguments}}}\n'
        assert walker.accepts(gbnf, call) == fits


def test_names_with_marks_inside_are_one_word() -> None:
    found = [word.text for word in words("load sql-expert-v2 from node.js, it's at a/b.txt or me@x.org")]
    assert {"sql-expert-v2", "node.js", "it's", "a/b.txt", "me@x.org"} <= set(found)


def test_every_user_message_counts(walker: Walker) -> None:
    gbnf = grammar("export the tiger adapter", "as gguf please")
    assert walker.accepts(gbnf, "tiger adapter")
    assert walker.accepts(gbnf, "gguf")
    assert not walker.accepts(gbnf, "adapter as")


def test_code_may_open_and_close_brackets(walker: Walker) -> None:
    gbnf = grammar('run (1+2)*3 and print("x")')
    assert walker.accepts(gbnf, "(1+2)*3")
    assert walker.accepts(gbnf, 'print(\\"x\\")')


def test_sql_spans_escape_and_capitalise(walker: Walker) -> None:
    gbnf = grammar("customers from brazil like o'brien", quote="sql")
    for good in ("brazil", "Brazil", "o''brien", "O''brien"):
        assert walker.accepts(gbnf, good)
    assert not walker.accepts(gbnf, "o'brien")


def test_without_words_there_is_no_rule() -> None:
    assert span_rule(Rules(), [" ?! "]) is None
    assert span_rule(Rules(), []) is None


def test_a_long_conversation_offers_its_latest_words(walker: Walker) -> None:
    gbnf = grammar(" ".join(f"early{n}" for n in range(1000)), " ".join(f"late{n}" for n in range(300)))
    assert walker.accepts(gbnf, "late0 late1")
    assert walker.accepts(gbnf, "early999")
    assert not walker.accepts(gbnf, "early0")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(min_size=1, max_size=40), seed=st.integers(0, 999))
def test_any_span_is_in_the_text(walker: Walker, text: str, seed: int) -> None:
    rules = Rules()
    rule = span_rule(rules, [text])
    if rule is not None:
        span = json.loads(f'"{walker.random(rules.text(rule), seed)}"')
        assert span in text


def test_a_small_model_writes_no_endless_string(walker: Walker) -> None:
    properties = {"city": {"type": "string"}, "note": {"type": "string", "maxLength": 200}}
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    small, free = (
        CallGrammar([{"name": "find", "parameters": parameters}], Words(("Rome",), free_literals=free)).whole
        for free in (False, True)
    )

    def call(city: str, **more: str) -> str:
        return f"\n{json.dumps({'name': 'find', 'arguments': {'city': city, **more}})}\n"

    assert walker.accepts(small.gbnf, call("Rome", note="n" * 200))
    assert not walker.accepts(small.gbnf, call("Fen " * 30))
    assert walker.accepts(free.gbnf, call("Fen " * 30))
