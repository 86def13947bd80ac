"""A person looks after a destination."""

import json

import httpx
import pytest

from support.browser import LOOKS
from support.destinations import make_destination, read
from support.processes import free_port, recording_receiver
from support.service import wait_until


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_healthy_destination(service, organization, receiver, visitor):
    """It takes a sample event; the page says so, is paused and goes on, and a test of it succeeds."""
    dst_id = make_destination(service, organization, receiver.url)
    home = f"/console/o/{organization.org_id}"
    visitor.open(home)
    visitor.page.get_by_role("button", name="Send one for me").click()
    wait_until(lambda: read(service, organization, dst_id)["stats"]["delivered"] >= 1)
    visitor.open(home)
    visitor.look_over("overview")
    visitor.page.get_by_role("rowheader", name="Elastic prod").get_by_role("link").click()
    visitor.page.get_by_role("heading", name="Elastic prod").wait_for()
    visitor.look_over("health")
    visitor.page.get_by_role("button", name="Pause").click()
    visitor.page.get_by_text("is paused: events wait for it").wait_for()
    visitor.look_over("health-paused")
    visitor.page.get_by_role("button", name="Resume").click()
    visitor.page.get_by_text("goes on, with the oldest event first").wait_for()
    visitor.page.get_by_role("button", name="Test").click()
    visitor.page.get_by_text("Answered 202 in").wait_for()
    visitor.look_over("tested")


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_failing_destination(service, organization, visitor):
    """The first sentence names it, the cause and what waits, and the title says how many fail; the test shows the answer."""
    dst_id = make_destination(service, organization, f"http://127.0.0.1:{free_port()}/audit")
    home = f"/console/o/{organization.org_id}"
    visitor.open(home)
    visitor.page.get_by_role("button", name="Send one for me").click()
    wait_until(lambda: read(service, organization, dst_id)["status"] == "failing")
    visitor.open(home)

    assert visitor.page.title().startswith("(1 failing)")
    sentence = visitor.page.get_by_role("region", name="State")
    assert "Elastic prod has never taken an event: connection refused" in sentence.inner_text()
    visitor.look_over("overview-failing")
    sentence.get_by_role("link", name="Elastic prod").click()
    visitor.page.get_by_role("heading", name="Causes of failures").wait_for()
    visitor.look_over("health-failing")
    visitor.page.get_by_role("link", name="Settings").click()
    visitor.page.get_by_label("Credential").wait_for()
    visitor.look_over("settings")
    visitor.page.get_by_role("link", name="Health", exact=True).click()
    visitor.page.get_by_role("button", name="Test").click()
    visitor.page.get_by_role("heading", name="The test event was not taken").wait_for()
    visitor.look_over("test-failed")


def test_a_pause_holds_and_a_resume_drains_in_order(service, organization, tmp_path, visitor):
    """While a destination is paused its count of waiting events grows and its receiver gets nothing; resumed, it gets all in the order of the log."""
    ids = [f"evt-{number}" for number in range(40)]
    with (
        recording_receiver(tmp_path, name="held") as held,
        recording_receiver(tmp_path, name="other") as other,
    ):
        dst_id = make_destination(service, organization, held.url, format="ndjson")
        beside = make_destination(service, organization, other.url, name="Beside", format="ndjson")
        page, home = visitor.page, f"/console/o/{organization.org_id}"
        visitor.open(f"{home}/d/{dst_id}")
        page.get_by_role("button", name="Pause").click()
        page.get_by_text("is paused: events wait for it").wait_for()
        before = held.counts()
        events = [{"event": {"id": one, "dataset": "my.app"}} for one in ids]
        sent = httpx.post(
            f"{service.url}/api/orgs/{organization.org_id}/events",
            json=events,
            headers={"Authorization": f"Bearer {organization.key}"},
            trust_env=False,
        )
        # The destination beside it has all of them: so the paused one could have had them, too.
        wait_until(lambda: read(service, organization, beside)["stats"]["delivered"] >= len(ids))
        during = held.counts()
        page.reload()
        waiting = read(service, organization, dst_id)["stats"]["backlog"]
        page.get_by_text(f"{waiting} events wait").first.wait_for()
        page.get_by_role("button", name="Resume").click()
        page.get_by_text("goes on, with the oldest event first").wait_for()
        wait_until(lambda: read(service, organization, dst_id)["stats"]["backlog"] == 0)
        lines = [line for body in held.bodies() for line in body.splitlines()]
    arrived = [json.loads(line)["event"]["id"] for line in lines]

    assert sent.json()["accepted"] == len(ids)
    assert during == before
    assert waiting >= len(ids)
    assert [one for one in arrived if one in ids] == ids
