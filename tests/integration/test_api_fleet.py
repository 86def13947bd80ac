"""Promises of GET /api/orgs and GET /api/status: what the operator sees of all organizations and of the service."""

import pytest

from aegis_stream import __version__
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import to_text
from support.api import OPERATOR_KEY, SECOND, START, make_event, open_world, problem_of

OPERATOR = {"authorization": f"Bearer {OPERATOR_KEY}"}


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def get(world, path, **query):
    """Make a call with the operator key."""
    return await world.client.get(path, headers=OPERATOR, params=query)


async def fail(world, tenant, destination_id, dead=()):
    """Let a destination fail, with these dead letters."""
    if dead:
        await world.add_dead_letters(tenant, destination_id, dead)
    health = Health(failures_in_row=1, last_error_at=Micros(START), last_error_message="answered 401")
    await world.settle(tenant, destination_id, cursor=max(dead, default=0), health=health)


async def test_organizations_are_listed_by_id(world):
    """Every organization is on one page, in order; a cursor leads to the next."""
    for name in ("org_c", "org_a", "org_b"):
        await world.make_organization(name)

    first = (await get(world, "/api/orgs", limit=2)).json()
    second = (await get(world, "/api/orgs", limit=2, cursor=first["next_cursor"])).json()

    assert [one["org_id"] for one in first["data"]] == ["org_a", "org_b"]
    assert [one["org_id"] for one in second["data"]] == ["org_c"]
    assert second["next_cursor"] is None


async def test_an_organization_shows_how_it_stands(world):
    """Events of the last minute, waiting events and their age, failing destinations, dead letters, bytes and the newest event."""
    tenant = await world.make_organization()
    one, paused = await world.make_destination(tenant), await world.make_destination(tenant)
    await tenant.admin.post(f"/forwarding-destinations/{paused}/pause")
    await world.send_events(tenant, 4)
    world.clock.advance(90)
    await tenant.ingest.send(make_event("evt_late"), "application/json")
    await fail(world, tenant, one, dead=[2])  # after audit events 1 to 3 comes event 4
    world.clock.advance(10)

    [shown] = (await get(world, "/api/orgs")).json()["data"]

    assert shown == {
        "org_id": "org_abc",
        "name": "Organization org_abc",
        "created_at": to_text(START),
        "head_sequence": shown["head_sequence"],
        "stored_bytes": shown["stored_bytes"],
        "destinations": 2,
        "paused": 1,
        "failing": 1,
        "waiting": shown["head_sequence"] - 2,
        "lag_seconds": 100,
        "dead_letters": 1,
        "events_per_minute": 1,
        "last_event_at": to_text(Micros(START + 90 * SECOND)),
        "proof": "sealed",
    }
    assert shown["head_sequence"] >= 5
    assert shown["stored_bytes"] > 0


async def test_an_empty_organization_waits_for_nothing(world):
    """Without destinations and events there is no lag and no newest event."""
    await world.make_organization()

    [shown] = (await get(world, "/api/orgs")).json()["data"]

    assert (shown["waiting"], shown["lag_seconds"], shown["last_event_at"]) == (0, None, None)
    assert (shown["destinations"], shown["events_per_minute"]) == (0, 0)


async def test_those_that_need_somebody_come_first(world):
    """Failing destinations weigh most, then waiting events, then dead letters; the page has no successor."""
    for name in ("org_fine", "org_waits", "org_fails"):
        tenant = await world.make_organization(name)
        destination = await world.make_destination(tenant)
        if name != "org_fine":
            await world.send_events(tenant, 3)
        if name == "org_fails":
            await fail(world, tenant, destination)

    answer = (await get(world, "/api/orgs", worst_first="true", limit=3)).json()
    shorter = (await get(world, "/api/orgs", worst_first="true", limit=1)).json()
    refused = await get(world, "/api/orgs", worst_first="true", cursor="org_a")

    assert [one["org_id"] for one in answer["data"]] == ["org_fails", "org_waits", "org_fine"]
    assert ([one["org_id"] for one in shorter["data"]], shorter["next_cursor"]) == (["org_fails"], None)
    problem_of(refused, 422, "cursor")


async def test_the_status_of_the_service(world):
    """Version, store with its disk, organizations and destinations that fail, workers with their leases, and ingest by status."""
    tenant = await world.make_organization()
    await world.make_organization("org_other")
    destination = await world.make_destination(tenant)
    await world.send_events(tenant, 2)
    await tenant.ingest.send(b"1", "application/json")
    await fail(world, tenant, destination)

    found = (await get(world, "/api/status")).json()

    assert found["version"] == __version__
    assert found["store"]["kind"] == "sqlite"
    assert 0 < found["store"]["disk"]["free_bytes"] <= found["store"]["disk"]["total_bytes"]
    assert found["organizations"] == {"total": 2, "failing": 1, "near_quota": 0}
    assert (found["destinations"]["total"], found["destinations"]["failing"]) == (1, 1)
    assert [(one["id"], one["destinations"]) for one in found["workers"]] == [("wrk_test", 1)]
    assert found["workers"][0]["lease_seconds"] > 0
    assert found["ingest"]["requests"] == {"202": 1, "422": 1}
    assert found["ingest"]["events"]["accepted"] == 2


async def test_recent_ingest_is_what_came_since_an_earlier_look(world):
    """The first look has nothing to compare with; later ones show what was answered since, for about five minutes."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 2)
    first = (await get(world, "/api/status")).json()["ingest"]["recent"]
    world.clock.advance(60)
    await world.send_events(tenant, 3, "later")
    second = (await get(world, "/api/status")).json()["ingest"]["recent"]
    world.clock.advance(300)
    third = (await get(world, "/api/status")).json()["ingest"]["recent"]

    assert (first["seconds"], first["events"]["accepted"]) == (0, 0)
    assert (second["seconds"], second["events"]["accepted"], second["requests"]) == (60, 3, {"202": 1})
    assert (third["seconds"], third["events"]["accepted"]) == (300, 0)


@pytest.mark.parametrize("path", ["/api/orgs", "/api/status"])
async def test_only_the_operator_looks(world, path):
    """No key of an organization opens the operator's view."""
    tenant = await world.make_organization()

    problem_of(await world.client.get(path, headers={"authorization": f"Bearer {tenant.admin.key}"}), 401)
