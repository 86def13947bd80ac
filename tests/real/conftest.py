"""When a test fails, the ends of its servers' logs stand in its report."""

from collections.abc import Iterator

import pytest

from support.real import FAILED, RUNNING, end_of


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[pytest.TestReport]:
    """Add the logs of the servers that ran until the failure, or still run."""
    report = yield
    if report.failed:
        logs = [*FAILED, *((log, end_of(log)) for log in RUNNING)]
        report.sections += [(f"log of {log}", end) for log, end in logs]
    FAILED.clear()
    return report
