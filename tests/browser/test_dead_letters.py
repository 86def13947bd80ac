"""A person sends again what a destination did not take, and replays a range."""

import pytest

from support.browser import LOOKS
from support.picky import picky_receiver
from support.service import wait_until

EVENTS = 5000
STATUSES = (400, 413, 422)
"""Three causes, event after event in turn."""


def judge(event_id):
    """Reject every event of the test, in turn for three causes; events of the audit trail are taken."""
    kind, _, number = event_id.partition("-")
    return STATUSES[int(number) % 3] if kind == "evt" else 202


def arrived(receiver):
    """Return the events of the test that a receiver has accepted."""
    return {event_id for event_id in receiver.accepted if event_id.startswith("evt-")}


@pytest.fixture
def picky():
    """Run a receiver that rejects every event."""
    with picky_receiver(judge) as receiver:
        yield receiver


def bury(call, receiver, count):
    """Make a destination whose events all become dead letters; returns its path in the API and its id."""
    body = {"url": receiver.url, "name": "Elastic prod", "format": "json", "retry": {"max_attempts": 1}}
    dst_id = call("POST", "/forwarding-destinations", json=body)["id"]
    for first in range(0, count, 500):
        batch = [
            {"event": {"id": f"evt-{number}", "dataset": "app.login"}}
            for number in range(first, min(first + 500, count))
        ]
        call("POST", "/events", json=batch)
    path = f"/forwarding-destinations/{dst_id}"
    wait_until(lambda: call("GET", path)["stats"]["dead_letters"] == count, seconds=90)
    call("PATCH", path, json={"retry": {"max_attempts": 20}})
    return path, dst_id


@pytest.mark.stores
def test_all_of_one_cause_of_five_thousand(service, organization, picky, call, visitor):
    """Three clicks send all dead letters of one cause again; the others stay, the bar ends full, and survives a reload."""
    path, dst_id = bury(call, picky, EVENTS)
    picky.judge = lambda _: 202
    visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}")
    visitor.page.get_by_role("link", name=f"Dead letters ({EVENTS:,})").click()  # 1
    visitor.page.get_by_role("row", name="413").get_by_role("link", name="Redrive").click()  # 2
    visitor.page.get_by_text("The receiver may see duplicates").wait_for()
    expected = {f"evt-{number}" for number in range(EVENTS) if number % 3 == 1}
    visitor.page.get_by_role("button", name=f"Redrive {len(expected):,}").click()  # 3
    visitor.page.get_by_text("has started: see how far it is below").wait_for()
    visitor.page.reload()
    bar = visitor.page.get_by_role("progressbar")
    bar.wait_for()
    visitor.page.get_by_text(f"{len(expected):,} of {len(expected):,} events").wait_for()
    visitor.page.get_by_role("listitem").get_by_text("done", exact=True).wait_for()
    assert visitor.page.get_by_role("button", name="Cancel").is_hidden()

    assert bar.evaluate("one => one.value") == len(expected)
    wait_until(lambda: call("GET", path)["stats"]["retrying"] == 0, seconds=60)
    assert arrived(picky) == expected
    assert call("GET", path)["stats"]["dead_letters"] == EVENTS - len(expected)


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_pages_in_every_look(organization, picky, call, visitor):
    """Causes, rows, the question before a redrive and a purge, replays and their preview are fit for everybody."""
    _, dst_id = bury(call, picky, 9)
    here = f"/console/o/{organization.org_id}/d/{dst_id}"
    for name, path in (
        ("dead-letters", "/dead-letters"),
        ("dead-letters-filtered", "/dead-letters?about=event"),
        ("redrive", "/dead-letters/redrive"),
        ("purge", "/dead-letters/purge"),
        ("replays", "/replays"),
    ):
        visitor.open(here + path)
        visitor.look_over(name)
    visitor.page.get_by_label("Everything that is kept").check()
    visitor.page.get_by_role("button", name="Preview").click()
    visitor.page.get_by_text("sequences 1 to").wait_for()
    visitor.look_over("replay-preview")
    visitor.page.get_by_role("button", name="again").click()
    visitor.page.get_by_role("progressbar").wait_for()
    visitor.look_over("replay-started")


def test_a_purge_asks_for_the_number(organization, picky, call, visitor):
    """A wrong number deletes nothing and is told at its field; the right one deletes."""
    path, dst_id = bury(call, picky, 6)
    visitor.expected.append("422")
    visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}/dead-letters/purge")
    field = visitor.page.get_by_label("Type 6 to delete them")
    field.fill("5")
    visitor.page.get_by_role("button", name="Delete 6 for good").click()
    visitor.page.get_by_role("alert").get_by_text("Type 6, the number of dead letters to delete").wait_for()
    visitor.look_over("purge-refused")
    assert call("GET", path)["stats"]["dead_letters"] == 6
    field.fill("6")
    visitor.page.get_by_role("button", name="Delete 6 for good").click()
    visitor.page.get_by_text("6 dead letters deleted").wait_for()

    assert call("GET", path)["stats"]["dead_letters"] == 0


@pytest.mark.stores
def test_a_replay_sends_what_its_preview_says(organization, picky, call, visitor):
    """The number of the preview is the number that the receiver gets, once more or for the first time."""
    path, dst_id = bury(call, picky, 40)
    picky.judge = lambda _: 202
    visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}/replays")
    visitor.page.get_by_label("The last hour").check()
    visitor.page.get_by_role("button", name="Preview").click()
    head = call("GET", "")["head_sequence"]  # with events of the audit trail
    visitor.page.get_by_text(f"{head} events").first.wait_for()
    assert call("GET", f"{path}/replays")["data"] == []
    visitor.page.get_by_role("button", name=f"Send {head} events again").click()
    visitor.page.get_by_text(f"{head} of {head} events").wait_for()

    assert len(arrived(picky)) == 40


def test_without_scripts(open_window, organization, picky, call):
    """Without JavaScript a person ticks rows and redrives them, redrives a cause, and starts a replay."""
    path, dst_id = bury(call, picky, 9)
    picky.judge = lambda _: 202
    visitor = open_window(scripts=False)
    visitor.sign_in(organization.key)
    here = f"/console/o/{organization.org_id}/d/{dst_id}"
    visitor.open(here + "/dead-letters")
    visitor.page.get_by_label("Select event evt-0").check()
    visitor.page.get_by_label("Select event evt-4").check()
    visitor.page.get_by_role("button", name="Redrive the selected").click()
    visitor.page.get_by_text("2 events are on their way again.").wait_for()
    visitor.page.get_by_role("row", name="422").get_by_role("link", name="Redrive").click()
    visitor.page.get_by_role("button", name="Redrive 3").click()
    visitor.page.get_by_text("3 events are on their way again.").wait_for()
    visitor.open(here + "/replays")
    visitor.page.get_by_label("Everything that is kept").check()
    visitor.page.get_by_role("button", name="Preview").click()
    visitor.page.get_by_role("button", name="again").click()
    visitor.page.get_by_text("has started").wait_for()
    wait_until(lambda: len(arrived(picky)) == 9)
    [replay] = wait_until(
        lambda: [one for one in call("GET", f"{path}/replays")["data"] if one["state"] == "done"]
    )
    visitor.page.reload()
    total = replay["events_total"]

    assert visitor.page.get_by_text(f"{total} of {total} events").is_visible()
    assert call("GET", path)["stats"]["dead_letters"] == 4


def test_a_read_key_sees_and_changes_nothing(open_window, service, organization, picky, call):
    """With a key that may only read there is no control that writes on either page."""
    _, dst_id = bury(call, picky, 3)
    key = call("POST", "/api-keys", json={"name": "reader", "scope": "read"})["api_key"]
    visitor = open_window()
    visitor.sign_in(key)
    here = f"/console/o/{organization.org_id}/d/{dst_id}"
    controls = []
    for tab in ("/dead-letters", "/replays"):
        visitor.open(here + tab)
        controls += [one.inner_text() for one in visitor.page.get_by_role("main").get_by_role("button").all()]
        assert visitor.page.get_by_role("main").get_by_role("checkbox").count() == 0

    assert controls == ["Export all as NDJSON"]
