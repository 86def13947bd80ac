"""Promises of the page of sources: how to send, who sends and who is silent, and why requests are refused."""

import html

import pytest

from support.api import make_event
from support.console import Visitor

HOME = "/console/o/org_abc"
SOURCES = HOME + "/sources"


@pytest.fixture
async def visitor(world, tenant):
    """Somebody who is signed in with the admin key."""
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    return visitor


async def id_of(tenant, scope):
    """Return the id of a key by its scope."""
    [found] = [one for one in (await tenant.admin.get("/api-keys")).json()["data"] if one["scope"] == scope]
    return found["id"]


def row_of(page, key_id):
    """Return the row of a key."""
    return page.partition(f'data-row="{key_id}"')[2].partition("</tr>")[0]


async def test_keys_that_send_and_those_that_are_silent(world, tenant, visitor):
    """A key that may send says whether it does: never, now, or not in the last hour; a key that may only read is not there."""
    ingest = await id_of(tenant, "ingest")
    await visitor.get(SOURCES)
    first = row_of(visitor.page, ingest)
    await tenant.ingest.send(make_event(), "application/json")
    await visitor.get(SOURCES)
    second = row_of(visitor.page, ingest)
    await world.service.control.access.uses.write(world.stores.db, world.clock.now())
    world.clock.advance(3500)
    await visitor.get(SOURCES)
    world.clock.advance(200)
    await visitor.get(SOURCES)
    third = row_of(visitor.page, ingest)

    assert "never used" in first
    assert "sends" in second
    assert "silent" in third
    assert await id_of(tenant, "read") not in visitor.page


async def test_commands_are_ready_to_be_pasted(tenant, visitor):
    """Address and organization are filled in, for one event, many, a wrapping document and a preflight decision; no key is."""
    await visitor.get(SOURCES)
    text = html.unescape(visitor.page)

    for part in ("/events", "/events?unwrap=Records", "/preflight-decisions"):
        assert f"http://127.0.0.1/api/orgs/org_abc{part}" in text
    assert "application/x-ndjson" in text
    assert tenant.admin.key not in text


async def test_the_last_requests_of_a_key_say_what_was_refused(tenant, visitor):
    """After the first look every request of the key appears, with its answer and the reason, as text."""
    page = f"{SOURCES}?key={await id_of(tenant, 'ingest')}"
    await visitor.get(page)
    first = visitor.page
    await tenant.ingest.send(make_event("e1"), "application/json")
    await tenant.ingest.send(b'{"<script>alert(1)</script>": {', "application/json")
    await tenant.ingest.send(b'{"event": {"id": 5}}', "application/json")
    await visitor.get(page)
    rows = visitor.page.partition('<h2 id="requests">')[2].partition("</table>")[0]

    assert "No request of this key since you began to look." in first
    assert rows.count('<th scope="row">') == 3
    assert ("✓</span> 202" in rows, rows.count("✗</span> 422")) == (True, 2)
    assert "event.id" in rows
    assert "<script>alert" not in visitor.page


async def test_requests_of_other_keys_are_not_there(world, tenant, visitor):
    """A key of another organization is 404; a session that may read sees neither keys nor requests, and begins to note nothing."""
    other = await world.make_organization("org_other")
    foreign = await visitor.get(f"{SOURCES}?key={await id_of(other, 'ingest')}")
    reader = Visitor(world)
    await reader.sign_in(tenant.read.key)
    own = await id_of(tenant, "ingest")
    answer = await reader.get(f"{SOURCES}?key={own}")

    assert foreign.status_code == 404
    assert answer.status_code == 200
    assert own not in reader.page.partition("</main>")[0]  # below it, the form for the zone repeats the URL
    assert "Send events" in reader.page
    assert world.service.counts.recent.watched == {}
