"""Promises of a destination's pages: its state, its controls, what a test tells."""

import html

import pytest

from aegis_stream.domain.attempt import Response
from aegis_stream.domain.delivery import AttemptRun, DeadRow, RetryRow
from aegis_stream.domain.destination import Health
from support.api import SECOND, SECRET, START, make_event, make_failure
from support.console import signed_in

HOME = "/console/o/org_abc"


async def test_pausing_and_resuming(world, tenant):
    """The controls hold deliveries and let them go on, say so, and the page shows the state."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    visitor = await signed_in(world, tenant.admin.key)
    here = f"{HOME}/d/{dst_id}"
    await visitor.get(here)
    answer = await visitor.post(here + "/pause", {"state": "running"})
    await visitor.get(answer.headers["location"])
    paused = visitor.page
    answer = await visitor.post(here + "/resume", {"state": "paused"})
    await visitor.get(answer.headers["location"])

    assert "Elastic prod is paused: events wait for it, and none is lost." in paused
    assert "Resume</button>" in paused
    assert "Elastic prod goes on" in visitor.page
    assert "Pause</button>" in visitor.page


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("pause", {"state": "paused"}),
        ("pause", {"state": "failing"}),
        ("pause", {}),
        ("resume", {"state": "paused"}),
        ("resume", {"state": "running"}),
        ("resume", {}),
    ],
)
async def test_a_control_of_an_old_page_does_nothing(world, tenant, action, fields):
    """A control that was shown for another state, or that does not tell for which, is refused with the reason, and changes nothing."""
    dst_id = await world.make_destination(tenant)
    visitor = await signed_in(world, tenant.admin.key)
    here = f"{HOME}/d/{dst_id}"
    await visitor.get(here)
    answer = await visitor.post(f"{here}/{action}", fields)

    assert answer.status_code == 409
    assert "nothing was done" in answer.text
    assert (await tenant.read.get(f"/forwarding-destinations/{dst_id}")).json()["enabled"] is True


async def test_a_test_tells_what_was_answered(world, tenant):
    """A failed test shows the cause and the beginning of the answer, without secrets and without markup."""
    dst_id = await world.make_destination(tenant, url="https://siem.example.com/audit")
    world.sender.answers = [Response(401, f"<b>no</b> {SECRET}".encode(), 8100), Response(202, b"", 8100)]
    visitor = await signed_in(world, tenant.admin.key)
    here = f"{HOME}/d/{dst_id}"
    await visitor.get(here)
    failed = await visitor.post(here + "/test")
    succeeded = await visitor.post(here + "/test")

    assert "does not accept the credential" in html.unescape(failed.text)
    assert f'href="{here}/settings#f-auth_header_value">Credential</a>' in failed.text
    assert "&lt;b&gt;no&lt;/b&gt;" in failed.text
    assert SECRET not in failed.text
    assert "Answered 202 in 8 ms." in succeeded.text


async def test_failures_are_grouped_by_cause(world, tenant):
    """The page counts failures with the same status and message, the most frequent first."""
    dst_id = await world.make_destination(tenant)
    for number in range(3):
        await tenant.ingest.send(make_event(f"evt_{number}"))
    runs = [
        AttemptRun(sequence, sequence, 1, "failed", status, message, 5000, START)
        for sequence, status, message in ((2, 503, "busy"), (3, 503, "busy"), (4, None, "<refused>"))
    ]
    health = Health(failures_in_row=3, last_error_at=START, last_error_status=503, last_error_message="busy")
    await world.settle(tenant, dst_id, runs=runs, health=health, failed_attempts=3)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(f"{HOME}/d/{dst_id}")
    rows = visitor.page.partition('id="causes"')[2]

    assert rows.index("busy") < rows.index("&lt;refused&gt;")
    assert "67 %" in rows
    assert "has never taken an event: busy" in visitor.page


async def test_a_destination_that_rejects_everything(world, tenant):
    """It has failed for the events' sake and never taken one: the first sentence says so, and the tab counts it as failing."""
    dst_id = await world.make_destination(tenant, name="Elastic")
    await world.send_events(tenant, 1)
    health = Health(last_error_at=START, last_error_status=400, last_error_message="answered 400: not JSON")
    dead = [DeadRow(1, 1, START, make_failure())]
    await world.settle(tenant, dst_id, cursor=1, dead=dead, health=health, failed_attempts=1)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(HOME)

    assert "has taken no event yet, and rejects what is sent: 400, not JSON." in html.unescape(visitor.page)
    assert "<title>(1 failing)" in visitor.page
    assert "rejecting" in visitor.page


async def test_what_comes_next(world, tenant):
    """The page says when the first retry is due, and which worker serves the destination, if any does."""
    dst_id = await world.make_destination(tenant)
    await world.send_events(tenant, 2)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(f"{HOME}/d/{dst_id}")
    alone = visitor.page
    retries = [RetryRow(n, 1, START + n * 12 * SECOND, make_failure()) for n in (1, 2)]
    await world.settle(tenant, dst_id, cursor=2, retries=retries, failed_attempts=2)
    await visitor.get(f"{HOME}/d/{dst_id}")

    assert "No worker serves it" in alone
    assert "Next retry" not in alone
    assert "in 12 s" in visitor.page.partition("Next retry")[2].partition("</div>")[0]
    assert "wrk_test" in visitor.page


async def test_a_read_key_has_no_controls(world, tenant):
    """With a key that may only read the page has no form but the one that signs out, and the calls are 403."""
    dst_id = await world.make_destination(tenant)
    visitor = await signed_in(world, tenant.read.key)
    here = f"{HOME}/d/{dst_id}"
    await visitor.get(here)
    forms = visitor.page.count('method="post"')
    statuses = [
        (await visitor.post(f"{here}/{action}", {"state": "running"})).status_code
        for action in ("test", "pause", "resume")
    ]

    assert forms == 1
    assert statuses == [403] * 3


async def test_the_url_of_another_organization_is_not_found(world, tenant):
    """A destination of another organization is 404, by page and by control."""
    other = await world.make_organization("org_other")
    dst_id = await world.make_destination(other)
    visitor = await signed_in(world, tenant.admin.key)
    here = f"{HOME}/d/{dst_id}"

    assert (await visitor.get(here)).status_code == 404
    assert (await visitor.post(here + "/pause", {"state": "running"})).status_code == 404


async def test_a_secret_url_is_masked(world, tenant):
    """A URL that is the credential is never shown."""
    dst_id = await world.make_destination(
        tenant,
        url="https://collect.example.com/receiver/v1/http/Zm9vYmFyYmF6cXV4Y29ycmVjdGhvcnNl",
        auth_header_name=None,
        auth_header_value=None,
    )
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(f"{HOME}/d/{dst_id}")

    assert "Zm9vYmFyYmF6" not in visitor.page


async def test_deleting_asks_for_the_name(world, tenant):
    """A destination is deleted only when its name was typed."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    visitor = await signed_in(world, tenant.admin.key)
    here = f"{HOME}/d/{dst_id}"
    await visitor.get(here + "/settings")
    refused = await visitor.post(here + "/delete", {"typed": "elastic"})
    await visitor.get(here + "/settings")
    answer = await visitor.post(here + "/delete", {"typed": "Elastic prod"})

    assert refused.status_code == 409
    assert answer.headers["location"] == HOME
    assert (await tenant.read.get(f"/forwarding-destinations/{dst_id}")).status_code == 404
