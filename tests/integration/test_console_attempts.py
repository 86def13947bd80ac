"""Promises of the attempts in the console: lists with filters in the URL, one attempt in full, and sending its event again."""

import html
import re

import pytest

from aegis_stream.domain.attempt import FailureScope
from aegis_stream.domain.delivery import AttemptRun, DeadRow
from aegis_stream.domain.ids import Micros
from support.api import SECOND, SECRET, START, make_event, make_failure
from support.console import Visitor

HOSTILE = '<script>alert(1)</script> "><img src=x onerror=alert(1)> \u202e\x1b[31m'


async def furnish(world, tenant, name="Elastic prod", *, sends=True, **changes) -> str:
    """Make a destination with a history of five events, of which the fifth failed; returns its path in the console."""
    dst_id = await world.make_destination(tenant, name=name, format="json", **changes)
    if sends:
        await world.send_events(tenant, 5)
    at = [Micros(START + number * SECOND) for number in range(5)]
    runs = [
        AttemptRun(1, 4, 1, "delivered", 202, None, 4200, at[0]),
        AttemptRun(5, 5, 1, "failed", 503, "answered 503: overloaded", 9000, at[1]),
        AttemptRun(5, 5, 2, "failed", None, "no answer within 10 s", 10_000_000, at[2]),
        AttemptRun(5, 5, 3, "failed", 400, f"answered 400: {HOSTILE}", 9000, at[3]),
    ]
    rejected = make_failure(400, "answered 400", FailureScope.EVENT)
    await world.settle(tenant, dst_id, cursor=5, runs=runs, dead=[DeadRow(5, 3, at[3], rejected)])
    world.clock.advance(60)
    return f"/console/o/{tenant.org_id}/d/{dst_id}"


async def signed_in(world, key) -> Visitor:
    """Return somebody who has signed in with a key."""
    visitor = Visitor(world)
    await visitor.sign_in(key)
    return visitor


def attempts_in(page: str) -> list[str]:
    """Return the ids of the attempts that a page lists, in its order."""
    return [one.replace("-", ".") for one in re.findall(r'<tr id="a([0-9]+-[0-9]+)"', page)]


async def test_the_tab_lists_attempts_newest_first(world, tenant):
    """Every attempt is one row that leads to its own page, with what came of it, the number of attempts and the dataset."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)

    answer = await visitor.get(f"{here}/attempts")

    ids = attempts_in(answer.text)
    assert [one.partition(".")[2] for one in ids] == ["5", "5", "5", "4", "3", "2", "1"]
    assert all(f'href="{here}/attempts/{one}"' in answer.text for one in ids)
    assert answer.text.count("3 of 3") == 1
    assert "app.login" in answer.text
    assert "answered 503: overloaded" in answer.text
    assert "10.0 s" in answer.text


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=failed", 3),
        ("state=delivered", 4),
        ("status_class=network", 1),
        ("status_class=4xx", 1),
        ("error=OVERLOADED", 1),
        ("event_id=evt_2", 1),
        ("event_id=evt_5&state=failed&status_class=5xx", 1),
        ("range=1h", 7),
        ("since=2026-05-28T20:26:43Z", 1),
        ("until=2026-05-28T20:26:41Z", 5),
        ("event_id=none", 0),
    ],
)
async def test_filters_stand_in_the_url(world, tenant, query, count):
    """A filter in the URL chooses the rows, and the form above them shows it."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)

    answer = await visitor.get(f"{here}/attempts?{query}")

    assert len(attempts_in(answer.text)) == count
    for name, _, value in (one.partition("=") for one in query.split("&")):
        field = rf'name="{name}"[^>]*value="{value}"|<option value="{value}" selected'
        assert re.search(field, answer.text), name
    assert ("No attempt matches" in answer.text) == (count == 0)


async def test_a_wrong_filter_is_told_beside_its_field(world, tenant):
    """A value that does not exist shows nothing but what is wrong, and everything that was typed is still there."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)

    answer = await visitor.get(f"{here}/attempts?status_class=6xx&error=typed")

    assert answer.status_code == 422
    assert '<a href="#f-status_class">status_class</a>' in answer.text
    assert 'value="typed"' in answer.text
    assert attempts_in(answer.text) == []


async def test_pages_keep_the_filter_and_lose_nothing(world, tenant):
    """Going on shows the following rows under the same filter, and a link leads back to the newest ones."""
    dst_id = await world.make_destination(tenant)
    await world.send_events(tenant, 120)
    await world.settle(
        tenant, dst_id, cursor=120, runs=[AttemptRun(1, 120, 1, "delivered", 202, None, 9, START)]
    )
    visitor, path = await signed_in(world, tenant.read.key), f"/console/o/{tenant.org_id}/deliveries"

    seen, query = [], "?state=delivered"
    for _ in range(3):
        page = (await visitor.get(path + query)).text
        seen += attempts_in(page)
        found = re.search(r'rel="next" href="([^"]+)"', page)
        query = html.unescape(found[1]) if found else ""

    assert [int(one.partition(".")[2]) for one in seen] == list(range(120, 0, -1))
    assert query == ""
    assert 'href="?state=delivered">Newest</a>' in page


async def test_deliveries_are_the_failures_everywhere(world, tenant):
    """The organization's page shows failures of all destinations by their names, and everything when it is asked to."""
    paths = [await furnish(world, tenant, name, sends=name == "A") for name in ("A", "B <i>")]
    visitor = await signed_in(world, tenant.read.key)

    failures = (await visitor.get(f"/console/o/{tenant.org_id}/deliveries")).text
    everything = (await visitor.get(f"/console/o/{tenant.org_id}/deliveries?state=any")).text

    assert (len(attempts_in(failures)), len(attempts_in(everything))) == (6, 14)
    assert all(f'href="{one}"' in failures for one in paths)
    assert "B &lt;i&gt;" in failures


async def test_a_search_that_ends_early_says_how_far_it_looked(world, tenant):
    """When little matches, the page says back to when it looked, and goes on from there."""
    dst_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    runs = [AttemptRun(1, 1, 1, "failed", 503, "the only failure", 9, START)]
    runs += [AttemptRun(1, 1, 1, "delivered", 202, None, 9, Micros(START + 9))] * 20_000
    await world.settle(tenant, dst_id, cursor=1, runs=runs)
    visitor = await signed_in(world, tenant.read.key)

    first = await visitor.get(f"/console/o/{tenant.org_id}/deliveries")
    [(following)] = re.findall(r'rel="next" href="([^"]+)">Go on', first.text)
    rest = await visitor.get(f"/console/o/{tenant.org_id}/deliveries{html.unescape(following)}")

    assert "Looked through 20,000 rows" in first.text
    assert "the only failure" not in first.text
    assert "the only failure" in rest.text


async def test_one_attempt_in_full(world, tenant):
    """The page of an attempt has the request as it was sent, its times, and the other attempts; and no secret."""
    here = await furnish(world, tenant, headers={"X-Scope-OrgID": "tenant-c4n4ry"})
    visitor = await signed_in(world, tenant.read.key)
    newest = attempts_in((await visitor.get(f"{here}/attempts")).text)[0]

    page = (await visitor.get(f"{here}/attempts/{newest}")).text

    [body] = re.findall(r"<pre[^>]*data-body>(.*?)</pre>", page, re.DOTALL)
    assert html.unescape(body).encode() == make_event("evt_5", org_id=tenant.org_id)
    assert "POST https://siem.example.com/services/collector" in page
    assert "Attempt 3 of 3" in page
    assert page.count(f'href="{here}/attempts/') >= 3
    assert "c4n4ry" not in page
    assert SECRET not in page
    [curl] = re.findall(r"<pre[^>]*data-curl>(.*?)</pre>", page, re.DOTALL)
    assert "-H 'Authorization: '\"$SECRET\"" in html.unescape(curl)
    assert "-H 'X-Scope-OrgID: '\"$SECRET_2\"" in html.unescape(curl)


async def test_what_receivers_say_is_text(world, tenant):
    """Markup, control and bidirectional characters of an answer are shown, in the lists and on the page of one attempt."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)
    tab = (await visitor.get(f"{here}/attempts")).text
    pages = [
        tab,
        (await visitor.get(f"/console/o/{tenant.org_id}/deliveries")).text,
        (await visitor.get(f"{here}/attempts/{attempts_in(tab)[0]}")).text,
    ]

    for page in pages:
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "\\u202e\\u001b" in page
        assert "\u202e" not in page


async def test_an_event_is_sent_again_from_its_attempt(world, tenant):
    """The button makes the event pending at this destination, and the list of its attempts says so."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    newest = attempts_in((await visitor.get(f"{here}/attempts")).text)[0]
    page = (await visitor.get(f"{here}/attempts/{newest}")).text
    [shown] = re.findall(r'name="newest" value="([^"]+)"', page)
    assert "/events/evt_5/send" in page
    assert "aegis event resend evt_5 --destination dst_" in page

    sent = await visitor.post(f"{here}/attempts/{newest}/send", {"newest": shown})
    after = await visitor.get(sent.headers["location"])

    assert sent.headers["location"] == f"{here}/attempts?event_id=evt_5"
    assert "Event evt_5 goes again to this destination" in after.text
    detail = (await tenant.read.get("/events/evt_5")).json()
    assert [one["state"] for one in detail["deliveries"]] == ["pending"]


async def test_what_was_attempted_meanwhile_is_not_sent_again(world, tenant):
    """A button on a page that is out of date does nothing, and says why."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    ids = attempts_in((await visitor.get(f"{here}/attempts")).text)

    refused = await visitor.post(f"{here}/attempts/{ids[0]}/send", {"newest": ids[1]})

    assert refused.status_code == 409
    assert "nothing was done" in refused.text
    detail = (await tenant.read.get("/events/evt_5")).json()
    assert [one["state"] for one in detail["deliveries"]] == ["dead_letter"]


async def test_a_read_key_has_no_control_that_sends(world, tenant):
    """With a key that may only read the button is absent, and the call is refused."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)
    newest = attempts_in((await visitor.get(f"{here}/attempts")).text)[0]
    page = (await visitor.get(f"{here}/attempts/{newest}")).text

    refused = await visitor.post(f"{here}/attempts/{newest}/send", {"newest": newest})

    assert "Send again" not in page
    assert "/send" not in page
    assert refused.status_code == 403


async def test_attempts_of_another_organization_do_not_exist(world, tenant):
    """The pages of another organization's attempts are 404, also below one's own path."""
    here = await furnish(world, tenant)
    other = await world.make_organization("org_other")
    own = await world.make_destination(other)
    visitor = await signed_in(world, tenant.read.key)
    newest = attempts_in((await visitor.get(f"{here}/attempts")).text)[0]
    stranger = await signed_in(world, other.read.key)

    for path in (
        f"{here}/attempts",
        f"{here}/attempts/{newest}",
        f"/console/o/org_other/d/{own}/attempts/{newest}",
        f"/console/o/{tenant.org_id}/deliveries",
    ):
        assert (await stranger.get(path)).status_code == 404, path
