"""Pages that stay open change by themselves, and nothing moves below the pointer."""

import itertools
import json
import re
import signal
import threading

import pytest

from support.browser import LOOKS, visiting
from support.processes import Client, free_port
from support.service import running_service, wait_until
from support.switch import switch

from .test_destination import make_destination, read

SOON_MS = 20_000
"""A busy machine has longer than the two or three seconds that people see."""

# What `wait_for_function` waits for is always a function: Playwright evaluates a bare expression again for every look,
# and the page's Content-Security-Policy refuses every look but the first.


@pytest.fixture
def client(service, organization):
    """Return who records events."""
    return Client(service.url, organization)


@pytest.fixture
def receiver():
    """Run a receiver whose answers the test changes."""
    with switch() as receiver:
        yield receiver


def event(name):
    """Build an event."""
    return json.dumps({"event": {"id": name}, "message": f"number {name}"}).encode()


def live(visitor):
    """Wait until the page is live."""
    live_page(visitor.page)


def live_page(page):
    """Wait until a tab is live."""
    page.get_by_role("button", name="Live", exact=True).wait_for()


def state_of(visitor):
    """Return the first sentence as it is found."""
    return visitor.page.get_by_role("region", name="State")


@pytest.mark.stores
def test_the_three_steps_turn(service, organization, visitor, client, receiver):
    """Steps of an empty organization turn to done while somebody looks; a new destination waits behind a link."""
    live(visitor)
    visitor.page.evaluate("window.same = true")
    done = visitor.page.get_by_text("done:")
    assert done.count() == 0
    client.record([event("one")])
    done.nth(0).wait_for(state="attached", timeout=SOON_MS)
    make_destination(service, organization, receiver.url)
    done.nth(1).wait_for(state="attached", timeout=SOON_MS)
    visitor.page.get_by_role("link", name="1 new – show").wait_for()
    client.record([event("two")])
    done.nth(2).wait_for(state="attached", timeout=SOON_MS)

    assert visitor.page.evaluate("window.same"), "the page was not loaded again"
    visitor.page.get_by_role("link", name="1 new – show").click()
    visitor.page.get_by_role("rowheader", name="Elastic prod").wait_for()


@pytest.mark.stores
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_refused_credential_and_a_new_one(service, organization, visitor, client, receiver):
    """A 401 shows in sentence, title and icon while the page is open; a new credential heals the page, and dead letters go by themselves."""
    credential = {"auth_header_name": "Authorization", "auth_header_value": "Bearer old"}
    dst_id = make_destination(service, organization, receiver.url, retry={"max_attempts": 2}, **credential)
    client.record([event("first")])
    wait_until(lambda: read(service, organization, dst_id)["stats"]["delivered"] == 1)
    visitor.open(f"/console/o/{organization.org_id}")
    live(visitor)
    visitor.page.evaluate("window.same = true")
    receiver.status, receiver.credential = 401, "Bearer new"
    client.record([event(f"e{number}") for number in range(3)])
    sentence = state_of(visitor)
    sentence.get_by_text("it does not accept the credential").wait_for(timeout=SOON_MS)
    visitor.page.wait_for_function("() => document.title.startsWith('(1 failing) ')")

    assert "Elastic prod has not taken events since" in sentence.inner_text()
    assert (
        sentence.get_by_role("link", name="Change the credential")
        .get_attribute("href")
        .endswith("#credential")
    )
    assert visitor.page.locator("[data-icon]").get_attribute("href").endswith("/bad.svg")
    visitor.page.get_by_role("row").get_by_text("failing").wait_for()
    wait_until(lambda: read(service, organization, dst_id)["stats"]["dead_letters"] == 3)
    visitor.look_over("overview-live-failing")

    sentence.get_by_role("link", name="Elastic prod").click()
    live(visitor)
    visitor.page.evaluate("window.same = true")
    path = f"/forwarding-destinations/{dst_id}"
    client.request("PATCH", path, json={"auth_header_value": "Bearer new"})
    sentence.get_by_text("takes events. Nothing waits.").wait_for(timeout=SOON_MS)
    visitor.page.wait_for_function("() => !document.title.includes('failing')", timeout=SOON_MS)
    visitor.page.get_by_role("heading", name="Elastic prod").get_by_text("taking events").wait_for()
    wait_until(lambda: len(receiver.bodies) >= 4)
    visitor.page.wait_for_function(
        "() => document.querySelector('[data-live$=letters_tab]').textContent === ''"
    )

    assert visitor.page.evaluate("window.same"), "the page was not loaded again"
    assert visitor.page.locator("[data-icon]").get_attribute("href").endswith("/good.svg")
    assert not sentence.get_by_role("link", name="Change the credential").is_visible()


@pytest.mark.stores
def test_new_rows_wait(visitor, organization, client):
    """A list that is open does not change; a link tells how many rows are new, and shows them."""
    client.record([event(f"old{number}") for number in range(3)])
    visitor.open(f"/console/o/{organization.org_id}/events")
    live(visitor)
    rows = visitor.page.locator("tbody[data-rows] tr")
    before = rows.all_inner_texts()
    client.record([event(f"new{number}") for number in range(12)])
    newer = visitor.page.get_by_role("link", name="12 new – show")
    newer.wait_for(timeout=SOON_MS)

    assert rows.all_inner_texts() == before
    newer.click()
    visitor.page.get_by_role("link", name="new11").wait_for()


@pytest.mark.timeout(900)
def test_a_click_hits_what_was_aimed_at(visitor, organization, service, client, receiver):
    """While ten changes a second arrive and the sentence changes its length, every one of 1,000 clicks hits its row or nothing."""
    for number in range(4):
        dst_id = make_destination(service, organization, receiver.url, name=f"Destination {number}")
    client.record([event("first")])
    wait_until(lambda: read(service, organization, dst_id)["stats"]["delivered"] == 1)
    visitor.open(f"/console/o/{organization.org_id}")
    live(visitor)
    page, over = visitor.page, threading.Event()

    def change():
        for number in itertools.count():
            if over.wait(0.1):
                return
            receiver.status = 503 if number // 30 % 2 else 202
            client.record([event(f"c{number}")])

    page.evaluate(
        """() => {
            [window.hits, window.changes] = [[], 0];
            new MutationObserver(() => (window.changes += 1)).observe(document.querySelector("main"), {
                attributes: true, characterData: true, childList: true, subtree: true,
            });
            document.addEventListener("scroll", () => (window.wentAlong = true));
            let aim = "";
            const rowOf = (event) => event.target.closest("[data-row]")?.dataset.row ?? "";
            document.addEventListener("pointermove", (event) => (aim = rowOf(event)), true);
            document.addEventListener("click", (event) => {
                event.preventDefault();
                window.hits.push([aim, rowOf(event)]);
            }, true);
        }"""
    )
    links = page.locator("tr[data-row] th a")
    changing = threading.Thread(target=change)
    changing.start()
    try:
        for number in range(1000):
            box = links.nth(number % 4).bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            if number % 50 == 49:
                # The pointer rests until the page has changed below it, and the click comes at once.
                page.wait_for_function(
                    "before => window.changes > before", arg=page.evaluate("window.changes")
                )
            page.mouse.down()
            page.mouse.up()
        # A resting pointer sees the page go along with what grows above it sooner or later, however fast the clicks were.
        page.wait_for_function("() => window.wentAlong")
        page.mouse.down()
        page.mouse.up()
    finally:
        over.set()
        changing.join()
    hits = page.evaluate("window.hits")

    assert [(number, *one) for number, one in enumerate(hits) if one[1] not in ("", one[0])] == []
    assert sum(bool(hit) for _, hit in hits) > 900


def test_pausing(visitor, client):
    """A press on Live holds the page as it is; another one goes on."""
    live(visitor)
    visitor.page.get_by_role("button", name="Live", exact=True).click()
    visitor.page.get_by_role("button", name="Paused").wait_for()
    client.record([event("one")])
    visitor.page.wait_for_timeout(2500)
    held = visitor.page.locator("[data-live='total.head']").inner_text()
    visitor.page.get_by_role("button", name="Paused").click()
    visitor.page.get_by_text("done:").first.wait_for(state="attached", timeout=SOON_MS)

    assert held == "0"


def test_a_hidden_tab_has_no_stream(browser, service, organization, look):
    """Of eight tabs one is seen and has a stream; all answer, and a tab that is seen again is live again."""
    with visiting(browser, service.url, look) as visitor:
        visitor.sign_in(organization.key)
        live(visitor)
        pages = [visitor.page, *(visitor.context.new_page() for _ in range(7))]
        home = f"{service.url}/console/o/{organization.org_id}"
        for page in pages:
            # The browser of the tests shows all tabs; a hidden one is one that says so.
            page.add_init_script(
                "Object.defineProperty(document, 'hidden', {get: () => window.isHidden ?? false})"
            )
            page.goto(f"{home}/events")
            live_page(page)
            turn(page, hidden=True)
        for page in pages:
            turn(page, hidden=False)
            live_page(page)
            page.get_by_role("link", name="Keys").click()
            page.get_by_role("heading", name="Keys").wait_for()
            live_page(page)
            turn(page, hidden=True)


def turn(page, *, hidden):
    """Hide a tab, or let it be seen."""
    page.evaluate(
        "hidden => { window.isHidden = hidden; document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_service_that_is_gone_and_comes_back(browser, tmp_path, storage, look):
    """The page says since when it is not live, greys its figures, and recovers by itself."""
    port = free_port()
    with running_service(tmp_path, port=port, **storage) as service:
        organization = service.make_organization()
        with visiting(browser, service.url, look) as visitor:
            visitor.expected += ["ERR_", "Failed to load resource"]
            visitor.sign_in(organization.key)
            live(visitor)
            service.process.send_signal(signal.SIGKILL)
            service.process.wait()
            lost = visitor.page.get_by_role("button", name="Not live since")
            lost.wait_for(timeout=SOON_MS)
            told = lost.inner_text()
            visitor.look_over("not-live")
            with running_service(tmp_path, port=port, **storage):
                live(visitor)
                assert visitor.page.locator("html.lost").count() == 0

    assert told.startswith("Not live since ")
    assert told.endswith(" UTC, trying again")


def test_a_session_that_is_over(visitor, organization, client, open_window):
    """When the key of the session is revoked the page says so, and asks no more."""
    made = client.request("POST", "/api-keys", json={"name": "watcher", "scope": "read"})
    other = open_window()
    other.expected.append("401")
    other.sign_in(made["api_key"])
    live(other)
    client.request("DELETE", f"/api-keys/{made['id']}")
    other.page.get_by_role("button", name="Signed out: sign in again").click(timeout=SOON_MS)
    other.page.get_by_label("API key or operator key").wait_for()


def test_a_proxy_that_holds_streams_back(visitor, client):
    """Where a stream tells nothing the page asks again and again instead, and is as live."""
    asked = []

    def hold(route):
        asked.append(route.request.headers["accept"])
        if asked[-1] == "application/json":
            route.continue_()  # a stream is kept waiting for ever

    visitor.page.route(re.compile(r"/live(\?|$)"), hold)
    visitor.page.reload()
    live(visitor)
    client.record([event("one")])
    visitor.page.get_by_text("done:").first.wait_for(state="attached", timeout=SOON_MS)
    visitor.page.wait_for_timeout(5000)
    visitor.page.unroute_all(behavior="ignoreErrors")

    assert asked[0] == "text/event-stream"
    assert set(asked[1:]) == {"application/json"}
    assert visitor.page.get_by_role("button", name="Live", exact=True).is_visible()
