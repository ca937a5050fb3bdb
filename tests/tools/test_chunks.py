"""Passages are exact slices, whole sentences, and stay within their page and section."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.rag.chunks import MAX_CHARS, sentences, split
from tools.rag.parse import parse_text
from tools.rag.parsers.markdown import parse_markdown
from tools.rag.text import Builder

WORDS = "Employees accrue four hours of sick leave per pay period. "


def spoken(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text, 0, len(text))]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        (
            "Ask e.g. Dr. Sorrel in the U.S. office. Then wait.",
            ["Ask e.g. Dr. Sorrel in the U.S. office.", "Then wait."],
        ),
        ('She said "Wait." Then she left.', ['She said "Wait."', "Then she left."]),
        ("- one\n- two\n\nthree", ["- one", "- two", "three"]),
        ("It costs 3.50 a day. Fine.", ["It costs 3.50 a day.", "Fine."]),
        ("هل هذا صحيح؟ نعم.", ["هل هذا صحيح؟", "نعم."]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert spoken(text) == parts


def test_a_long_section_becomes_passages_of_whole_sentences() -> None:
    extract = parse_text(WORDS * 60)
    chunks = split(extract)
    assert len(chunks) > 3
    for chunk in chunks:
        text = extract.text[chunk.start : chunk.end]
        assert text.startswith("Employees")
        assert text.endswith("period.")
        assert len(text) <= MAX_CHARS


def test_a_passage_never_crosses_a_heading() -> None:
    extract = parse_markdown("# A\n\nOne.\n\n## B\n\nTwo.\n\n## C\n\nThree.\n\n# D\n\nFour.")
    found = [(chunk.section, extract.text[chunk.start : chunk.end]) for chunk in split(extract)]
    assert found == [("A", "One."), ("A > B", "Two."), ("A > C", "Three."), ("D", "Four.")]


def test_a_passage_never_crosses_a_page() -> None:
    builder = Builder()
    builder.page(1, "First page.")
    builder.page(2, "")
    builder.page(3, "Third page.")
    extract = builder.build()
    assert [(c.page, extract.text[c.start : c.end]) for c in split(extract)] == [
        (1, "First page."),
        (3, "Third page."),
    ]


def test_one_endless_sentence_is_cut_at_words() -> None:
    extract = parse_text("word " * 1000)
    chunks = split(extract)
    assert len(chunks) > 5
    assert all(extract.text[c.start : c.end].strip("word ") == "" for c in chunks)
    assert " ".join(extract.text[c.start : c.end] for c in chunks) == extract.text


@given(st.text(alphabet=st.sampled_from("ab .?!\n\"')ก؟。\u00a0\t-1"), max_size=3000))
def test_passages_are_slices_in_order_that_lose_nothing(source: str) -> None:
    extract = parse_text(source)
    end = 0
    for chunk in split(extract):
        assert chunk.start >= end
        assert extract.text[end : chunk.start].strip() == ""
        assert extract.text[chunk.start : chunk.end].strip() == extract.text[chunk.start : chunk.end] != ""
        assert chunk.end - chunk.start <= MAX_CHARS
        end = chunk.end
    assert extract.text[end:].strip() == ""
