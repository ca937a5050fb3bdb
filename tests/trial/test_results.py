"""Results that a reader would call the same, and some that differ."""

from tests.trial.questions import Compare
from tests.trial.results import same_cell, same_result

RIGHT = [("Helena", "Holý", 49.620000000000005), ("Luis", "Rojas", 46.62), ("Hugh", "O'Reilly", 46.62)]
ROWS = Compare(kind="rows", columns=[2, 3])


def test_other_columns_roundings_and_joined_names_do_no_harm() -> None:
    other = [["49.62", "Helena Holý", 6], ["46.62", "Luis Rojas", 57], ["46.62", "Hugh O'Reilly", 46]]
    assert same_result(RIGHT, other, ROWS)


def test_rows_with_one_figure_may_change_places() -> None:
    assert same_result(RIGHT, [RIGHT[0], RIGHT[2], RIGHT[1]], ROWS)


def test_the_wrong_order_counts_only_where_order_is_asked_for() -> None:
    turned = list(reversed(RIGHT))
    assert not same_result(RIGHT, turned, ROWS)
    assert same_result(RIGHT, turned, Compare(kind="set", columns=[2, 3]))


def test_order_counts_for_rows_without_figures() -> None:
    names = Compare(kind="rows", columns=[1])
    assert not same_result([("a",), ("b",)], [["b"], ["a"]], names)
    assert same_result([("a",), ("b",)], [["a"], ["b"]], names)


def test_missing_and_additional_rows_are_wrong() -> None:
    assert not same_result(RIGHT, RIGHT[:2], ROWS)
    assert not same_result(RIGHT, [*RIGHT, RIGHT[0]], ROWS)
    assert not same_result(RIGHT, [], ROWS)


def test_a_missing_column_is_wrong() -> None:
    assert not same_result(RIGHT, [[row[2]] for row in RIGHT], ROWS)


def test_one_value_is_found_in_any_column() -> None:
    scalar = Compare(kind="scalar", columns=[1])
    assert same_result([(5,)], [["Brazil", 5]], scalar)
    assert not same_result([(5,)], [[6]], scalar)
    assert not same_result([(5,)], [[None]], scalar)


def test_cells() -> None:
    assert same_cell(5, 5.0)
    assert not same_cell(5, 5.004)
    assert same_cell(5.657590361445787, 5.66)
    assert same_cell("Rock", "Rock")
    assert not same_cell("Rock", "Rockabilly")
    assert same_cell(None, None)
    assert not same_cell("5", "x")
