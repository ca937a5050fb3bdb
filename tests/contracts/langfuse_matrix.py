"""The contract of test_langfuse*.py with every line of the SDK that is promised to work.

`python -m tests.contracts.langfuse_matrix` prints how many calls passed with each. SDK 3 and 4 lie in
environments of their own, which `make setup-test` makes; SDK 5 is among Loopyard's own packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

from tests.contracts.langfuse_server import ROOT, TraceServer, trace_server

HERE = Path(__file__).parent
PYTHONS = {
    "3.15": ROOT / ".langfuse-3" / "bin" / "python",
    "4.18": ROOT / ".langfuse-4" / "bin" / "python",
    "5": Path(sys.executable),
}
LEAST = 40
"""Distinct calls of each line that are promised to work."""


@dataclass
class Outcome:
    """What a run of the contract says."""

    version: str
    """The SDK's own."""
    passed: set[str] = field(default_factory=set)
    """Calls and ways to call them, as `create_score(session_id)`; here when all tests of one passed."""
    problems: list[str] = field(default_factory=list)
    """Tests that failed, with the end of what they say."""

    @property
    def calls(self) -> set[str]:
        """Distinct calls, in whichever ways."""
        return {name.partition("(")[0] for name in self.passed}


def run(python: Path, server: TraceServer) -> Outcome:
    """Runs the contract under another interpreter. Raises AssertionError where pytest cannot run there."""
    # Its own settings and no conftest above: those belong to this repository's environment.
    options = ["-c", os.devnull, "--rootdir", str(HERE), "--confcutdir", str(HERE), "-p", "no:cacheprovider"]
    options += ["-o", "python_files=test_langfuse*.py"]
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [str(python), "-m", "pytest", "-q", f"--junitxml={report.name}", *options, str(HERE)]
        env = {**os.environ, **server.environment}
        done = subprocess.run(command, env=env, cwd=HERE, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return outcome(ET.parse(report.name).getroot())


def outcome(report: ET.Element) -> Outcome:
    """Reads pytest's JUnit report, where `property` names the calls of a test."""
    version = report.find("./testsuite/properties/property[@name='langfuse']")
    assert version is not None
    found = Outcome(version.attrib["value"])
    broken: set[str] = set()
    for case in report.iter("testcase"):
        calls = {p.attrib["value"] for p in case.iterfind("./properties/property[@name='call']")}
        failures = [*case.iterfind("failure"), *case.iterfind("error")]
        found.problems += [f"{case.attrib['name']}: {(f.text or '')[-1500:]}" for f in failures]
        if failures:
            broken |= calls
        elif case.find("skipped") is None:
            found.passed |= calls
    found.passed -= broken
    return found


def told(found: Outcome) -> str:
    """What passed, by name."""
    figures = f"{len(found.calls)} calls passed in {len(found.passed)} ways"
    return f"langfuse {found.version}: {figures}\n  {', '.join(sorted(found.passed))}"


def main() -> int:
    """Prints a line for each SDK; 1 where one keeps less than what is promised."""
    failed = 0
    for python in PYTHONS.values():
        with tempfile.TemporaryDirectory() as data, trace_server(Path(data)) as server:
            found = run(python, server)
        print(told(found), *found.problems, sep="\n", flush=True)
        failed += bool(found.problems) or len(found.calls) < LEAST
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
