"""One browser for each file, one service for each process of the tests; one organization and one window for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from support.browser import LOOKS, Look, Visitor, running_browser, visiting
from support.processes import RecordingReceiver, recording_receiver
from support.service import Organization, RunningService, running_service


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here starts real processes."""
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.slow)


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


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run the service, with a worker and a sealer, and actions in the audit trail."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(
        folder,
        AEGIS_AUDIT_ACTIONS="true",
        AEGIS_RETRY_BASE_SECONDS="0.05",
        AEGIS_FAILED_KEYS_PER_MINUTE="1000",
        AEGIS_PROOF="true",
        AEGIS_PROOF_SECONDS="1",
    ) as service:
        yield service


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
