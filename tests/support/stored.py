"""Services that keep their data in either store, for tests that hold on both.

services = Services(stack, tmp_path_factory, AEGIS_AUDIT_ACTIONS="true")
services.on("postgres").make_organization()
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from support.postgres import shared_server
from support.service import RunningService, running_service

STORES = ("sqlite", "postgres")


@contextmanager
def stored_in(store: str) -> Iterator[dict[str, str]]:
    """Yield the variables by which a service keeps its data there: in a file of its own, or in a new database.

    The database is on the private server of this test process; the test is skipped where PostgreSQL is missing.
    """
    if store == "sqlite":
        yield {}
        return
    with shared_server().database() as url:
        yield {"AEGIS_DATABASE_URL": url}


class Services:
    """One service for each store, started when a test first asks for it; they end with `stack`."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory, **environment: str) -> None:
        self._stack, self._folders, self._environment = stack, folders, environment
        self._running: dict[str, RunningService] = {}

    def on(self, store: str) -> RunningService:
        """Return the service that runs on this store."""
        if store not in self._running:
            variables = self._environment | self._stack.enter_context(stored_in(store))
            starting = running_service(self._folders.mktemp(store), **variables)
            self._running[store] = self._stack.enter_context(starting)
        return self._running[store]
