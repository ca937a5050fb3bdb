"""Personal data and secrets, replaced by the name of their kind.

presidio's recognisers find them by form, check digits and the numbering plans of countries (`recognisers`);
our own forms add secrets, e-mail addresses with letters of any script and whatever presidio reads more
strictly. Check digits are verified, so that order numbers and dates stay: payment cards (ISO/IEC 7812-1 annex
B, Luhn), IBAN (ISO 13616, remainder 1 modulo 97). Names and places need a spaCy model (`names`).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rlhf.data.findings import Finding, resolved
from rlhf.data.light import TRAINERS, without
from rlhf.data.names import described, search_names
from rlhf.data.numbers import personal_address
from rlhf.data.texts import Kept, with_texts
from rlhf.errors import SettingsError
from rlhf.settings import Settings


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


# Findings that overlap are settled afterwards: a card or an IBAN also looks like a phone number.
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
        personal_address,
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


_WORTH = re.compile(r"[@\d]")


class Redactor:
    """Finds personal data with presidio, our own forms and, where one is named, a model.

    Raises:
        SettingsError: presidio is not installed, or there is no such model.
    """

    def __init__(self, regions: Sequence[str], model: str = "") -> None:
        self.facts: dict[str, Any] = {"presidio": _presidio(), "phone_regions": list(regions)}
        """What findings depend on."""
        self._regions = tuple(regions)
        self._model = model
        if model:
            self.facts["names"] = described(model)

    def redact(self, text: str, found: Counter[str]) -> str:
        """The text with `<EMAIL>` and the like in the place of what was found; counts go to `found`."""
        parts, at = [], 0
        for one in resolved(self._findings(text)):
            found[one.kind] += 1
            parts += [text[at : one.start], f"<{one.kind}>"]
            at = one.end
        return "".join(parts) + text[at:]

    def _findings(self, text: str) -> Iterator[Finding]:
        yield from own_forms(text)
        # Whatever presidio's recognisers find has one of these; most texts have neither.
        if _WORTH.search(text):
            yield from self._forms(text)
        if self._model:
            yield from self._names(text)

    @cached_property
    def _forms(self) -> Callable[[str], Iterator[Finding]]:
        with without(*TRAINERS):
            from rlhf.data.recognisers import search_forms
        return search_forms(self._regions)

    @cached_property
    def _names(self) -> Callable[[str], Iterator[Finding]]:
        return search_names(self._model)


def own_forms(text: str) -> Iterator[Finding]:
    """What has one of the forms in `KINDS`."""
    for kind in KINDS:
        for match in kind.form.finditer(text):
            if kind.holds(match.group()):
                yield Finding(kind.name, match.start(), match.end())


@cache
def configured() -> Redactor:
    """As RLHF_PII_REGIONS and RLHF_PII_MODEL say. SettingsError."""
    settings = Settings.from_environment()
    return Redactor(settings.phone_regions, settings.pii_model)


def redact(text: str, found: Counter[str]) -> str:
    """The text with `<EMAIL>` and the like in the place of what was found; counts by kind go to `found`."""
    return configured().redact(text, found)


def redact_row(row: Kept, found: Counter[str]) -> Kept:
    """The row with every text redacted; session, user and trace ids stay, they are the lineage."""
    return with_texts(row, partial(redact, found=found))


def _presidio() -> str:
    try:
        return version("presidio-analyzer")
    except PackageNotFoundError as error:
        raise SettingsError(
            "personal data are looked for with presidio-analyzer, which is not installed: "
            "install the extra `rlhf` (`make setup` does)"
        ) from error
