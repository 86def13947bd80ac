"""What holds for all tests: a busy machine makes no property test fail; a database of PostgreSQL is there for the asking."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.postgres import shared_server

if settings.get_current_profile_name() == "default":  # not where CI or a plugin has chosen another one
    settings.register_profile("unhurried", settings.get_profile("default"), deadline=None)
    settings.load_profile("unhurried")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """Give the test the URL of an empty database on a private PostgreSQL; skip the test where PostgreSQL is missing."""
    with shared_server().database() as url:
        yield url
