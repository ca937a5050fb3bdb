"""Integers between two bounds as a regular expression in GBNF."""


def integer_range(low: int | None, high: int | None) -> str:
    """Expression for every integer from `low` to `high`, both included, None meaning no bound; "" when
    there is none.
    """
    if low is not None and high is not None and low > high:
        return ""
    parts: list[str] = []
    if low is None or low < 0:
        smallest = None if low is None else -low
        nearest = max(1, -high) if high is not None else 1
        parts += [f'"-" ({part})' for part in [_natural(nearest, smallest)] if part]
    if high is None or high >= 0:
        parts += [part for part in [_natural(max(0, low or 0), high)] if part]
    return " | ".join(parts)


def _natural(low: int, high: int | None) -> str:
    """`low` .. `high` without sign or leading zeros."""
    if high is None:
        digits = len(str(low))
        longer = f"[1-9] [0-9]{{{digits},15}}"
        return " | ".join([*_between(low, 10**digits - 1), longer])
    return " | ".join(_between(low, high))


def _between(low: int, high: int) -> list[str]:
    """One expression a block of numbers that share their first digits: 8..123 is 8-9, 10-99, 100-119,
    120-123.
    """
    out: list[str] = []
    while low <= high:
        block = 1
        while low % (block * 10) == 0 and low + block * 10 - 1 <= high and low:
            block *= 10
        out.append(_block(low, block, high))
        low = int(_last(low, block, high)) + 1
    return out


def _last(low: int, block: int, high: int) -> int:
    """Largest end of a run of blocks that differ in one digit only."""
    digit = low // block % 10
    steps = min(9 - digit, (high - low - block + 1) // block)
    return low + (steps + 1) * block - 1


def _block(low: int, block: int, high: int) -> str:
    """The run of blocks from `low` on as digits."""
    steps = (_last(low, block, high) + 1 - low) // block
    head, digit = str(low // (block * 10)) if low >= block * 10 else "", low // block % 10
    free = len(str(block)) - 1
    one = f"[{digit}-{digit + steps - 1}]" if steps > 1 else f'"{digit}"'
    parts = [f'"{head}"'] if head else []
    return " ".join([*parts, one, *(["[0-9]"] * free)])
