"""One browser for each file, one service for each store and process of the tests; one organization and one window for each test.

A test runs on SQLite. What is marked `stores` runs on PostgreSQL as well, in one look; with AEGIS_TEST_STORE=postgres all tests run
there, and only there.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from support.browser import LOOKS, Look, Visitor, running_browser, visiting
from support.processes import RecordingReceiver, recording_receiver
from support.service import Organization, RunningService
from support.stored import STORES, Services, console_services, stored_in

STORE = os.environ.get("AEGIS_TEST_STORE", "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests that are marked `stores` run on each store."""
    if STORE and STORE not in STORES:
        raise pytest.UsageError(f"AEGIS_TEST_STORE is {STORE}: set it to one of {', '.join(STORES)}")
    if metafunc.definition.get_closest_marker("stores") and not STORE:
        metafunc.parametrize("store", STORES, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test here starts real processes; how a page looks does not depend on the store."""
    again = [item for item in items if "tests/browser" in str(item.path) and _is_repeated(item)]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in again]
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.slow)


def _is_repeated(item: pytest.Item) -> bool:
    given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return given.get("store") == "postgres" and (
        given.get("look", LOOKS[0]) != LOOKS[0] or given.get("scripts") is False
    )


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the measures of usability, as rows of a table."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, [])]
    rows = [value for one in reports for name, value in one.user_properties if name == "usability"]
    if rows:
        terminalreporter.section("usability")
        for number, what, found, target in sorted(rows):
            terminalreporter.write_line(f"| {number} | {what} | {found} | {target} |")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run the browser; it ends with the file, because beside it no other test of this process can have an event loop."""
    with running_browser() as browser:
        yield browser


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    """Name the store of the test."""
    return str(getattr(request, "param", STORE or "sqlite"))


@pytest.fixture
def storage(store: str) -> Iterator[dict[str, str]]:
    """Return the variables of a service of the test's own on its store."""
    with stored_in(store) as variables:
        yield variables


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Run services with a worker and a sealer, and actions in the audit trail."""
    with console_services(tmp_path_factory) as services:
        yield services


@pytest.fixture
def service(services: Services, store: str) -> RunningService:
    """Run the service on the test's store."""
    return services.on(store)


@pytest.fixture
def organization(service: RunningService) -> Organization:
    """Make an organization with an admin key."""
    return service.make_organization()


@pytest.fixture
def receiver(tmp_path) -> Iterator[RecordingReceiver]:
    """Run a receiver that records what it gets."""
    with recording_receiver(tmp_path) as receiver:
        yield receiver


@pytest.fixture
def call(service: RunningService, organization: Organization) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a call of the API for the organization, and returns what it answers."""
    base = f"{service.url}/api/orgs/{organization.org_id}"
    headers = {"Authorization": f"Bearer {organization.key}"}
    with httpx.Client(headers=headers, trust_env=False, timeout=30) as client:

        def make(method: str, path: str, **options: Any) -> Any:
            answer = client.request(method, base + path, **options)
            assert answer.is_success, answer.text
            return answer.json() if answer.content else None

        yield make


@pytest.fixture
def look() -> Look:
    """Show pages in the light scheme on a wide screen, unless a test asks for others: `@pytest.mark.parametrize("look", LOOKS)`."""
    return LOOKS[0]


@pytest.fixture
def open_window(browser: Browser, service: RunningService, look: Look):
    """Return a function that opens a window; it is checked and closed at the end of the test."""
    with ExitStack() as windows:

        def open_one(look: Look = look, **how: bool) -> Visitor:
            return windows.enter_context(visiting(browser, service.url, look, **how))

        yield open_one


@pytest.fixture
def visitor(open_window, organization: Organization) -> Visitor:
    """Open a window and sign in with the admin key of the test's organization."""
    visitor = open_window()
    visitor.sign_in(organization.key)
    return visitor
