"""What every test shares: grouping for parallel runs, and no silent skip in CI."""

import os
from collections.abc import Generator

import pytest

# Tests of these folders share servers, so each folder runs in one worker process.
ONE_WORKER = ("tests/stack/", "tests/console/", "tests/annotation/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests for `--dist loadgroup`: a folder that shares servers, else a file."""
    for item in items:
        file = item.nodeid.split("::")[0]
        folder = next((f for f in ONE_WORKER if file.startswith(f)), None)
        item.add_marker(pytest.mark.xdist_group(folder or file))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure: whatever a test needs, the set-up must have brought."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
