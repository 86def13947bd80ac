"""One service for all trials of a test process; each trial has its own organization."""

from collections.abc import Iterator

import pytest

from support.arrival import QUICK
from support.service import RunningService, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Return a running service with very short retry delays."""
    with running_service(tmp_path_factory.mktemp("contract"), **QUICK) as running:
        yield running
