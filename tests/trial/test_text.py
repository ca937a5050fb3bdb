"""Quotes and figures as a reader would recognise them."""

import pytest

from tests.trial.text import holds, plain, quotations, says

PAGE = """\
# Leave
You may use **annual leave** for any reason. Refer to [the guide]({% page "/leave/" %}) and
to "Use or Lose". Employees' days never *expire*. Fill out the [request
form][form]: all of it. Join {% slack_channel "people" %} on Slack.
"""


@pytest.mark.parametrize(
    "quote",
    [
        "You may use annual leave for any reason.",
        "Refer to the guide and to “Use or Lose”.",
        "employees’ days never expire",
        "Join on Slack.",
        "Join #people on Slack.",
        "any reason. Refer\nto the   guide",
        "Fill out the request form: all of it.",
    ],
)
def test_a_quote_is_found_whatever_its_marks_and_line_breaks(quote: str) -> None:
    assert holds(PAGE, quote)


@pytest.mark.parametrize("quote", ["", "  ", "You may use sick leave", "reason annual leave"])
def test_other_words_are_not_in_the_page(quote: str) -> None:
    assert not holds(PAGE, quote)


def test_plain_drops_link_targets_and_marks() -> None:
    assert plain("* see [the `page`](https://example.org/a_(b)) | **now**") == "see the page now"


def test_quotations_are_pieces_of_two_words_and_more() -> None:
    answer = 'The documents say: "Four hours a week." [1] and “Two days off.” [2], not "leave".'
    assert quotations(answer) == ["Four hours a week.", "Two days off."]


@pytest.mark.parametrize(
    ("answer", "figure"),
    [
        ("There are 59 customers.", "59"),
        ("Rock has 1,297 tracks.", "1297"),
        ("The average is 5.657590361.", "5.66"),
        ("France (195.1)", "195.10"),
        ("HELENA HOLY came first", "Holý"),
    ],
)
def test_a_figure_is_said(answer: str, figure: str) -> None:
    assert says(answer, figure)


@pytest.mark.parametrize(("answer", "figure"), [("There are 590.", "59"), ("5.6", "5.66"), ("nothing", "59")])
def test_a_figure_is_not_said(answer: str, figure: str) -> None:
    assert not says(answer, figure)
