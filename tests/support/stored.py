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


@contextmanager
def console_services(folders: pytest.TempPathFactory) -> Iterator[Services]:
    """Yield services as most tests of the console want them, until the block ends: with a sealer, and actions in the audit trail.

    A worker keeps few answers of failed attempts: eight at once and then one in ten seconds, of all its destinations. A file whose
    tests look at such answers runs services of its own, because the tests before it may have used that up.
    """
    with ExitStack() as stack:
        yield Services(
            stack,
            folders,
            AEGIS_AUDIT_ACTIONS="true",
            AEGIS_RETRY_BASE_SECONDS="0.05",
            AEGIS_FAILED_KEYS_PER_MINUTE="1000",
            AEGIS_PROOF="true",
            AEGIS_PROOF_SECONDS="1",
        )
