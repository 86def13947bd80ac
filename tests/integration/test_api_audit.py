"""Promises about audit events: an action is recorded in the organization's own log in its own transaction, without secrets."""

import asyncio
import json
from itertools import pairwise
from types import SimpleNamespace

import pytest

from aegis_stream.control import keys, organizations
from aegis_stream.control.audit import perform
from aegis_stream.control.caller import COMMAND_LINE
from aegis_stream.control.keys import NewKey
from aegis_stream.domain.attempt import Response
from aegis_stream.domain.audit import ADMIN_DATASET, AdminAction
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import Conflict, NotFound
from aegis_stream.wiring.administration import make_store_deps
from support.api import OPERATOR_KEY, ORG, SECRET, Caller, make_event, open_world, problem_of
from support.sql import raw

PATH = "/forwarding-destinations"
KEYS = "/api-keys"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test, recording what is done."""
    async with open_world(tmp_path, audit_actions=True, auto_redrive=False) as made:
        yield made


async def audit_writer_of(tenant) -> list[dict]:
    """Return the events about what was done, in log order."""
    found = (await tenant.read.get("/events", dataset=ADMIN_DATASET, limit=200)).json()["data"]
    return [one["event"] for one in found]


async def newest(tenant) -> tuple[str, str, dict]:
    """Return action, outcome and details of the newest event about what was done."""
    event = (await audit_writer_of(tenant))[-1]
    return event["event"]["action"], event["event"]["outcome"], event["aegis"]["audit"]


async def test_every_action_of_the_api_is_recorded(world):
    """Each call that does something leaves one event with who did it, to what, from where; calls that only look leave none."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, format="json")
    one = f"{PATH}/{destination_id}"
    await world.send_events(tenant, 3)
    await world.add_dead_letters(tenant, destination_id, [2, 3, 4])
    made = (await tenant.admin.post(KEYS, json={"name": "x", "scope": "read"})).json()
    rotated = (await tenant.admin.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": 9})).json()
    calls = [
        tenant.admin.patch(one, json={"name": "new", "auth_header_value": SECRET + "2"}),
        tenant.admin.post(f"{one}/pause"),
        tenant.admin.post(f"{one}/resume"),
        tenant.admin.post(f"{one}/test"),
        tenant.admin.post(f"{one}/dead-letters/redrive", json={"event_ids": ["evt_1"]}),
        tenant.admin.delete(f"{one}/dead-letters", event_id="evt_2"),
        tenant.admin.delete(f"{KEYS}/{rotated['id']}"),
    ]
    for answer in calls:
        assert (await answer).is_success
    replay = (await tenant.admin.post(f"{one}/replay", json={"from_sequence": 1, "to_sequence": 3})).json()
    await tenant.admin.delete(f"{one}/replays/{replay['replay_id']}")
    for path in (PATH, one, KEYS, "/events", f"{one}/deliveries", f"{one}/dead-letters", f"{one}/replays"):
        assert (await tenant.admin.get(path)).status_code == 200
    assert (await tenant.admin.delete(one)).status_code == 204

    found = await audit_writer_of(tenant)

    assert [event["event"]["action"] for event in found] == [
        "destination_create",
        "key_create",
        "key_rotate",
        "destination_change",
        "destination_pause",
        "destination_resume",
        "destination_test",
        "dead_letters_redrive",
        "dead_letters_purge",
        "key_revoke",
        "replay_start",
        "replay_cancel",
        "destination_delete",
    ]
    key = (await tenant.admin.get(KEYS)).json()["data"][0]
    for event in found:
        assert event["user"] == {"id": key["id"], "name": key["name"], "roles": ["admin"]}
        assert (event["event"]["outcome"], event["source"]) == ("success", {"ip": "127.0.0.1"})
        assert event["organization"] == {"id": ORG}
        assert event["aegis"]["audit"]["target"]["id"] in (destination_id, made["id"], rotated["id"])
    details = {event["event"]["action"]: event["aegis"]["audit"] for event in found}
    assert details["destination_change"]["changed"] == ["auth_header_value", "name"]
    assert details["dead_letters_redrive"]["count"] == 1
    assert details["replay_start"]["count"] == 3
    assert details["destination_delete"]["before"]["name"] == "new"
    text = json.dumps(found)
    assert not any(
        one in text for one in ("c4n4ry", made["api_key"], rotated["api_key"], "services/collector")
    )


async def test_a_new_organization_has_an_empty_log(world):
    """A log begins with what its organization sends: neither its making nor its first key is an event in it."""
    answer = await world.client.post(
        "/api/orgs",
        json={"name": "Mine", "id": "org_my"},
        headers={"authorization": f"Bearer {OPERATOR_KEY}"},
    )
    made = answer.json()

    assert (await Caller(world.client, "org_my", made["api_key"]).get("/events")).json()["data"] == []


async def test_what_the_command_line_does_is_recorded(world):
    """Organizations and keys made on the store itself, without a service, leave the same events, by the command line."""
    deps = make_store_deps(world.settings, world.stores)

    first = await organizations.create(deps, "Mine", "org_my")
    added = await keys.create(deps, COMMAND_LINE, "org_my", NewKey("ci", Scope.INGEST))
    rotated = await keys.rotate(deps, COMMAND_LINE, "org_my", added.key.key_id, overlap_s=60)
    await keys.revoke(deps, COMMAND_LINE, "org_my", rotated.key.key_id)

    admin = Caller(world.client, "org_my", first.text)
    found = [one["event"] for one in (await admin.get("/events")).json()["data"]]
    assert [one["event"]["action"] for one in found] == [
        "key_create",
        "key_rotate",
        "key_revoke",
    ]
    assert {one["user"]["id"] for one in found} == {"command_line"}
    assert not any(one.text in json.dumps(found) for one in (first, added, rotated))


async def test_a_destination_does_not_receive_the_event_of_its_own_making(world):
    """A new destination begins after the event that tells of it; other destinations have it in their backlog."""
    tenant = await world.make_organization()
    first = await world.make_destination(tenant)
    second = await world.make_destination(tenant)

    backlogs = [
        (await tenant.read.get(f"{PATH}/{one}")).json()["stats"]["backlog"] for one in (first, second)
    ]

    assert backlogs == [1, 0]


@pytest.mark.parametrize(
    "call",
    [
        *("create", "change", "pause", "resume", "delete", "replay", "cancel", "redrive", "purge"),
        *("key", "revoke", "rotate"),
    ],
)
async def test_what_cannot_be_recorded_is_not_done(world, call):
    """Where the event does not fit into the store, the call is 503 and changes nothing."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    one = f"{PATH}/{destination_id}"
    await world.send_events(tenant, 2)
    await world.add_dead_letters(tenant, destination_id, [2])
    key = (await tenant.admin.post(KEYS, json={"scope": "read"})).json()
    replay = (await tenant.admin.post(f"{one}/replay", json={"from_sequence": 1})).json()["replay_id"]
    listings = [PATH, one, KEYS, f"{one}/dead-letters", f"{one}/replays", "/events"]
    before = [(await tenant.admin.get(path)).json() for path in listings]
    await world.stores.db.write(lambda db: raw(db).run("ALTER TABLE events RENAME TO gone"))

    answer = await {
        "create": lambda: tenant.admin.post(PATH, json={"url": "https://other.example.com/"}),
        "change": lambda: tenant.admin.patch(one, json={"name": "new"}),
        "pause": lambda: tenant.admin.post(f"{one}/pause"),
        "resume": lambda: tenant.admin.post(f"{one}/resume"),
        "delete": lambda: tenant.admin.delete(one),
        "replay": lambda: tenant.admin.post(f"{one}/replay", json={"from_sequence": 1}),
        "cancel": lambda: tenant.admin.delete(f"{one}/replays/{replay}"),
        "redrive": lambda: tenant.admin.post(f"{one}/dead-letters/redrive"),
        "purge": lambda: tenant.admin.delete(f"{one}/dead-letters"),
        "key": lambda: tenant.admin.post(KEYS, json={}),
        "rotate": lambda: tenant.admin.post(f"{KEYS}/{key['id']}/rotate"),
        "revoke": lambda: tenant.admin.delete(f"{KEYS}/{key['id']}"),
    }[call]()
    await world.stores.db.write(lambda db: raw(db).run("ALTER TABLE gone RENAME TO events"))

    problem_of(answer, 503)
    assert [(await tenant.admin.get(path)).json() for path in listings] == before


async def test_the_result_of_a_test_is_shown_only_when_it_is_recorded(world):
    """Where the event of a test cannot be stored, the call is 503 and says nothing of what the peer answered."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, format="json")
    await world.stores.db.write(lambda db: raw(db).run("ALTER TABLE events RENAME TO gone"))
    world.sender.answers = [Response(500, b"look here", 1)]

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")

    problem_of(answer, 503)
    assert "look here" not in answer.text


async def test_a_failed_test_is_recorded_as_a_failure(world):
    """A test that failed has its reason in the event, and nothing of the peer's answer."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, format="json")
    world.sender.answers = [Response(500, b"look here", 1)]

    await tenant.admin.post(f"{PATH}/{destination_id}/test")

    event = (await audit_writer_of(tenant))[-1]
    assert (event["event"]["outcome"], event["aegis"]["audit"]["after"]) == ("failure", {"status_code": 500})
    assert "500" in event["event"]["reason"]
    assert "look here" not in json.dumps(event)


async def test_a_refused_call_leaves_no_event_of_a_deed(world):
    """What was not done because it was wrong, or not there, is not told as done."""
    tenant = await world.make_organization()
    before = await audit_writer_of(tenant)

    for answer in (
        tenant.admin.post(PATH, json={"url": "http://example.com/"}),
        tenant.admin.patch(f"{PATH}/dst_none", json={"name": "x"}),
        tenant.admin.delete(f"{PATH}/dst_none"),
        tenant.admin.delete(f"{KEYS}/key_none"),
        tenant.admin.post(KEYS, json={"scope": "root"}),
    ):
        assert (await answer).status_code in (404, 422)

    assert await audit_writer_of(tenant) == before


async def test_a_destination_whose_credential_does_not_open_can_be_deleted(world):
    """A damaged record does not stand in the way of its own deletion, which is recorded with what can be read of it."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    damage = "UPDATE destinations SET auth_value = x'00'"
    await world.stores.db.write(lambda db: raw(db).run(damage))

    answer = await tenant.admin.delete(f"{PATH}/{destination_id}")

    assert answer.status_code == 204, answer.text
    action, _, details = await newest(tenant)
    assert action == "destination_delete"
    assert details["target"] == {"type": "destination", "id": destination_id, "name": ""}
    assert (details["before"]["url"], details["before"]["auth_header_set"]) == ("", True)


async def test_a_large_redrive_is_one_event(world):
    """A redrive of 2,500 dead letters is one event with their number, in one transaction with the redrive."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 2500)
    await world.add_dead_letters(tenant, destination_id, range(2, 2502))

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/dead-letters/redrive")

    counts = [one["aegis"]["audit"]["count"] for one in (await audit_writer_of(tenant))[1:]]
    assert (answer.json(), counts) == ({"redriven": 2500}, [2500])


# ── refused keys ──


async def test_refused_keys_are_recorded_with_their_organization(world):
    """A key that is expired, too small, or used on another organization is told in its own organization's log, and nowhere else."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    expired = (await tenant.admin.post(KEYS, json={"expires_at": "2026-05-28T20:26:41Z"})).json()
    world.clock.advance(2)

    await Caller(world.client, ORG, expired["api_key"]).get("/events")
    await tenant.ingest.get("/events")
    await Caller(world.client, "org_other", tenant.read.key).get("/events")
    await Caller(world.client, "org_other", "aegis_sk_unknown").get("/events")

    found = [one for one in await audit_writer_of(tenant) if one["event"]["action"] == "sign_in_refuse"]
    assert [one["event"]["reason"] for one in found] == [
        "the key has expired",
        "the key's scope does not allow the call",
        "the call named another organization",
    ]
    assert [one["user"]["name"] for one in found] == ["", "ingest", "read"]
    assert {one["event"]["outcome"] for one in found} == {"failure"}
    assert await audit_writer_of(other) == []


async def test_a_key_that_was_just_used_is_recorded_when_it_is_refused_at_ingest(world):
    """Ingest remembers keys for a moment; a call that such a key may not make is recorded all the same."""
    tenant = await world.make_organization()
    await tenant.read.get("")

    answer = await tenant.read.send(make_event("evt_1"))

    problem_of(answer, 403)
    found = [one for one in await audit_writer_of(tenant) if one["event"]["action"] == "sign_in_refuse"]
    assert [one["event"]["reason"] for one in found] == ["the key's scope does not allow the call"]


async def test_refused_keys_do_not_fill_the_log(world):
    """However often a key is refused, it is recorded once a minute for each reason."""
    tenant = await world.make_organization()

    for _ in range(20):
        problem_of(await tenant.ingest.get("/events"), 403)
        problem_of(await tenant.ingest.get(KEYS), 403)
    within = len(await audit_writer_of(tenant))
    world.clock.advance(61)
    await tenant.ingest.get("/events")

    assert within == 1
    assert len(await audit_writer_of(tenant)) == 2


async def test_a_refusal_stands_when_it_cannot_be_recorded(world):
    """A refused key is refused with its own status also when the log takes nothing."""
    tenant = await world.make_organization()
    world.service.control.ingest.queue_bytes_max = 0
    world.service.control.ingest._queued_bytes = 1

    problem_of(await tenant.ingest.get("/events"), 403)
    problem_of(await Caller(world.client, "org_other", tenant.read.key).get("/events"), 404)


# ── beneath ──


async def test_nothing_is_recorded_where_the_operator_wants_nothing(tmp_path):
    """With audit_actions off no call leaves an event, refused ones included."""
    async with open_world(tmp_path, audit_actions=False) as world:
        tenant = await world.make_organization()
        destination_id = await world.make_destination(tenant, format="json")
        await tenant.admin.post(f"{PATH}/{destination_id}/test")
        await tenant.admin.post(KEYS, json={})
        await tenant.ingest.get("/events")

        assert (await tenant.read.get("")).json()["head_sequence"] == 0


async def test_events_of_deeds_stand_between_others_without_holes(world):
    """Deeds and ingest at the same time share one sequence: 1, 2, 3 … without holes, each event once."""
    tenant = await world.make_organization()

    answers = await asyncio.gather(
        *(tenant.ingest.send(make_event(f"evt_{number}")) for number in range(20)),
        *(tenant.admin.post(KEYS, json={"name": str(number)}) for number in range(20)),
    )

    assert all(one.is_success for one in answers)
    found = (await tenant.read.get("/events", limit=200)).json()["data"]
    assert [one["sequence"] for one in found] == list(range(1, 41))
    assert len({one["event"]["event"]["id"] for one in found}) == 40
    assert all(first["received_at"] <= second["received_at"] for first, second in pairwise(found))


async def test_an_action_that_fails_takes_its_event_back(world):
    """What raises in an action takes the event with it, before or after it was recorded, and what raises in recording takes the action."""
    tenant = await world.make_organization()
    deps, caller = world.service.control, COMMAND_LINE
    owner = SimpleNamespace(organization_no=tenant.no, org_id=ORG)
    admin_action = AdminAction("key_create", "api_key", "key_x")

    def fails(unit, record):
        record(owner, admin_action)
        raise Conflict("no")

    def cannot_be_recorded(unit, record):
        unit.run("insert_organization", ("org_never", "Never", 1))
        record(owner, AdminAction("unknown action", "api_key", "key_x"))

    with pytest.raises(Conflict):
        await perform(deps, caller, fails)
    with pytest.raises(KeyError):
        await perform(deps, caller, cannot_be_recorded)

    assert await audit_writer_of(tenant) == []
    assert (await tenant.read.get("")).json()["head_sequence"] == 0
    with pytest.raises(NotFound):
        await organizations.find(deps, "org_never")


@pytest.mark.parametrize("times", [0, 2])
async def test_an_action_is_one_event(world, times):
    """An action that forgets to record itself, or does so twice, is not done."""
    tenant = await world.make_organization()
    owner = SimpleNamespace(organization_no=tenant.no, org_id=ORG)

    def act(unit, record):
        unit.run("insert_organization", ("org_never", "Never", 1))
        for _ in range(times):
            record(owner, AdminAction("key_create", "api_key", "key_x"))

    with pytest.raises(RuntimeError, match="one event"):
        await perform(world.service.control, COMMAND_LINE, act)

    assert await audit_writer_of(tenant) == []
    with pytest.raises(NotFound):
        await organizations.find(world.service.control, "org_never")
