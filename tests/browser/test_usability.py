"""How much a task costs a person: clicks, typed values, seconds. Clicks and values are judged; times are printed, not judged."""

import re
import time
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page

from support.destinations import make_destination, read
from support.picky import picky_receiver
from support.service import wait_until

FAILED = 5000
SEEN = 20
"""Events that a person sees arrive."""


@dataclass
class Effort:
    """What a person does at a page, counted.

    Args:
        clicks: on links and buttons.
        values: typed or pasted into fields.
    """

    page: Page
    clicks: int = 0
    values: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def click(self, role: str, name: str) -> None:
        """Click on a link or a button by its name."""
        self.clicks += 1
        self.page.get_by_role(role, name=name).first.click()

    def type(self, label: str, value: str) -> None:
        """Fill a field."""
        self.values += 1
        self.page.get_by_label(label).first.fill(value)

    def told(self) -> str:
        """Return the effort so far in words."""
        seconds = time.monotonic() - self.began_s
        return f"{self.clicks} clicks, {self.values} values, {seconds:.1f} s"


@pytest.fixture
def note(record_property):
    """Return a function that prints a measure at the end of the session: number, what, what was found, target."""

    def noted(number: int, what: str, found: str, target: str) -> None:
        record_property("usability", (number, what, found, target))

    return noted


@pytest.fixture
def picky():
    """Run a receiver that asks for another credential."""
    with picky_receiver(lambda _: 401) as receiver:
        yield receiver


def test_from_the_sign_in_to_the_first_event_at_elastic(open_window, organization, receiver, note):
    """Measures 1 and 2: seven clicks at most, with the one that signs in, and four values beside the key."""
    visitor = open_window()
    visitor.open("/console")
    visitor.page.get_by_label("API key or operator key").fill(organization.key)
    effort = Effort(visitor.page)
    effort.click("button", "Sign in")
    effort.click("link", "Elasticsearch")
    for label, value in (
        ("Elasticsearch URL", receiver.url.rstrip("/")),
        ("Data stream", "logs-aegis.preflight-default"),
        ("API key, encoded", "bm90LWEta2V5LWF0LWFsbA"),
        ("Name optional", "Elastic prod"),
    ):
        effort.type(label, value)
    effort.click("button", "Test")
    visitor.page.get_by_role("heading", name="The test event was taken").wait_for()
    effort.click("button", "Save")
    effort.click("button", "Send a sample event")
    visitor.page.get_by_role("heading", name="First event at Elastic prod").wait_for()
    visitor.page.get_by_role("heading", name="Where to look").wait_for()
    note(1, "sign-in to the first event at Elastic", effort.told(), "7 clicks, 4 values")
    note(2, "the same, seconds of a script", effort.told(), "8 s")

    assert (effort.clicks <= 7, effort.values <= 4) == (True, True), effort.told()


def test_from_the_cause_to_its_end(service, organization, picky, visitor, note):
    """Measures 3 and 4: the first page shows the cause; three clicks and the new credential mend it."""
    dst_id = make_destination(
        service,
        organization,
        picky.url,
        format="json",
        auth_header_name="Authorization",
        auth_header_value="Bearer old",
    )
    visitor.open(f"/console/o/{organization.org_id}")
    visitor.page.get_by_role("button", name="Send one for me").click()
    wait_until(lambda: read(service, organization, dst_id)["status"] == "failing")
    opened = Effort(visitor.page)
    visitor.open(f"/console/o/{organization.org_id}")
    visitor.page.get_by_role("region", name="State").get_by_text("401").wait_for()
    note(3, "console opened to the cause read", opened.told(), "0 clicks, 5 s")
    effort = Effort(visitor.page)
    effort.click("link", "Change the credential")
    effort.type("Credential", "Bearer new")
    effort.click("button", "Look at the changes")
    picky.judge = lambda _: 202
    effort.click("button", "Save")
    visitor.page.get_by_text("The change is saved").wait_for()
    note(4, "cause read to the credential changed", effort.told(), "3 clicks")

    assert opened.clicks == 0
    assert effort.clicks <= 3, effort.told()
    wait_until(lambda: read(service, organization, dst_id)["status"] == "active")


def test_from_many_dead_letters_to_none(service, organization, picky, call, visitor, note):
    """Measure 5: all dead letters of a destination are on their way again after three clicks."""
    dst_id = make_destination(service, organization, picky.url, format="json", retry={"max_attempts": 1})
    picky.judge = lambda event_id: 422 if event_id.startswith("evt") else 202
    for first in range(0, FAILED, 500):
        batch = [
            {"event": {"id": f"evt-{number}", "dataset": "app.login"}} for number in range(first, first + 500)
        ]
        call("POST", "/events", json=batch)
    path = f"/forwarding-destinations/{dst_id}"
    wait_until(lambda: call("GET", path)["stats"]["dead_letters"] == FAILED, seconds=90)
    picky.judge = lambda _: 202
    visitor.open(f"/console/o/{organization.org_id}")
    effort = Effort(visitor.page)
    effort.click("link", f"{FAILED:,}")
    effort.click("link", "Redrive all")
    effort.click("button", f"Redrive {FAILED:,}")
    visitor.page.get_by_text("on their way again").wait_for()
    note(5, f"{FAILED:,} failed events to all on their way", effort.told(), "3 clicks")

    assert effort.clicks <= 3, effort.told()
    wait_until(lambda: call("GET", path)["stats"]["dead_letters"] == 0, seconds=90)


def test_from_an_id_to_the_journey(service, organization, receiver, call, visitor, note):
    """Measure 6: an id pasted into the search box of any page, and Enter."""
    make_destination(service, organization, receiver.url)
    call("POST", "/events", json=[{"event": {"id": "evt-pasted", "dataset": "app"}}])
    for page in ("", "/deliveries", "/keys", "/audit"):
        visitor.open(f"/console/o/{organization.org_id}{page}")
        effort = Effort(visitor.page)
        effort.type("Find an event, a destination or a page", "evt-pasted")
        visitor.page.keyboard.press("Enter")
        visitor.page.get_by_role("heading", name="evt-pasted").wait_for()
        assert (effort.clicks, effort.values) == (0, 1)
    note(6, "event id to its journey", f"{effort.told()}, Enter", "1 value, Enter")


def test_from_a_recorded_event_to_the_open_page(organization, call, visitor, note):
    """Measure 7: an event that is recorded is counted on a page that is open."""
    visitor.open(f"/console/o/{organization.org_id}")
    visitor.page.get_by_role("button", name="Live", exact=True).wait_for()
    took_s = []
    for number in range(1, SEEN + 1):
        visitor.page.wait_for_timeout(number * 37 % 400)  # not always at the same moment of the second
        call("POST", "/events", json=[{"event": {"id": f"evt-{number}", "dataset": "app"}}])
        recorded_s = time.monotonic()
        visitor.page.locator("[data-live='total.head']", has_text=re.compile(rf"^{number}$")).wait_for()
        took_s.append(time.monotonic() - recorded_s)
    note(7, "recorded to seen, p95", f"{sorted(took_s)[int(SEEN * 0.95) - 1]:.2f} s", "1.5 s")


FORMS = {
    "a new destination": (
        "/new?kind=generic-https",
        {"URL": "https://10.0.0.5/in", "Datasets optional": "my.app"},
        "Test",
        "AEGIS_ALLOWED_NETWORKS",
    ),
    "settings": (
        "/d/{dst_id}/settings",
        {"Name optional": "Mine", "URL": "https://169.254.169.254/in"},
        "Look at the changes",
        "is forbidden",
    ),
    "a replay": (
        "/d/{dst_id}/replays",
        {"From, in UTC optional": "2026-01-02T00:00", "To, in UTC optional": "2026-01-01T00:00"},
        "Preview",
        "before",
    ),
}
"""By name: page, what is typed, the button, and a part of what the page says to it."""


@pytest.mark.parametrize("form", FORMS)
def test_a_refused_form_keeps_what_was_typed(service, organization, receiver, visitor, form, note):
    """Measure 10: everything typed is still there, and the error is at a field, with the way out."""
    dst_id = make_destination(service, organization, receiver.url)
    path, values, button, words = FORMS[form]
    page = visitor.page
    visitor.expected += ["422", "400"]
    visitor.open(f"/console/o/{organization.org_id}{path.format(dst_id=dst_id)}")
    for label, value in values.items():
        page.get_by_label(label, exact=True).first.fill(value)
    if form == "a new destination":  # a secret is kept too, but not shown
        page.get_by_label("Bearer token").fill("not-a-token-at-all")
    page.get_by_role("button", name=button, exact=True).click()
    alert = page.get_by_role("alert")
    alert.get_by_text(words).first.wait_for()
    kept = {label: page.get_by_label(label, exact=True).first.input_value() for label in values}
    linked = alert.get_by_role("link").first.get_attribute("href")
    note(10, f"{form}: input kept, field named", f"{len(kept)} of {len(values)}", "all")

    assert kept == values
    assert linked is not None
    assert page.locator(linked).get_attribute("aria-invalid") == "true"
