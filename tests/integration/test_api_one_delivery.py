"""Promises of GET …/deliveries/{delivery_id}: the request as it was sent, secrets masked, and what is known of its times."""

import json

import pytest

from aegis_stream.control.one_delivery import ALONE, CHANGED, GONE
from aegis_stream.domain.delivery import AttemptRun, KeptAnswer
from aegis_stream.domain.destination import MASK
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import to_text
from support.api import SECOND, SECRET, START, make_event, open_world, problem_of
from support.sql import raw

PATH = "/forwarding-destinations"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def attempted(world, tenant, **changes) -> tuple[str, list[str]]:
    """Make a destination and two attempts of one event; return its path and their ids, newest first."""
    destination_id = await world.make_destination(tenant, **changes)
    body = make_event("evt_1", message="Ada signed in")
    assert (await tenant.ingest.send(body)).status_code == 202
    runs = [
        AttemptRun(1, 1, 1, "failed", 503, "answered 503", 9000, Micros(START + 5 * SECOND)),
        AttemptRun(1, 1, 2, "delivered", 200, None, 5000, Micros(START + 65 * SECOND)),
    ]
    await world.settle(tenant, destination_id, cursor=1, runs=runs)
    place = f"{PATH}/{destination_id}/deliveries"
    return place, [one["id"] for one in (await tenant.read.get(place)).json()["data"]]


async def test_an_attempt_has_the_request_as_it_was_sent(world):
    """The body is the event byte for byte, the headers are those of the sender in their order, and what is secret is masked."""
    tenant = await world.make_organization()
    place, (_, failed) = await attempted(
        world, tenant, format="json", headers={"X-Scope-OrgID": "tenant-c4n4ry"}, compression="gzip"
    )

    answer = await tenant.read.get(f"{place}/{failed}")

    found = answer.json()
    sent = found["request"]
    assert sent["body"].encode() == make_event("evt_1", message="Ada signed in")
    assert (sent["exact"], sent["note"]) == (True, "")
    assert (sent["method"], sent["url"]) == ("POST", "https://siem.example.com/services/collector")
    names = [one["name"] for one in sent["headers"]]
    assert names == [
        *("Host", "Authorization", "X-Scope-OrgID", "Content-Encoding"),
        *("User-Agent", "Content-Type", "Content-Length"),
    ]
    values = {one["name"]: one["value"] for one in sent["headers"]}
    assert (values["Authorization"], values["X-Scope-OrgID"]) == (MASK, MASK)
    assert (values["Host"], values["Content-Encoding"]) == ("siem.example.com", "gzip")
    assert "c4n4ry" not in answer.text
    assert SECRET not in answer.text
    assert found["timing"] == {
        "recorded_at": to_text(START),
        "began_at": to_text(Micros(START + 5 * SECOND - 9000)),
        "ended_at": to_text(Micros(START + 5 * SECOND)),
        "waited_ms": 4991.0,
        "latency_ms": 9.0,
        "is_mean": False,
    }


async def test_an_attempt_has_the_others_of_its_event(world):
    """All attempts of the event at the destination are there, newest first, and how many it may have."""
    tenant = await world.make_organization()
    place, ids = await attempted(world, tenant)

    found = (await tenant.read.get(f"{place}/{ids[0]}")).json()

    assert [one["id"] for one in found["attempts"]] == ids
    assert (found["id"], found["attempt"], found["attempts_max"]) == (ids[0], 2, 3)


@pytest.mark.parametrize(
    ("format_name", "shown"),
    [("ndjson", lambda body: body + b"\n"), ("json_array", lambda body: b"[" + body + b"]")],
    ids=["ndjson", "json_array"],
)
async def test_a_batch_is_shown_as_a_request_of_the_event_alone(world, format_name, shown):
    """Where the event may have been sent with others the answer says so, and shows it alone in the destination's format."""
    tenant = await world.make_organization()
    place, ids = await attempted(world, tenant, format=format_name)

    sent = (await tenant.read.get(f"{place}/{ids[0]}")).json()["request"]

    assert sent["body"].encode() == shown(make_event("evt_1", message="Ada signed in"))
    assert not sent["exact"]
    assert sent["note"].lower() == ALONE


async def test_a_destination_that_was_changed_since_is_noted(world):
    """After a change the request is shown as it would be sent now, and the answer says so."""
    tenant = await world.make_organization()
    place, ids = await attempted(world, tenant, format="json")
    world.clock.advance(1000)
    changed = await tenant.admin.patch(place.removesuffix("/deliveries"), json={"compression": "gzip"})

    sent = (await tenant.read.get(f"{place}/{ids[0]}")).json()["request"]

    assert changed.status_code == 200
    assert (sent["exact"], sent["note"].lower(), sent["compression"]) == (False, CHANGED, "gzip")


async def test_an_event_that_is_gone_has_no_body(world):
    """When retention has removed the event, everything else of the attempt is still there."""
    tenant = await world.make_organization()
    place, ids = await attempted(world, tenant, format="json")
    await world.stores.db.write(lambda unit: raw(unit).run("DELETE FROM events"))

    found = (await tenant.read.get(f"{place}/{ids[1]}")).json()

    assert (found["request"]["body"], found["request"]["note"].lower()) == (None, GONE)
    assert (found["event_id"], found["error"]) == (None, "answered 503")
    assert (found["timing"]["recorded_at"], found["timing"]["waited_ms"]) == (None, None)
    assert len(found["attempts"]) == 2


async def test_a_url_that_is_the_credential_is_masked(world):
    """Without a credential in a header the URL may be one, so its tail is masked as it is everywhere."""
    tenant = await world.make_organization()
    place, ids = await attempted(
        world,
        tenant,
        url="https://siem.example.com/hook/c4n4ryc4n4ryc4n4ry",
        auth_header_name=None,
        auth_header_value=None,
    )

    answer = await tenant.read.get(f"{place}/{ids[0]}")

    assert answer.json()["request"]["url"] == f"https://siem.example.com/hook/{MASK}n4ry"
    assert "c4n4ryc4n4ry" not in answer.text


@pytest.mark.parametrize("wrong", ["999.1", "1.2", "1", "x.y", "1.1.1", "²."])
async def test_an_attempt_that_does_not_exist_is_404(world, wrong):
    """An id of no attempt at this destination is not found; nor is that of another destination or organization."""
    tenant = await world.make_organization()
    place, ids = await attempted(world, tenant)
    other = await world.make_destination(tenant)
    stranger = await world.make_organization("org_other")

    problem_of(await tenant.read.get(f"{place}/{wrong}"), 404)
    problem_of(await tenant.read.get(f"{PATH}/{other}/deliveries/{ids[0]}"), 404)
    problem_of(await stranger.read.get(f"{place}/{ids[0]}"), 404)


async def test_the_answer_is_json_of_the_document(world):
    """The list and the detail describe one attempt in the same words."""
    tenant = await world.make_organization()
    place, ids = await attempted(world, tenant)

    listed = (await tenant.read.get(place)).json()["data"][0]
    found = json.loads((await tenant.read.get(f"{place}/{ids[0]}")).text)

    assert {name: found[name] for name in listed} == listed


async def test_a_failed_attempt_has_its_answer_and_its_whole_batch(world):
    """Where the answer was kept, so are the events of the request: the body is that of the whole batch, byte for byte."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, format="ndjson")
    await world.send_events(tenant, 5)
    at = Micros(START + 5 * SECOND)
    runs = [
        AttemptRun(one, one, 1, "failed", 503, "answered 503", 9, when)
        for when in (at, Micros(at + SECOND))
        for one in (1, 2, 4)
    ]
    kept = KeptAnswer(at, 1, 4, "1-2,4", 503, "answered 503", "Server: x\nRetry-After: 7", "busy")
    await world.settle(tenant, destination_id, cursor=5, runs=runs, answers=[kept])
    place = f"{PATH}/{destination_id}/deliveries"
    later, first = (await tenant.read.get(place, event_id="evt_2")).json()["data"]

    own, alike = [(await tenant.read.get(f"{place}/{one['id']}")).json() for one in (first, later)]

    events = [make_event(f"evt_{number}") + b"\n" for number in (1, 2, 4)]
    assert own["request"]["body"].encode() == b"".join(events)
    assert (own["request"]["exact"], own["request"]["note"]) == (True, "")
    assert alike["request"]["body"].encode() == events[1]
    assert not alike["request"]["exact"]
    for one in (own, alike):
        assert one["response_at"] == to_text(at)
        assert one["response_headers"] == [
            {"name": "Server", "value": "x"},
            {"name": "Retry-After", "value": "7"},
        ]
        assert one["response_excerpt"] == "busy"


async def test_a_delivered_attempt_has_no_answer(world):
    """Of successes nothing is kept, and the answer says so by null."""
    tenant = await world.make_organization()
    place, ids = await attempted(world, tenant)

    found = (await tenant.read.get(f"{place}/{ids[0]}")).json()

    assert (found["response_at"], found["response_headers"], found["response_excerpt"]) == (None, [], None)
