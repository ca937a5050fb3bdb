"""Reading tool calls out of a stream of text."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llm_server.backends.echo import EchoVocabulary
from llm_server.constraints.tools import CallGrammar, Words
from llm_server.tool_calls import (
    CallArguments,
    CallStart,
    Content,
    Marks,
    OutputReader,
    Part,
    Reasoning,
    ToolGuide,
)

CALL = (
    '<tool_call>\n{"name": "search", "arguments": {"query": "a } \\" b", "n": [1, {"x": {}}]}}\n</tool_call>'
)


def read(text: str, cuts: list[int] | None = None, calls: bool = True) -> list[Part]:
    reader = OutputReader(calls=calls)
    points = sorted({0, len(text), *(cuts if cuts is not None else range(len(text)))})
    parts = [part for a, b in pairwise(points) for part in reader.feed(text[a:b])]
    return parts + reader.flush()


def joined(parts: list[Part]) -> tuple[str, str, list[tuple[str, str]]]:
    """Content, reasoning, calls as (name, arguments)."""
    content = "".join(p.text for p in parts if isinstance(p, Content))
    reasoning = "".join(p.text for p in parts if isinstance(p, Reasoning))
    names = [p.name for p in parts if isinstance(p, CallStart)]
    arguments = ["" for _ in names]
    for part in parts:
        if isinstance(part, CallArguments):
            arguments[part.index] += part.text
    return content, reasoning, list(zip(names, arguments, strict=True))


@given(st.lists(st.integers(0, 300), max_size=12))
def test_however_the_text_is_cut(cuts: list[int]) -> None:
    text = f"Let me look.\n{CALL}\n{CALL}"
    content, _, calls = joined(read(text, [cut for cut in cuts if cut < len(text)]))
    assert content == "Let me look."
    assert [name for name, _ in calls] == ["search", "search"]
    assert all(json.loads(a) == {"query": 'a } " b', "n": [1, {"x": {}}]} for _, a in calls)


def test_the_name_comes_before_its_arguments_and_arguments_in_pieces() -> None:
    parts = read(CALL)
    assert parts[0] == CallStart(0, "search")
    assert len([part for part in parts if isinstance(part, CallArguments)]) > 5


def test_text_that_only_looks_like_the_mark_is_text() -> None:
    assert joined(read("a < b and <tool_box> <tool"))[0] == "a < b and <tool_box> <tool"


def test_where_no_calls_are_expected_nothing_is_read_as_one() -> None:
    assert joined(read("see <tool_call> here", calls=False))[0] == "see <tool_call> here"


def test_thinking_is_kept_apart() -> None:
    content, reasoning, calls = joined(read(f"<think>\nhm, so\n</think>\n\nAnswer.\n{CALL}"))
    assert (content, reasoning.strip(), len(calls)) == ("Answer.", "hm, so", 1)


def test_an_unfinished_call_keeps_what_there_is() -> None:
    _, _, calls = joined(read(CALL[:60]))
    assert calls[0][0] == "search"
    assert calls[0][1].startswith('{"query": "a')


FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}


def guide(forced: bool = False, parallel: bool = True) -> ToolGuide:
    calls = CallGrammar([FUNCTION], Words())
    return ToolGuide(Marks.of(EchoVocabulary()), calls, forced=forced, parallel=parallel)


def test_a_guide_leaves_text_alone_until_the_mark() -> None:
    steered = guide()
    begin = steered.begin()
    assert begin.grammar is None
    assert begin.exempt == Marks.of(EchoVocabulary()).exempt
    assert steered.after("Hello ", 1, False) is None
    inside = steered.after("<tool_call>", 2, False)
    assert inside is not None
    assert inside.grammar is not None
    assert '"name": "f"' in inside.grammar.example


def test_a_forced_call_begins_at_once_and_a_single_one_ends_the_sequence() -> None:
    steered = guide(forced=True, parallel=False)
    assert steered.begin().force == Marks.of(EchoVocabulary()).open_tokens
    end = steered.after("\n", 3, True)
    assert end is not None
    assert end.finish == "tool_calls"


def test_after_a_call_there_is_another_or_the_end() -> None:
    steered = guide(forced=True)
    steered.begin()
    after = steered.after("\n", 3, True)
    assert after is not None
    assert after.finish is None
    assert after.grammar is not None
    again = steered.after("<tool_call>", 2, False)
    assert again is not None
    assert again.grammar is not None


def test_a_mark_of_several_tokens_may_carry_the_newline() -> None:
    steered = guide()
    steered.begin()
    assert steered.after("<tool", 1, False) is None
    inside = steered.after("_call>\n", 2, False)
    assert inside is not None
    assert inside.grammar is not None
    assert inside.grammar.gbnf.startswith('root ::= "{')
