"""Personal data and secrets that have a form of their own, replaced by the name of their kind.

Names, places and other things that only meaning gives away are not found. Where a form has check digits they
are verified, so that order numbers and dates stay: payment cards (ISO/IEC 7812-1 annex B, Luhn), IBAN
(ISO 13616, remainder 1 modulo 97).
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from rlhf.data.texts import Kept, with_texts


def luhn(text: str) -> bool:
    """Whether the digits of a text are those of a payment card."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def iban(text: str) -> bool:
    """Whether a text is an IBAN: the first four characters put last, letters as numbers from 10."""
    packed = text.replace(" ", "")
    moved = packed[4:] + packed[:4]
    return 15 <= len(packed) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _address(text: str) -> bool:
    try:
        found = ip_address(text)
    except ValueError:
        return False
    # "a::b" is an address too, but mostly C++.
    code = found.version == 6 and sum(c.isdigit() for c in text) < 2
    return not (code or found.is_loopback or found.is_unspecified)


def _phone(text: str) -> bool:
    return 9 <= sum(c.isdigit() for c in text) <= 15


def _any(_: str) -> bool:
    return True


@dataclass(frozen=True)
class Kind:
    """A form, and what a match must fulfil besides."""

    name: str
    form: re.Pattern[str]
    holds: Callable[[str], bool] = _any


# Tried in this order: the more specific first, because a card or an IBAN also looks like a phone number.
KINDS = (
    Kind(
        "SECRET",
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
            r"|\b(?:sk-[\w-]{20,}|gh[opsur]_\w{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
            r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{10,}"
            r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})",
            re.DOTALL,
        ),
    ),
    Kind("EMAIL", re.compile(r"\b[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b")),
    Kind("IBAN", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), iban),
    Kind("CARD", re.compile(r"(?<![\w.])(?<!\d[ -])\d(?:[ -]?\d){12,18}(?![\w])"), luhn),
    Kind(
        "IP",
        re.compile(
            r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)"
            r"|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:]))"
        ),
        _address,
    ),
    Kind(
        "PHONE",
        # International with + or 00, or North American; other national forms look like dates and amounts.
        re.compile(
            r"(?<![\w.+])(?<!\d[ -])"
            r"(?:(?:\+|00)[1-9]\d{0,2}[ ./-]?(?:\(\d{1,5}\)[ ./-]?)?\d(?:[ ./-]?\d){5,12}"
            r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4})(?!\w)"
        ),
        _phone,
    ),
)


def redact(text: str, found: Counter[str]) -> str:
    """The text with `<EMAIL>` and the like in the place of what was found; counts by kind go to `found`."""
    for kind in KINDS:

        def replace(match: re.Match[str], kind: Kind = kind) -> str:
            if not kind.holds(match.group()):
                return match.group()
            found[kind.name] += 1
            return f"<{kind.name}>"

        text = kind.form.sub(replace, text)
    return text


def redact_row(row: Kept, found: Counter[str]) -> Kept:
    """The row with every text redacted; session, user and trace ids stay, they are the lineage."""
    return with_texts(row, partial(redact, found=found))
