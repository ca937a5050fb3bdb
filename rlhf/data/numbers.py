"""Which numbers that look personal are so: not dates, amounts, versions, order numbers, loopback or code."""

import re
from ipaddress import ip_interface

from rlhf.data.findings import Finding

# Part of a longer number or word.
_GLUED_BEFORE = re.compile(r"(?:\w|\d[.,:/-])\Z")
_GLUED_AFTER = re.compile(r"\w|[.,:/-]\d")
_DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{2,4}\b|(?:19|20)\d\d[./-]\d{1,2}\b")
_AMOUNT = re.compile(r"\d{1,3}(?: \d{3})+|\d+\.\d+")
_ISBN = re.compile(r"\d-\d{1,7}-\d{1,7}-\d")
_SSN = re.compile(r"\d{3}-\d\d-\d{4}")
NEAR = 24
"""Characters before a number in which a word may say what it is."""
_SAYS = {
    "PHONE": re.compile(
        r"\b(?:(?:tele|cell)?phone|tel|mobile|cell|fax|whatsapp|sms|dial|telefon\w*|handy|mobil\w*|"
        r"t[ée]l[ée]phone)\b|\bcall(?: (?:me|us|him|her|them|back))?(?: (?:at|on))?\W*\Z",
        re.IGNORECASE,
    ),
    "SSN": re.compile(r"\b(?:ssns?|social[ -]security)\b", re.IGNORECASE),
    "NATIONAL_ID": re.compile(r"\b(?:pan|nino|ni|national insurance)\b", re.IGNORECASE),
}


def personal_address(text: str) -> bool:
    """Whether an IP address can be somebody's; with a prefix's length or a zone too."""
    try:
        found = ip_interface(text).ip
    except ValueError:
        return False
    # "a::b" is an address too, but mostly C++.
    code = found.version == 6 and sum(c.isdigit() for c in text) < 2
    return not (code or found.is_loopback or found.is_unspecified)


def holds(found: Finding, text: str) -> bool:
    """Whether what a recogniser found stands for itself, as what it is said to be."""
    number, before = text[found.start : found.end], text[: found.start][-NEAR:]
    said = found.kind in _SAYS and _SAYS[found.kind].search(before) is not None
    if found.kind in ("EMAIL", "IBAN", "CRYPTO"):
        return True
    if _GLUED_BEFORE.search(before) or _GLUED_AFTER.match(text, found.end):
        return False
    if found.kind == "PHONE":
        return phone(number, said)
    if found.kind == "SSN":
        return said or _SSN.fullmatch(number) is not None
    if found.kind == "NATIONAL_ID":
        return said or found.score == 1
    return found.kind == "CARD" or personal_address(number)


def worth(match: re.Match[str]) -> bool:
    """Whether a recogniser has to look at a run of digits: no phone number is a date, or digits that no word
    announces."""
    run = match.group()
    if not run[-1:].isdigit():
        return True
    before = match.string[max(0, match.start() - NEAR) : match.start()]
    plain = run.isdigit() and not run.startswith("00") and not before.endswith("+")
    return not (_DATE.fullmatch(run) or (plain and not _SAYS["PHONE"].search(before)))


def phone(number: str, said: bool) -> bool:
    """Whether a number that some region could have is meant as one; `said`: a word before it says so."""
    if not 7 <= sum(c.isdigit() for c in number) <= 20 or _DATE.match(number) or _SSN.fullmatch(number):
        return False
    if said or number.startswith(("+", "00")):
        return True
    if number.isdigit() or _AMOUNT.fullmatch(number) or _ISBN.fullmatch(number):
        return False
    # Spaces alone group amounts and columns of tables as well.
    return number.startswith("0") or any(sign in number for sign in "(-")
