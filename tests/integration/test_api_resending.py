"""Promises of POST …/events/{event_id}/send: one event goes again to the destinations that are named, and nothing else changes."""

from urllib.parse import quote

import pytest

from aegis_stream.domain.attempt import FailureScope
from aegis_stream.domain.delivery import AttemptRun, DeadRow, DestinationKey, RetryRow
from aegis_stream.domain.ids import Micros
from support.api import START, make_event, make_failure, open_world, problem_of

PATH = "/forwarding-destinations"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def due_at(world, tenant, destination_id: str) -> list[tuple[int, int]]:
    """Return what a worker would send now, beside the log: sequence, and attempts made."""
    destination = await world.stored(tenant, destination_id)
    key = DestinationKey(tenant.no, destination.no)
    due, _ = await world.stores.ledger.due(key, Micros(START), 100)
    return [(one.sequence, one.attempts) for one in due]


async def counts_of(tenant, destination_id: str) -> tuple[int, int]:
    """Return how many retries and dead letters a destination shows."""
    stats = (await tenant.read.get(f"{PATH}/{destination_id}")).json()["stats"]
    return stats["retrying"], stats["dead_letters"]


async def make_delivered(world, tenant, **changes) -> str:
    """Make a destination that has the first three of the tenant's events."""
    destination_id = await world.make_destination(tenant, **changes)
    await world.settle(
        tenant, destination_id, cursor=3, runs=[AttemptRun(1, 3, 1, "delivered", 202, None, 9, START)]
    )
    return destination_id


async def test_a_delivered_event_goes_again_where_it_is_asked_for(world):
    """The event becomes pending at the destinations that are named, whatever their filters say; the others get nothing."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    asked = await make_delivered(world, tenant)
    filtered = await make_delivered(world, tenant, filter={"datasets": ["none"]})
    other = await make_delivered(world, tenant)
    woken = world.notifier.changes

    answer = await tenant.admin.post("/events/evt_2/send", json={"destination_ids": [asked, filtered, asked]})

    assert answer.status_code == 202
    assert answer.json() == {
        "data": [{"destination_id": one, "state": "queued"} for one in (asked, filtered)]
    }
    assert await due_at(world, tenant, asked) == await due_at(world, tenant, filtered) == [(2, 0)]
    assert await due_at(world, tenant, other) == []
    assert await counts_of(tenant, asked) == (1, 0)
    assert world.notifier.changes == woken + 1


async def test_a_dead_letter_that_is_sent_again_is_none_any_more(world):
    """Sending a dead letter's event again redrives it; a retry that waits is due at once and has all its attempts again."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    destination_id = await make_delivered(world, tenant)
    rejected = make_failure(422, "answered 422", FailureScope.EVENT)
    later = Micros(START + 10**9)
    await world.settle(
        tenant,
        destination_id,
        cursor=3,
        dead=[DeadRow(1, 3, START, rejected)],
        retries=[RetryRow(2, 2, later, make_failure(500, "answered 500", FailureScope.DESTINATION))],
    )

    for event_id in ("evt_1", "evt_2", "evt_1"):
        answer = await tenant.admin.post(
            f"/events/{event_id}/send", json={"destination_ids": [destination_id]}
        )
        assert answer.json()["data"][0]["state"] == "queued"

    assert sorted(await due_at(world, tenant, destination_id)) == [(1, 0), (2, 0)]
    assert await counts_of(tenant, destination_id) == (2, 0)


async def test_an_event_that_waits_for_its_first_attempt_is_not_queued(world):
    """Where the event is on its way already nothing is done, and the answer says so."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)

    answer = await tenant.admin.post("/events/evt_1/send", json={"destination_ids": [destination_id]})

    assert answer.json() == {"data": [{"destination_id": destination_id, "state": "waiting"}]}
    assert await due_at(world, tenant, destination_id) == []


@pytest.mark.parametrize("missing", ["event", "destination", "destination of another organization"])
async def test_nothing_is_done_when_something_is_missing(world, missing):
    """When the event or one of the destinations does not exist, the call is 404 and no destination gets anything."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    destination_id = await make_delivered(world, tenant)
    others = await world.make_destination(await world.make_organization("org_other"))
    ids = {"event": [], "destination": ["dst_none"]}.get(missing, [others])
    event_id = "evt_none" if missing == "event" else "evt_1"

    answer = await tenant.admin.post(
        f"/events/{event_id}/send", json={"destination_ids": [destination_id, *ids]}
    )

    problem_of(answer, 404)
    assert await due_at(world, tenant, destination_id) == []


@pytest.mark.parametrize(
    "ids", [[], ["dst_1"] * 101, "dst_1", None], ids=["none", "too many", "text", "null"]
)
async def test_wrong_destinations_are_named(world, ids):
    """A list of no destination, or of too many, is rejected with the name of the field."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 1)

    problem_of(
        await tenant.admin.post("/events/evt_1/send", json={"destination_ids": ids}), 422, "destination_ids"
    )


@pytest.mark.parametrize("event_id", ["a/b", "a//b", "send", "x/send", "a b?#%2F", "../evt"])
async def test_ids_may_have_any_characters(world, event_id):
    """Whatever characters an event's id has, the event is read and sent again by it."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await tenant.ingest.send(make_event(event_id))
    await world.settle(
        tenant, destination_id, cursor=1, runs=[AttemptRun(1, 1, 1, "delivered", 202, None, 9, START)]
    )
    place = f"/events/{quote(event_id, safe='')}"

    read = await tenant.read.get(place)
    sent = await tenant.admin.post(f"{place}/send", json={"destination_ids": [destination_id]})

    assert read.json()["event"]["event"]["id"] == event_id
    assert sent.json()["data"][0]["state"] == "queued"


async def test_sending_again_is_one_audit_event(tmp_path):
    """The audit event names the event and the destinations, and says to how many it goes."""
    async with open_world(tmp_path, audit_actions=True) as world:
        tenant = await world.make_organization()
        destination_id = await world.make_destination(tenant)
        await world.send_events(tenant, 1)
        head = (await tenant.admin.get("")).json()["head_sequence"]
        await world.settle(
            tenant,
            destination_id,
            cursor=head,
            runs=[AttemptRun(1, head, 1, "delivered", 202, None, 9, START)],
        )

        await tenant.admin.post("/events/evt_1/send", json={"destination_ids": [destination_id]})
        found = (await tenant.read.get("/events", dataset="aegis.audit_stream.admin")).json()["data"]

    event = found[-1]["event"]
    assert event["event"]["action"] == "event_send"
    assert event["aegis"]["audit"] == {
        "target": {"type": "event", "id": "evt_1", "name": ""},
        "after": {"destination_ids": [destination_id]},
        "count": 1,
    }
