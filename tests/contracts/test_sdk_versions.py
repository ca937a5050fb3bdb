"""One contract, every line of the unmodified Langfuse SDK, each under its own interpreter over real HTTP."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.contracts.langfuse_matrix import LEAST, PYTHONS, outcome, run, told
from tests.contracts.langfuse_server import TraceServer


@pytest.mark.timeout(600)
@pytest.mark.parametrize("line", PYTHONS)
def test_the_contract_holds_with(line: str, server: TraceServer) -> None:
    python = PYTHONS[line]
    if not python.exists():
        pytest.skip(f"Langfuse's SDK {line} is not installed. Set it up with `make setup-test`.")
    found = run(python, server)
    print(told(found))
    assert not found.problems, "\n".join(found.problems)
    assert found.version.startswith(f"{line}.")
    assert len(found.calls) >= LEAST


def test_a_call_counts_only_where_all_its_tests_passed() -> None:
    report = ET.fromstring("""
    <testsuites><testsuite><properties><property name="langfuse" value="9.1.0"/></properties>
    <testcase name="a"><properties><property name="call" value="x"/></properties></testcase>
    <testcase name="b"><properties><property name="call" value="x"/></properties>
      <failure>no</failure></testcase>
    <testcase name="c"><properties><property name="call" value="y"/></properties></testcase>
    <testcase name="d"><properties><property name="call" value="z"/></properties><skipped/></testcase>
    </testsuite></testsuites>""")
    found = outcome(report)
    assert (found.version, found.passed, found.problems) == ("9.1.0", {"y"}, ["b: no"])
