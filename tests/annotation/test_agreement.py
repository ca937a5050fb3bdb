"""Agreement measures against published tables and values worked out by hand."""

import pytest

from annotation.agreement import Shown, cohen_kappa, flip_rate, krippendorff_alpha, position_bias

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units.
TABLE = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]


def units() -> list[list[str | None]]:
    rows = [[None if label == "." else label for label in line.split()] for line in TABLE]
    return [list(unit) for unit in zip(*rows, strict=True)]


def test_alpha_is_that_of_krippendorffs_example() -> None:
    assert krippendorff_alpha(units()) == pytest.approx(0.743, abs=5e-4)


def test_alpha_does_not_depend_on_the_order_of_observers_and_units() -> None:
    turned = [unit[::-1] for unit in units()][::-1]
    assert krippendorff_alpha(turned) == pytest.approx(krippendorff_alpha(units()))


def test_alpha_of_two_observers_worked_out_by_hand() -> None:
    """Krippendorff 2011, section A: ten binary units, alpha 0.095."""
    one, other = "0100000010", "1110010000"
    assert krippendorff_alpha(list(zip(one, other, strict=True))) == pytest.approx(0.095, abs=5e-4)


def test_alpha_of_full_agreement_is_one_and_of_nothing_undefined() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b", None]]) == 1.0
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a"], [None, "b"]]) is None
    assert krippendorff_alpha([]) is None


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        # (both yes, yes-no, no-yes, both no); po 0.7, pe 0.5.
        ((20, 5, 10, 15), 0.4),
        # Equal observed agreement, different marginals: po 0.6, pe 0.54 and 0.46.
        ((45, 15, 25, 15), 0.1304),
        ((25, 35, 5, 35), 0.2593),
    ],
)
def test_kappa_of_known_tables(table: tuple[int, int, int, int], kappa: float) -> None:
    labels = [("y", "y"), ("y", "n"), ("n", "y"), ("n", "n")]
    both = [pair for pair, count in zip(labels, table, strict=True) for _ in range(count)]
    assert cohen_kappa([a for a, _ in both], [b for _, b in both]) == pytest.approx(kappa, abs=5e-5)


def test_kappa_leaves_out_what_one_did_not_label() -> None:
    assert cohen_kappa(["a", "b", None, "a"], ["a", "b", "b", None]) == 1.0
    assert cohen_kappa(["a", "b"], ["b", "a"]) == -1.0
    assert cohen_kappa(["a"], ["a"]) is None
    assert cohen_kappa([None], ["a"]) is None
    with pytest.raises(ValueError):
        cohen_kappa(["a"], [])


def test_position_bias_is_a_share_and_how_surprising_it_is() -> None:
    places: tuple[tuple[Shown, int], ...] = (("first", 8), ("second", 2), ("tie", 5))
    bias = position_bias([place for place, count in places for _ in range(count)])
    assert (bias.first, bias.second, bias.share) == (8, 2, 0.8)
    # 2 (1 + 10 + 45) / 1024
    assert bias.p_value == 0.109375
    assert position_bias(["first", "second"]).p_value == 1.0
    assert position_bias(["tie"]).share is None
    always: list[Shown] = ["second"]
    assert position_bias(always * 3000).p_value < 1e-300


def test_the_same_place_twice_is_a_flip() -> None:
    verdicts: list[tuple[Shown, Shown]] = [
        ("first", "first"),
        ("first", "second"),
        ("second", "second"),
        ("tie", "first"),
        ("tie", "tie"),
    ]
    assert flip_rate(verdicts) == 2 / 5
    assert flip_rate([]) is None
