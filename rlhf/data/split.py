"""Training and held-out rows that share nothing: whole groups go to one side.

Rows belong together if their prompts are nearly the same, or if they are of one session or one user: an
adapter that learnt from one of them would be examined on what it has seen. Which groups are held out depends
on their content and the seed alone, not on the order of the rows or the machine.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Literal

from rlhf.data.near import near_pairs, prompt_words
from rlhf.data.texts import Kept, asked, named
from rlhf.errors import DatasetError, Leak
from rlhf.shapes import AnyRow

Key = Literal["prompt", "session", "user"]
KEYS: tuple[Key, ...] = ("prompt", "session", "user")
Link = tuple[int, int, Key]
SAID: dict[Key, str] = {"prompt": "nearly the same prompt", "session": "one session", "user": "one user"}
SHOWN = 5


def links(rows: Sequence[AnyRow], keys: Sequence[Key] = KEYS) -> Iterator[Link]:
    """Pairs of rows that belong together, and why; groups hang together, not every pair is given."""
    if "prompt" in keys:
        for one, other in near_pairs([prompt_words(asked(row)) for row in rows]):
            yield one, other, "prompt"
    for key in ("session", "user"):
        if key in keys:
            yield from _same(rows, key)


def refuse_crossing(
    where: object, train: Sequence[AnyRow], held_out: Sequence[AnyRow], keys: Sequence[Key] = KEYS
) -> None:
    """Make sure that no training row belongs together with a held-out row. Leak where one does."""
    rows, border = [*train, *held_out], len(train)
    found = [(rows[a], rows[b], key) for a, b, key in links(rows, keys) if a < border <= b]
    if not found:
        return
    shown = "\n".join(
        f"  {named(one)} and {named(other)} are of {SAID[key]}" for one, other, key in found[:SHOWN]
    )
    more = f"\nand {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise Leak(
        f"{where} trains on what it is examined on; build it again with `dataset build`:\n{shown}{more}"
    )


def groups(rows: Sequence[AnyRow], keys: Sequence[Key] = KEYS) -> list[list[int]]:
    """Indices of rows that belong together, directly or through others."""
    above = list(range(len(rows)))

    def top(at: int) -> int:
        while above[at] != at:
            above[at] = above[above[at]]
            at = above[at]
        return at

    for one, other, _ in links(rows, keys):
        above[top(other)] = top(one)
    members: dict[int, list[int]] = defaultdict(list)
    for at in range(len(rows)):
        members[top(at)].append(at)
    return list(members.values())


def split(
    rows: Sequence[Kept], share: float, seed: int, keys: Sequence[Key] = KEYS
) -> tuple[list[Kept], list[Kept]]:
    """Training rows and held-out rows, each in an order of their own that the content gives.

    Args:
        share: of the rows that are held out, at most; a group that would exceed it is trained on.

    Raises:
        DatasetError: the share makes no sense, or all rows hang together so that nothing can be held out.
    """
    if not 0 < share < 1:
        raise DatasetError(f"the held-out share {share} must be between 0 and 1")
    found = groups(rows, keys)
    found.sort(key=lambda group: sha256(f"{seed}:{min(rows[at].digest() for at in group)}".encode()).digest())
    held = _chosen(found, round(share * len(rows)))
    if not held:
        raise DatasetError(_hangs_together(rows, found, keys))
    return (
        sorted((rows[at] for at in range(len(rows)) if at not in held), key=lambda row: row.line()),
        sorted((rows[at] for at in held), key=lambda row: row.line()),
    )


def _chosen(found: Sequence[Sequence[int]], target: int) -> set[int]:
    held: set[int] = set()
    for group in found:
        if len(held) + len(group) <= target:
            held.update(group)
    if not held and len(found) > 1:
        # Every group is larger than the share: the smallest is nearest to it.
        held.update(sorted(found, key=len)[0])
    return held


def _same(rows: Sequence[AnyRow], key: Literal["session", "user"]) -> Iterator[Link]:
    first: dict[str, int] = {}
    for at, row in enumerate(rows):
        name: str | None = getattr(row, key)
        if name is not None and (seen := first.setdefault(name, at)) != at:
            yield seen, at, key


def _hangs_together(rows: Sequence[AnyRow], found: Sequence[Sequence[int]], keys: Sequence[Key]) -> str:
    if not rows:
        return "there are no rows to split"
    text = f"nothing can be held out: all {len(rows)} rows hang together by {', '.join(keys)}"
    users = {row.user for row in rows}
    remedy = "; with a single user, --users-may-cross splits by prompt and session only"
    return text + (remedy if "user" in keys and len(users) == 1 and len(found) == 1 else "")
