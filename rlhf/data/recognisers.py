"""presidio's recognisers that need no model of a language, held to what is personal beyond doubt.

Whoever imports this imports spaCy, because presidio does; `pii` does so for the first text that needs it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from presidio_analyzer import PatternRecognizer
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    CryptoRecognizer,
    EmailRecognizer,
    EsNieRecognizer,
    EsNifRecognizer,
    FiPersonalIdentityCodeRecognizer,
    IbanRecognizer,
    InPanRecognizer,
    IpRecognizer,
    ItFiscalCodeRecognizer,
    PhoneRecognizer,
    UkNinoRecognizer,
    UsSsnRecognizer,
)
from tldextract import TLDExtract

from rlhf.data.findings import Finding
from rlhf.data.numbers import holds, worth

KINDS = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP",
    "US_SSN": "SSN",
    "CRYPTO": "CRYPTO",
    **dict.fromkeys(
        ("ES_NIF", "ES_NIE", "FI_PERSONAL_IDENTITY_CODE", "IT_FISCAL_CODE", "IN_PAN", "UK_NINO"),
        "NATIONAL_ID",
    ),
}
# The list of public suffixes that comes with the package: no address is asked, and nothing is kept on disk.
_SUFFIXES = TLDExtract(cache_dir=None, suffix_list_urls=())
# An address is at most 64 characters, the @ and 255 (RFC 5321, 4.5.3.1).
_ADDRESS = re.compile("@")
# Digits as phone numbers are written; phonenumbers takes a hundred times as long to look at a text.
_NUMBER = re.compile(r"[+(]?\d[\d ()./\u00a0\u2010-\u2015-]{5,30}\d")
# Its recogniser looks at the whole rest of a text from every word.
_PAN = re.compile(r"\b[A-Za-z]{5}\d{4}[A-Za-z]\b")


class OfflineEmails(EmailRecognizer):
    """presidio's, which would download the list of public suffixes."""

    def validate_result(self, pattern_text: str) -> bool:
        """Whether the domain ends in a public suffix."""
        return bool(_SUFFIXES(pattern_text).fqdn)


@dataclass(frozen=True)
class Place:
    """Where a recogniser has to look: around each match of `near`, so many characters further; None: all."""

    recogniser: PatternRecognizer | PhoneRecognizer
    near: re.Pattern[str] | None = None
    before: int = 0
    after: int = 0

    def findings(self, text: str) -> Iterator[Finding]:
        """Whatever holds, by our names of kinds."""
        for start, end in self._windows(text):
            for one in self.recogniser.analyze(text[start:end], self.recogniser.supported_entities):
                found = Finding(KINDS[one.entity_type], start + one.start, start + one.end, one.score)
                if holds(found, text):
                    yield found

    def _windows(self, text: str) -> Iterator[tuple[int, int]]:
        if self.near is None:
            yield 0, len(text)
            return
        for match in self.near.finditer(text):
            if worth(match):
                yield max(0, match.start() - self.before), match.end() + self.after


def search_forms(regions: Sequence[str]) -> partial[Iterator[Finding]]:
    """Finds what presidio does; `regions` are those of national phone numbers (ISO 3166-1 alpha-2)."""
    everywhere = (
        *(CreditCardRecognizer(), IbanRecognizer(), IpRecognizer(), CryptoRecognizer(), UsSsnRecognizer()),
        *(EsNifRecognizer(), EsNieRecognizer(), FiPersonalIdentityCodeRecognizer()),
        *(ItFiscalCodeRecognizer(), UkNinoRecognizer()),
    )
    places = (
        Place(OfflineEmails(), _ADDRESS, 64, 255),
        Place(PhoneRecognizer(supported_regions=tuple(regions)), _NUMBER, 4, 12),
        Place(InPanRecognizer(), _PAN),
        *map(Place, everywhere),
    )
    return partial(_search, places)


def _search(places: Sequence[Place], text: str) -> Iterator[Finding]:
    for place in places:
        yield from place.findings(text)
