"""A data folder has one owner at a time."""

import os
from pathlib import Path

import pytest

from tools.errors import OwnedElsewhere
from tools.rag.owner import Owner


def test_a_second_owner_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first = Owner(tmp_path / "data")
    with pytest.raises(OwnedElsewhere, match=f"in use by process {os.getpid()}"):
        Owner(tmp_path / "data")
    first.release()
    Owner(tmp_path / "data").release()
