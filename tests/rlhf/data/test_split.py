"""The split: whole groups on one side, the same rows whatever their order."""

import random

import pytest

from rlhf.data.split import groups, split
from rlhf.errors import DatasetError
from rlhf.records import PreferenceRow
from tests.rlhf.rows import row, rows


def grouped(count: int) -> list[PreferenceRow]:
    """Rows of which some share a session, some a user."""
    return [
        one.model_copy(
            update={"session": f"s{i // 3}" if i % 2 else None, "user": f"u{i // 4}" if i % 5 else None}
        )
        for i, one in enumerate(rows(count))
    ]


def test_rows_hang_together_through_others() -> None:
    them = [
        row("alpha beta", user="ann"),
        row("gamma delta", user="ann", session="s"),
        row("epsilon zeta", session="s"),
        row("EPSILON, zeta!"),
        row("nobody else"),
        row("and nothing"),
    ]
    assert sorted(map(sorted, groups(them))) == [[0, 1, 2, 3], [4], [5]]
    assert sorted(map(sorted, groups(them, ["prompt"]))) == [[0], [1], [2, 3], [4], [5]]


def test_no_group_is_torn_apart() -> None:
    them = grouped(200)
    train, held_out = split(them, 0.2, seed=3)
    assert len(train) + len(held_out) == 200
    assert 30 <= len(held_out) <= 40
    for key in ("session", "user"):
        sides = [{getattr(r, key) for r in side} - {None} for side in (train, held_out)]
        assert not sides[0] & sides[1]


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does() -> None:
    them = grouped(100)
    shuffled = random.Random(1).sample(them, len(them))
    assert split(them, 0.2, 3) == split(shuffled, 0.2, 3)
    assert split(them, 0.2, 3) != split(them, 0.2, 4)


def test_a_group_that_is_too_large_is_trained_on() -> None:
    large = [row(f"a{i} b{i}", user="ann") for i in range(50)]
    train, held_out = split(large + rows(20), 0.2, 0)
    assert all(one in train for one in large)
    assert len(held_out) == 14
    # Two groups, both larger than the share: the smaller one is held out.
    train, held_out = split(large + [row(f"c{i} d{i}", user="ben") for i in range(30)], 0.1, 0)
    assert {one.user for one in held_out} == {"ben"}


def test_one_user_alone_cannot_be_split_and_the_remedy_is_told() -> None:
    them = [one.model_copy(update={"user": "ann"}) for one in rows(10)]
    with pytest.raises(DatasetError, match=r"hang together by prompt, session, user; .*--users-may-cross"):
        split(them, 0.2, 0)
    train, held_out = split(them, 0.2, 0, ("prompt", "session"))
    assert (len(train), len(held_out)) == (8, 2)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(DatasetError, match="between 0 and 1"):
        split(rows(10), share, 0)


def test_nothing_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="no rows"):
        split([], 0.2, 0)
