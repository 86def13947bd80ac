"""Keys, times, colours and copy buttons: what scripts add to pages that work without them."""

import json
import re

import pytest

from aegis_stream.console.words import ago
from aegis_stream.domain.ids import SECOND, Micros
from support.browser import LOOKS
from support.destinations import make_destination, read
from support.processes import Client
from support.service import wait_until
from support.switch import switch


@pytest.fixture
def client(service, organization):
    """Return who records events."""
    return Client(service.url, organization)


def event(name):
    """Build an event."""
    return json.dumps({"event": {"id": name}, "message": f"number {name}"}).encode()


def focused(page):
    """Return the text of what has the focus."""
    return page.evaluate("document.activeElement.textContent.trim()")


def press_until(page, key, wanted, limit=80):
    """Press a key until what has the focus has a text; the focus is visible all the while."""
    for _ in range(limit):
        page.keyboard.press(key)
        seen = page.evaluate(
            """() => {
                const one = document.activeElement, box = one.getBoundingClientRect();
                return one === document.body || (getComputedStyle(one).outlineStyle !== "none" && box.width > 0);
            }"""
        )
        assert seen, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if wanted in page.evaluate(
            "(document.activeElement.textContent || document.activeElement.ariaLabel || '').trim()"
        ):
            return
    raise AssertionError(f"{wanted} is not reached by {key}")


def tab_to_field(page, label, limit=80):
    """Press Tab until the field with a label has the focus."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.labels?.[0]?.textContent ?? '').trim()").startswith(label):
            return
    raise AssertionError(f"the field {label} is not reached")


def test_the_work_is_done_by_keyboard(open_window, service, organization, client):
    """Sign in, add a destination, test it, find a failed event, redrive it, sign out: without a pointer, with a focus that is seen."""
    visitor = open_window()
    page, keyboard = visitor.page, visitor.page.keyboard
    with switch() as receiver:
        receiver.status = 400
        visitor.open("/console")
        press_until(page, "Tab", "")
        page.get_by_label("API key or operator key").focus()
        keyboard.type(organization.key)
        keyboard.press("Enter")
        page.get_by_role("heading", name="Three steps").wait_for()

        press_until(page, "Tab", "Another HTTPS endpoint")
        keyboard.press("Enter")
        page.get_by_role("heading", name="New destination").wait_for()
        for label, text in (("Name", "Elastic prod"), ("URL", receiver.url), ("Bearer token", "not-a-token")):
            tab_to_field(page, label)
            keyboard.press("Control+A")
            keyboard.type(text)
        press_until(page, "Tab", "Save")
        keyboard.press("Enter")
        page.get_by_role("heading", name="First event at Elastic prod").wait_for()

        dst_id = re.search(r"/d/([^/]+)/", page.url)[1]
        client.record([event("wrong")])
        wait_until(lambda: read(service, organization, dst_id)["stats"]["dead_letters"] == 1)
        keyboard.press("g")
        keyboard.press("o")
        page.get_by_role("heading", name="Destinations").wait_for()
        keyboard.press("j")
        assert focused(page) == "Elastic prod"
        keyboard.press("Enter")
        page.get_by_role("heading", name="Elastic prod").wait_for()
        keyboard.press("t")
        assert focused(page) == "Test"
        assert page.get_by_role("heading", name="The test event").count() == 0, "a key alone does nothing"
        keyboard.press("Enter")
        page.get_by_role("heading", name="The test event was not taken").wait_for()

        keyboard.press("g")
        keyboard.press("d")
        page.get_by_role("heading", name="Deliveries").wait_for()
        for _ in range(20):
            keyboard.press("j")
            if focused(page).startswith("wrong"):
                break
        assert focused(page).startswith("wrong")
        keyboard.press("Enter")
        page.get_by_role("heading", name="Attempt").first.wait_for()
        keyboard.press("/")
        keyboard.type("Elastic prod")
        keyboard.press("Enter")
        page.get_by_role("heading", name="Elastic prod").wait_for()
        keyboard.press("r")
        page.get_by_role("heading", name="Causes").wait_for()
        receiver.status = 202
        keyboard.press("r")
        page.wait_for_url("**/redrive")
        press_until(page, "Tab", "Redrive")
        keyboard.press("Enter")
        page.wait_for_url("**/dead-letters*")
        page.get_by_role("heading", name="Causes").wait_for()
        wait_until(lambda: any(b"wrong" in body for body in receiver.bodies))
        press_until(page, "Tab", "Sign out")
        keyboard.press("Enter")
        page.get_by_label("API key or operator key").wait_for()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_list_of_keys_holds_what_works(visitor, client):
    """`?` lists the keys of this page; each that opens a page opens it; the keys are off while somebody types, and when switched off."""
    client.record([event("one"), event("two")])
    page, keyboard = visitor.page, visitor.page.keyboard
    page.goto(page.url + "/events")
    page.get_by_role("button", name="Live", exact=True).wait_for()
    keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    dialog.wait_for()
    visitor.look_over("keys")
    listed = [one for one in dialog.locator("dt:visible").all_inner_texts() if one]
    assert [one.strip() for one in listed] == [
        *("?", "/", "g o", "g d", "g e", "g k", "g s", "g p", "g a"),
        *("j", "k", "Enter", "l", "u", "Esc"),
    ]
    keyboard.press("Escape")
    dialog.wait_for(state="hidden")

    keyboard.press("j")
    assert focused(page) == "two"
    keyboard.press("j")
    assert focused(page) == "one"
    keyboard.press("k")
    assert focused(page) == "two"
    keyboard.press("j")
    keyboard.press("Enter")
    page.get_by_role("heading", name="Event one").wait_for()
    keyboard.press("]")
    page.get_by_role("heading", name="Event two").wait_for()
    keyboard.press("[")
    page.get_by_role("heading", name="Event one").wait_for()
    for letter, heading in (
        ("d", "Deliveries"),
        ("e", "Events"),
        ("k", "Keys"),
        ("s", "Sources"),
        ("a", "Audit trail"),
    ):
        keyboard.press("g")
        keyboard.press(letter)
        page.get_by_role("heading", name=heading, exact=True).wait_for()
    page.get_by_role("button", name="Live", exact=True).wait_for()
    keyboard.press("l")
    page.get_by_role("button", name="Paused").wait_for()
    keyboard.press("Control+k")
    keyboard.type("gok?")
    assert page.locator("[data-search]").input_value() == "gok?"
    keyboard.press("Escape")

    keyboard.press("?")
    dialog.get_by_label("Single keys are on").uncheck()
    keyboard.press("Escape")
    page.reload()
    keyboard.press("?")
    keyboard.press("/")
    assert not dialog.is_visible()
    assert focused(page) != "Find"
    page.get_by_role("button", name="Keyboard").click()
    assert not dialog.get_by_label("Single keys are on").is_checked()


PRESSED = """() => {
    const dialog = document.querySelector("[data-help]");
    document.addEventListener("click", (event) => event.preventDefault(), true);
    const press = (key) => {
        const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
        (document.activeElement.matches("input, select, textarea") ? document.body : document.activeElement).dispatchEvent(event);
        dialog.close();
        return event.defaultPrevented;
    };
    const printable = Array.from({ length: 94 }, (_, place) => String.fromCharCode(33 + place));
    const single = [...printable, "Enter", "Escape"].filter((key) => (press("~"), press(key)));
    const double = printable.filter((key) => (press("g"), press(key))).map((key) => `g ${key}`);
    return [...single, ...double].sort();
}"""
"""Presses every key, and every key behind `g`, where no click leads away; returns those that the page takes."""


def test_the_list_of_keys_is_all_that_works(service, organization, client, visitor, open_window):
    """On every kind of page `?` lists exactly the keys that the page takes; Enter and Esc stay the browser's."""
    page, found = visitor.page, {}
    with switch() as receiver:
        receiver.status = 400
        base = f"/console/o/{organization.org_id}"
        dst_id = make_destination(service, organization, url=receiver.url)
        client.record([event("one"), event("two")])
        wait_until(lambda: read(service, organization, dst_id)["stats"]["dead_letters"] == 2)
        for where in (
            "",
            "/events",
            "/events/one",
            f"/d/{dst_id}",
            f"/d/{dst_id}/dead-letters",
            "/keys",
            "/new",
        ):
            visitor.open(base + where)
            page.get_by_role("button", name="Live", exact=True).wait_for()
            page.keyboard.press("?")
            listed = page.locator("dialog dt:visible").all_inner_texts()
            page.keyboard.press("Escape")
            found[where] = {one.strip() for one in listed if one}
            taken = set(page.evaluate(PRESSED))
            assert taken == found[where] - {"Enter", "Esc"}, (where, taken ^ found[where])

        assert {"x", "X", "r", "j", "k", "Enter"} <= found[f"/d/{dst_id}/dead-letters"]
        assert {"t", "p", "r"} <= found[f"/d/{dst_id}"] - found["/events"]
        visitor.open(f"{base}/d/{dst_id}/dead-letters")
        page.keyboard.press("j")
        page.keyboard.press("x")
        assert page.locator("[data-select]:checked").count() == 1
        page.keyboard.press("X")
        assert page.get_by_label("Select all 2 that match").is_checked()
        page.get_by_role("button", name="Redrive the selected").click()
        page.get_by_role("heading", name="Redrive 2 dead letters").wait_for()
        assert read(service, organization, dst_id)["stats"]["dead_letters"] == 2, "it asks first"


def test_times_in_the_zone_of_the_reader(browser, service, organization, client, open_window):
    """`u` puts the reader's zone into the URL and back: all times have it, the bars' too, links and forms keep it, it survives reload and Back, and another browser with the same URL shows the same, also without scripts."""
    client.record([event("one")])
    context = browser.new_context(timezone_id="Asia/Kathmandu", locale="en-GB")
    page = context.new_page()
    try:
        page.goto(f"{service.url}/console")
        page.get_by_label("API key or operator key").fill(organization.key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Events", exact=True).click()
        utc, bar = shown_times(page)
        page.keyboard.press("u")
        page.get_by_text("Times are Asia/Kat").wait_for()
        local, local_bar = shown_times(page)
        page.locator("form.line input[name=q]").fill("event.id:one")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=event*")
        url = page.url
        page.get_by_role("link", name="one", exact=True).click()
        page.get_by_role("heading", name="Event one").wait_for()
        page.reload()
        assert page.locator("time[title$='+05:45']").count() > 1
        page.go_back()
        page.get_by_text("Times are Asia/Kat").wait_for()

        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", utc)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\+05:45", local)
        assert shown_times(page)[0] == local
        minutes = [int(text[14:16]) + 60 * int(text[11:13]) for text in (utc, local)]
        assert (minutes[1] - minutes[0]) % 1440 == 345
        assert "UTC:" in bar
        assert "UTC+05:45:" in local_bar
        other = open_window(scripts=False)
        other.sign_in(organization.key)
        other.page.goto(url)
        assert shown_times(other.page)[0] == local
        other.page.get_by_role("link", name="Overview").click()
        other.page.get_by_text("Times are Asia/Kat").wait_for()
        other.page.get_by_label("Zone").fill("America/St_Johns")
        other.page.get_by_role("button", name="Use this zone").click()
        other.page.get_by_text("Times are America/St_Johns").wait_for()
        page.keyboard.press("u")
        page.get_by_text("Times are UTC").wait_for()
        assert shown_times(page)[0] == utc
    finally:
        context.close()


def shown_times(page):
    """Return the first time of the list, and the title of the first bar."""
    return (
        page.locator("tbody[data-rows] time.full").first.inner_text(),
        page.locator("figure svg title").first.text_content(),
    )


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_zone_that_nobody_knows(visitor):
    """The page says so beside the field, and shows UTC; an action keeps the zone of the page."""
    page = visitor.page
    page.goto(page.url + "?zone=Nowhere/Here")
    page.get_by_text("The zone Nowhere/Here is not known here").wait_for()
    visitor.look_over("zone-unknown")
    page.get_by_label("Zone").fill("Europe/Berlin")
    page.get_by_role("button", name="Use this zone").click()
    page.get_by_text("Times are Europe/Berlin").wait_for()
    visitor.look_over("zone")
    page.get_by_role("button", name="Send one for me").click()
    page.get_by_role("status").filter(has_text="recorded").wait_for()
    page.get_by_text("Times are Europe/Berlin").wait_for()


def test_how_long_ago_is_told_in_the_same_words(visitor):
    """The page counts on in the words that the service writes."""
    now = Micros(1_800_000_000 * SECOND)
    seconds = [0, 1, 59, 60, 3599, 3600, 3661, 7200, 86_399, 86_400, 90_000, 200_000, -5, -90, -4000]
    shown = visitor.page.evaluate(
        """async ([seconds, source]) => {
            const {showTime} = await import(source);
            return seconds.map((one) => {
                const time = document.createElement("time");
                time.className = "ago";
                time.dateTime = new Date(Date.now() - one * 1000 - (one < 0 ? -400 : 400)).toISOString();
                showTime(time);
                return time.textContent;
            });
        }""",
        [
            seconds,
            visitor.page.locator("script[type=module]").first.get_attribute("src"),
        ],
    )

    assert shown == [
        ago(Micros(now - one * SECOND - (-400_000 if one < 0 else 400_000)), now) for one in seconds
    ]


@pytest.mark.parametrize("look", LOOKS[:1], ids=str)
def test_colours_that_the_reader_has_chosen(visitor):
    """The choice holds at once and after a reload, and can go back to the system's."""
    page = visitor.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(ground)
    page.reload()
    kept = page.evaluate(ground)
    page.get_by_label("Colours").select_option("as the system")

    assert light != dark
    assert kept == dark
    assert page.evaluate(ground) == light


def test_copying(visitor):
    """A command is copied as it stands."""
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.page
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()

    assert (
        page.evaluate("navigator.clipboard.readText()") == page.locator("pre[data-copy]").first.text_content()
    )
