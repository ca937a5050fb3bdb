"""Tables that Markdown renders, and the section that they replace."""

import pytest

from tests.trial.tables import BEGIN, END, code, replace_section, shorten, table


def test_a_table_keeps_one_line_a_row() -> None:
    text = table(["question", "right"], [["a | b\nc", True], [0.5, False]])
    assert text == "| question | right |\n| --- | --- |\n| a \\| b c | yes |\n| 0.50 | no |\n"


def test_long_text_is_cut_at_a_word() -> None:
    assert shorten("one two three", 8) == "one two ..."
    assert shorten("one\ntwo", 8) == "one two"


def test_code_of_nothing_is_empty() -> None:
    assert code("") == ""
    assert code("SELECT 1") == "`SELECT 1`"


def test_only_the_section_is_replaced() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = replace_section(document, "new\n")
    assert once == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert replace_section(once, "new") == once


def test_a_document_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="add both marks"):
        replace_section(f"{BEGIN} only", "new")
