"""Stores for the tests of what every store promises, whatever database is under it."""

from collections.abc import Iterator

import pytest

from aegis_stream.domain.ids import OrganizationNo
from support.backends import BACKENDS, Backend
from support.stores import Store, add_organization


@pytest.fixture(params=sorted(BACKENDS))
def backend(request, tmp_path) -> Iterator[Backend]:
    """Make an empty place for a store."""
    folder = tmp_path / "store"
    folder.mkdir()
    made = BACKENDS[request.param](folder)
    yield made
    made.close()


@pytest.fixture
def store(backend) -> Store:
    """Open the store, as the first process does."""
    return backend.open()


@pytest.fixture
async def org(store) -> OrganizationNo:
    """Make an organization."""
    return await add_organization(store, "org_a")
