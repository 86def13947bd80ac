"""One service for the trials of a test process: each has an organization of its own."""

from collections.abc import Iterator

import pytest

from support.arrival import QUICK
from support.service import RunningService, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Return a running service whose retries nobody has to wait for."""
    with running_service(tmp_path_factory.mktemp("contract"), **QUICK) as running:
        yield running
