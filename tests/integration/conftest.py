"""The application that most tests of the API and the console run against; a file that needs another one has fixtures of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.api import Tenant, World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A running application."""
    async with open_world(tmp_path) as world:
        yield world


@pytest.fixture
async def tenant(world: World) -> Tenant:
    """An organization with a key of each scope."""
    return await world.make_organization()
