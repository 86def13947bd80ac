"""A person at the console with a real browser: Debian's Chromium, driven by Playwright.

    visitor.sign_in(organization.key)
    visitor.page.get_by_role("button", name="Send one for me").click()
    visitor.look_over("overview")

Whatever a test does, at its end there was no error on the browser's console, no violation of the pages' policy, and no request to
another origin: `Visitor.check`.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PATIENCE_MS = 30_000
"""Longest wait for anything on a page: the machine may be busy."""
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
"""Tags of axe's rules that must have no violation."""
ARGUMENTS = (
    # As root, and where /dev/shm is small.
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
    # Nothing of the browser's own calls out: the network is closed.
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
    *(
        "--disable-default-apps",
        "--disable-domain-reliability",
        "--metrics-recording-only",
        "--no-proxy-server",
    ),
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication,CertificateTransparencyComponentUpdater",
)

Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is shown.

    Args:
        width: of the window, CSS pixels.
    """

    scheme: Scheme
    width: int

    def __str__(self) -> str:
        return f"{self.scheme}-{self.width}"


LOOKS = tuple(Look(scheme, width) for scheme in ("light", "dark") for width in (1280, 360))
"""Every page is looked at in these four ways."""


def chromium() -> str:
    """Return the browser, or skip the test with the reason; in CI a missing one is a failure."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is not None:
        return found
    reason = "chromium is not installed: sh tests/real/setup.sh chromium"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser until the block ends."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), timeout=120_000)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """One person: a window with cookies of its own."""

    context: BrowserContext
    page: Page
    url: str
    look: Look
    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of faults that the test makes on purpose."""

    def open(self, path: str) -> None:
        """Open a page of the console."""
        self.page.goto(self.url + path)

    def sign_in(self, key: str) -> None:
        """Sign in with a key, as a person does."""
        self.open("/console")
        self.page.get_by_label("API key or operator key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()

    def look_over(self, name: str) -> None:
        """Check what every page must hold in this look, and take a picture of it.

        No violation of WCAG 2.2 A and AA, no scrolling sideways.
        """
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.look}.png", full_page=True)
        found = Axe().run(
            self.page, options={"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
        )
        told = [
            f"{one['id']}: {one['help']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
            for one in found.response["violations"]
            for node in one["nodes"]
        ]
        assert told == [], f"{name}, {self.look}:\n" + "\n".join(told)
        width = self.page.evaluate("document.documentElement.scrollWidth")
        assert width <= self.look.width, f"{name}, {self.look}: {width} pixels wide"

    def check(self) -> None:
        """Check that nothing went wrong in the browser since it was opened."""
        unexpected = [one for one in self.faults if not any(part in one for part in self.expected)]
        assert unexpected == [], "\n".join(unexpected)


@contextmanager
def visiting(browser: Browser, url: str, look: Look, *, scripts: bool = True) -> Iterator[Visitor]:
    """Open a window until the block ends, and check then that nothing went wrong in it.

    Args:
        scripts: False for a browser without JavaScript.
    """
    context = browser.new_context(
        color_scheme=look.scheme,
        viewport={"width": look.width, "height": 800},
        java_script_enabled=scripts,
        bypass_csp=False,
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    visitor = Visitor(context, page, url, look)
    _listen(context, visitor)
    try:
        yield visitor
        visitor.check()
    finally:
        context.close()


def _listen(context: BrowserContext, visitor: Visitor) -> None:
    own = urlsplit(visitor.url).netloc

    def on_request(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != own:
            visitor.faults.append(f"a request to another origin: {request.url}")

    def on_message(message: Any) -> None:
        if message.type in ("error", "warning"):
            visitor.faults.append(
                f"{message.type} on the console: {message.text} {json.dumps(message.location)}"
            )

    context.on("request", on_request)
    context.on("console", on_message)
    context.on("weberror", lambda error: visitor.faults.append(f"an error in a script: {error.error}"))
