"""A person looks for an event, sees what became of it, and sends it again."""

import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from support.browser import LOOKS, Look
from support.processes import free_port
from support.service import wait_until

HOSTILE = '<script>document.title="owned"</script>"><img src=x onerror=alert(1)>\u202e\x1b[31mred'
NARROW = Look("light", 360)


def headers(organization) -> dict[str, str]:
    """Return the key of an organization as a header."""
    return {"Authorization": f"Bearer {organization.key}"}


def record(service, organization, *events: dict) -> None:
    """Record events by the API."""
    url = f"{service.url}/api/orgs/{organization.org_id}/events"
    answer = httpx.post(url, json=list(events), headers=headers(organization), trust_env=False, timeout=30)
    assert answer.status_code == 202, answer.text
    assert answer.json()["rejected"] == []


def add(service, organization, url: str, **more) -> str:
    """Create a destination by the API; returns its id."""
    answer = httpx.post(
        f"{service.url}/api/orgs/{organization.org_id}/forwarding-destinations",
        json={"url": url, **more},
        headers=headers(organization),
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def state_of(service, organization, event_id: str, dst_id: str) -> str:
    """Return the state of an event at a destination, by the API."""
    url = f"{service.url}/api/orgs/{organization.org_id}/events/{event_id}"
    found = httpx.get(url, headers=headers(organization), trust_env=False, timeout=30).json()
    return next((one["state"] for one in found["deliveries"] if one["destination_id"] == dst_id), "none")


def make(event_id: str, **more) -> dict:
    """Return an event."""
    return {"event": {"id": event_id, "dataset": "app.login", "action": "login"}, **more}


def line_of(url: str) -> str:
    """Return the search line in a URL."""
    return parse_qs(urlsplit(url).query).get("q", [""])[0]


@pytest.mark.stores
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_line_menus_and_bars(service, organization, visitor):
    """Line, menus and bars are one state, in the URL: reload and Back restore it; a mistake is marked and the result stays."""
    record(
        service,
        organization,
        *(
            make(f"e{n}", user={"id": "alice" if n % 2 else "bob"}, message=f"number {n}")
            for n in range(1, 71)
        ),
        {"event": {"id": "p1", "dataset": "aegis.preflight"}, "aegis": {"decision": "BLOCKED"}},
    )
    page, here = visitor.page, f"/console/o/{organization.org_id}/events"
    visitor.open(here)
    visitor.look_over("events")
    page.locator("#f-q").fill("user.id:alice")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="e69", exact=True).wait_for()
    assert page.get_by_role("link", name="e70", exact=True).count() == 0
    page.get_by_text("Dataset: any").click()
    page.get_by_role("link", name="app.login", exact=True).click()
    page.get_by_text("Dataset: app.login").wait_for()
    assert page.locator("#f-q").input_value() == "dataset:app.login user.id:alice" == line_of(page.url)
    page.reload()
    assert page.locator("#f-q").input_value() == "dataset:app.login user.id:alice"
    page.go_back()
    page.get_by_text("Dataset: any").wait_for()
    assert page.locator("#f-q").input_value() == "user.id:alice"
    page.locator("#f-q").fill('decision:MAYBE "open')
    page.get_by_role("button", name="Search").click()
    assert page.locator("mark").inner_text() == "decision:MAYBE"
    assert page.locator("#f-q").input_value() == 'decision:MAYBE "open'
    assert page.get_by_role("link", name="e69", exact=True).count() == 1
    visitor.look_over("events-mistake")
    visitor.open(here)
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="e1", exact=True).wait_for()
    page.get_by_text("Decision: any").click()
    page.get_by_role("link", name="BLOCKED", exact=True).click()
    page.get_by_role("link", name="p1", exact=True).wait_for()
    assert "before=" not in page.url


@pytest.mark.stores
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_journey(service, organization, receiver, visitor):
    """One event is delivered here, retried there, a dead letter, filtered by a rule, and older than a destination elsewhere."""
    nothing = f"http://127.0.0.1:{free_port()}/audit"
    slow = {"max_attempts": 3, "base_seconds": 3600, "multiplier": 1, "max_seconds": 3600}
    delivers = add(service, organization, receiver.url, name="Delivers")
    retries = add(service, organization, nothing, name="Retries", retry=slow)
    dead = add(service, organization, nothing, name="Dies", retry=slow | {"max_attempts": 1})
    add(service, organization, nothing, name="Filters", filter={"datasets": ["other"]})
    record(service, organization, make("evt/1", message=HOSTILE, user={"id": HOSTILE}))
    for dst_id, state in ((delivers, "delivered"), (retries, "retrying"), (dead, "dead_letter")):
        wait_until(lambda d=dst_id, s=state: state_of(service, organization, "evt%2F1", d) == s)
    later = add(service, organization, receiver.url, name="Later")
    page = visitor.page
    visitor.open(f"/console/o/{organization.org_id}")
    page.get_by_role("searchbox").fill("evt/1")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("heading", name="Event evt/1").wait_for()
    visitor.look_over("event")

    def lane(name: str) -> str:
        return page.locator(".lanes > li", has=page.get_by_role("link", name=name, exact=True)).inner_text()

    assert "✓ delivered" in lane("Delivers")
    assert "next attempt in" in lane("Retries")
    assert "all failed" in lane("Dies")
    assert "its dataset app.login is not among other" in lane("Filters")
    assert "created after this event" in lane("Later")
    assert page.title() != "owned"
    assert "\\u202e" in page.locator("main").inner_text()

    page.get_by_label("Later").check()
    page.get_by_role("button", name="Send again").click()
    page.get_by_text("on its way to 1 of 1").wait_for()
    wait_until(lambda: state_of(service, organization, "evt%2F1", later) == "delivered")
    page.reload()
    assert "✓ delivered" in lane("Later")


def test_hostile_text_is_text_in_the_list(service, organization, visitor):
    """Markup in an event changes nothing on the page that lists it."""
    record(service, organization, make("e1", message=HOSTILE, user={"id": HOSTILE}))
    visitor.open(f"/console/o/{organization.org_id}/events")

    assert visitor.page.title() != "owned"
    assert visitor.page.locator("main img").count() == 0
    assert '<script>document.title="owned"</script>' in visitor.page.locator("tbody[data-rows]").inner_text()


@pytest.mark.parametrize("look", [NARROW], ids=str)
def test_without_scripts(service, organization, open_window):
    """Without JavaScript one finds an event, opens it, exports the list, and sends the event again."""
    later = f"http://127.0.0.1:{free_port()}/audit"
    record(service, organization, make("e1", user={"id": "alice"}), make("e2"))
    add(service, organization, later, name="Later")
    visitor = open_window(scripts=False)
    visitor.sign_in(organization.key)
    page = visitor.page
    visitor.open(f"/console/o/{organization.org_id}/events")
    page.locator("#f-q").fill("user.id:alice")
    page.get_by_role("button", name="Search").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export NDJSON").click()
    lines = download.value.path().read_text().splitlines()
    page.get_by_role("link", name="e1", exact=True).click()
    page.get_by_label("Later").check()
    page.get_by_role("button", name="Send again").click()
    page.get_by_text("on its way to 1 of 1").wait_for()

    assert [json.loads(one)["event"]["id"] for one in lines] == ["e1"]


def test_a_reader_sees_no_control_that_writes(service, organization, open_window):
    """With a key of scope read there is no form that changes something on the pages of events."""
    record(service, organization, make("e1"))
    answer = httpx.post(
        f"{service.url}/api/orgs/{organization.org_id}/api-keys",
        json={"name": "reader", "scope": "read"},
        headers=headers(organization),
        trust_env=False,
        timeout=30,
    )
    visitor = open_window()
    visitor.sign_in(answer.json()["api_key"])
    for path in ("events", "events/e1"):
        visitor.open(f"/console/o/{organization.org_id}/{path}")
        forms = visitor.page.locator("main form[method=post]")
        assert forms.count() == 0, path
