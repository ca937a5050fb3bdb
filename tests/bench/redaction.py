"""What looking for personal data costs a row: `python -m tests.bench.redaction [--rows 500]`.

Made-up preferences (some 2,400 characters in 50 texts a row), and one text as long, full of numbers;
milliseconds of a processor a row, with our own forms alone and with presidio too. Exit code 1 above `--most`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from rlhf.data.pii import Redactor, own_forms
from rlhf.data.texts import texts_of
from rlhf.preference import planted
from rlhf.records import PreferenceRow
from rlhf.settings import Settings
from tests.trial.tables import table

NUMBERS = " Invoice 2026/0012345 of 21.11.2026: 1,234 pieces at 12.50 EUR, call 030 1234567 before 12:30."


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--most", type=float, default=60.0, help="milliseconds a row of numbers may cost")
    given = parser.parse_args()
    began = time.process_time()
    settings = Settings.from_environment()
    redactor = Redactor(settings.phone_regions, settings.pii_model)
    redactor.redact("ann@example.org 1", Counter())
    loading = time.process_time() - began
    plain = [texts_of(PreferenceRow.model_validate(row)) for row in planted(given.rows, 1)]
    full = [[NUMBERS * 25]] * given.rows

    def whole(text: str) -> None:
        redactor.redact(text, Counter())

    def own(text: str) -> None:
        list(own_forms(text))

    said = [
        [name, *(f"{milliseconds(rows, search):.2f}" for search in (own, whole))]
        for name, rows in (("made-up preferences", plain), ("full of numbers", full))
    ]
    sys.stdout.write(table(["rows", "own forms, ms", "with presidio, ms"], said))
    sys.stdout.write(f"\nThe first text costs {loading:.1f} s more.\n")
    return int(float(said[1][2]) > given.most)


def milliseconds(rows: Sequence[Sequence[str]], search: Callable[[str], None]) -> float:
    """Of a processor, a row."""
    began = time.process_time()
    for row in rows:
        for text in row:
            search(text)
    return (time.process_time() - began) / len(rows) * 1000


if __name__ == "__main__":
    sys.exit(main())
