"""The thread that follows the bucket outlives whatever it finds there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rlhf.objects.depot import LocalDepot
from rlhf.objects.depots import Depots
from rlhf.objects.follow import following
from rlhf.objects.settings import Settings
from tests.rlhf.objects.server import ACCESS, SECRET
from tests.rlhf.working import until


class Odd(LocalDepot):
    """With a content that nobody has thought of."""

    def settle(self, *, everything: bool = False) -> None:
        raise OverflowError("cannot convert float infinity to integer")


def test_no_content_of_a_bucket_ends_the_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    depot = Odd(tmp_path)
    on = Settings(endpoint="http://127.0.0.1:1", access_key=ACCESS, secret_key=SECRET)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING), following(Depots(depot, depot, depot), on):
        until(lambda: "local copies do not follow the object store" in caplog.text)
