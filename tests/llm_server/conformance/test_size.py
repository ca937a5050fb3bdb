"""Cases that are lost by accident are missed."""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
AT_LEAST = 150


def test_there_are_as_many_cases_as_promised() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(HERE)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[2], check=False).stdout
    found = re.search(r"^(\d+) tests collected", told, re.M)
    assert found, told[-2000:]
    assert int(found[1]) >= AT_LEAST
