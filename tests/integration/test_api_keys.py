"""Promises of /api/orgs and …/api-keys: organizations by the operator, keys by their admins."""

import gzip
import json

import pytest

from aegis_stream.control import keys
from aegis_stream.domain.times import to_text
from aegis_stream.errors import Unavailable
from support.api import OPERATOR_KEY, ORG, START, Caller, make_event, open_world, problem_of

KEYS = "/api-keys"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


def operator(world, key: str | None = OPERATOR_KEY) -> dict:
    """Return headers with the operator key."""
    return {"authorization": f"Bearer {key}"} if key is not None else {}


# ── organizations ──


async def test_the_operator_makes_an_organization(world):
    """The operator key makes an organization with an id of the caller's choice; its admin key is shown and works."""
    answer = await world.client.post(
        "/api/orgs", json={"name": "My organization", "id": "org_my"}, headers=operator(world)
    )

    body = answer.json()
    assert answer.status_code == 201
    assert (body["org_id"], body["name"], body["created_at"]) == ("org_my", "My organization", to_text(START))
    assert body["api_key"].startswith("aegis_sk_")
    assert len(body["api_key"]) == len("aegis_sk_") + 43
    read = await Caller(world.client, "org_my", body["api_key"]).get("")
    assert read.json() == {
        "org_id": "org_my",
        "name": "My organization",
        "head_sequence": 0,
        "created_at": to_text(START),
        "stored_bytes": 0,
        "quotas": {"stored_bytes_max": 0, "ingest_bytes_per_second": 0},
        "proof": "sealed",
    }


async def test_an_organization_gets_an_id(world):
    """Without an id an organization gets one."""
    answer = await world.client.post("/api/orgs", json={"name": "x"}, headers=operator(world))

    assert answer.json()["org_id"].startswith("org_")


@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\r\nb"}, "name"),
        ({"name": "\x1b]0;owned\x07"}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x", "id": "my"}, "id"),
        ({"name": "x", "id": "org_"}, "id"),
        ({"name": "x", "id": "org_a/b"}, "id"),
        ({"name": "x", "id": "org_" + "a" * 61}, "id"),
        ({"name": "x", "id": "org_é"}, "id"),
        ({"name": "x", "id": None}, "id"),
        ({"name": "x", "plan": "gold"}, "plan"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_refuses_a_wrong_organization(world, body, field):
    """A wrong or unknown field of an organization is named, and nothing is made."""
    answer = await world.client.post("/api/orgs", json=body, headers=operator(world))

    problem_of(answer, 422, field)


async def test_refuses_an_id_that_is_taken(world):
    """A second organization with the same id is a conflict, and the first keeps its name and key."""
    tenant = await world.make_organization()

    answer = await world.client.post("/api/orgs", json={"name": "thief", "id": ORG}, headers=operator(world))

    assert ORG in problem_of(answer, 409)["detail"]
    assert (await tenant.read.get("")).json()["name"] == f"Organization {ORG}"


@pytest.mark.parametrize("key", [None, "aegis_op_wrong", OPERATOR_KEY + "x", OPERATOR_KEY[:-1]])
async def test_only_the_operator_makes_organizations(world, key):
    """Without the operator key no organization is made."""
    answer = await world.client.post(
        "/api/orgs", json={"name": "x", "id": "org_x"}, headers=operator(world, key)
    )

    problem_of(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert OPERATOR_KEY not in answer.text


async def test_an_admin_key_is_no_operator_key(world):
    """The admin of an organization cannot make another, and the operator key opens no organization."""
    tenant = await world.make_organization()

    made = await world.client.post("/api/orgs", json={"name": "x"}, headers=operator(world, tenant.admin.key))
    opened = await Caller(world.client, ORG, OPERATOR_KEY).get("")

    problem_of(made, 401)
    problem_of(opened, 401)


@pytest.mark.parametrize("scope", ["admin", "ingest", "read"])
async def test_any_key_reads_its_organization(world, scope):
    """Every key may read what organization it belongs to, and how far its log goes."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)

    answer = await tenant.by_scope(scope).get("")

    assert (answer.status_code, answer.json()["head_sequence"]) == (200, 3)


async def test_nobody_reads_another_organization(world):
    """Another organization answers as one that is not there."""
    tenant = await world.make_organization()
    await world.make_organization("org_other")

    foreign = await Caller(world.client, "org_other", tenant.admin.key).get("")
    missing = await Caller(world.client, "org_xxxxx", tenant.admin.key).get("")

    problem_of(foreign, 404)
    assert foreign.text.replace("org_other", "org_xxxxx") == missing.text


# ── keys ──


@pytest.mark.parametrize("scope", ["admin", "ingest", "read"])
async def test_makes_a_key_that_opens_what_it_says(world, scope):
    """A new key is shown once, opens the calls of its scope, and is listed without its text."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(KEYS, json={"name": "collector", "scope": scope})

    body = answer.json()
    assert answer.status_code == 201
    assert (body["name"], body["scope"], body["expires_at"]) == ("collector", scope, None)
    assert body["id"].startswith("key_")
    caller = Caller(world.client, ORG, body["api_key"])
    allowed = {
        "admin": (await caller.get(KEYS)).status_code == 200,
        "ingest": (await caller.send(make_event())).status_code == 202,
        "read": (await caller.get("/events")).status_code == 200,
    }
    assert allowed == {name: scope in ("admin", name) for name in allowed}
    listed = next(one for one in (await tenant.admin.get(KEYS)).json()["data"] if one["id"] == body["id"])
    assert listed == {
        "id": body["id"],
        "name": "collector",
        "scope": scope,
        "hint": body["api_key"][-4:],
        "created_at": to_text(START),
        "expires_at": None,
        "last_used_at": to_text(START),
        "last_used_from": "127.0.0.1",
        "events_last_hour": int(allowed["ingest"]),
    }


async def test_a_key_is_for_ingest_unless_said_otherwise(world):
    """The default scope is the smallest that is of use."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(KEYS, json={})

    assert answer.json()["scope"] == "ingest"


@pytest.mark.parametrize(
    "body, field",
    [
        ({"name": "a\u202eb"}, "name"),
        ({"name": "\x1b[2J"}, "name"),
        ({"scope": "root"}, "scope"),
        ({"scope": None}, "scope"),
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"key": "aegis_sk_mine"}, "key"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_refuses_a_wrong_key(world, body, field):
    """A wrong or unknown field of a key is named, and no key is made."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(KEYS, json=body)

    problem_of(answer, 422, field)
    assert len((await tenant.admin.get(KEYS)).json()["data"]) == 3


@pytest.mark.parametrize("expires_at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_extreme_expiry_is_no_bug(world, expires_at):
    """A time at the end of the scale is taken or refused, never an internal error, and the list of keys can be read."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(KEYS, json={"expires_at": expires_at})

    assert answer.status_code in (201, 422), answer.text
    assert (await tenant.admin.get(KEYS)).status_code == 200


async def test_a_key_expires(world):
    """A key opens nothing from its time on."""
    tenant = await world.make_organization()
    expires_at = "2026-05-28T20:27:40Z"  # one minute after START
    made = (await tenant.admin.post(KEYS, json={"scope": "read", "expires_at": expires_at})).json()
    caller = Caller(world.client, ORG, made["api_key"])

    before = await caller.get("")
    world.clock.advance(60)
    after = await caller.get("")

    assert made["expires_at"] == "2026-05-28T20:27:40.000000Z"
    assert before.status_code == 200
    problem_of(after, 401)


async def test_lists_keys_page_by_page(world):
    """The list walks over every key of the organization once, oldest first, whatever the page size."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    made = {one["id"] for one in (await tenant.admin.get(KEYS)).json()["data"]}
    names = []
    for number in range(4):
        world.clock.advance(1)
        names.append((await tenant.admin.post(KEYS, json={"name": str(number)})).json()["id"])
        await other.admin.post(KEYS, json={})

    for limit in (1, 2, 7, 200):
        pages = await tenant.admin.all_pages(KEYS, limit)

        found = [one["id"] for page in pages for one in page]
        assert set(found[:3]) == made
        assert found[3:] == names
        assert all(len(page) == limit for page in pages[:-1])


async def test_a_revoked_key_opens_nothing_within_a_second(world):
    """A revoked key is refused a second later at the latest, is no longer listed, and cannot be revoked twice."""
    tenant = await world.make_organization()
    made = (await tenant.admin.post(KEYS, json={"scope": "read"})).json()
    caller = Caller(world.client, ORG, made["api_key"])
    await caller.get("")

    answer = await tenant.admin.delete(f"{KEYS}/{made['id']}")
    world.clock.advance(1)
    after = await caller.get("")
    again = await tenant.admin.delete(f"{KEYS}/{made['id']}")

    assert (answer.status_code, answer.content) == (204, b"")
    problem_of(after, 401)
    problem_of(again, 404)
    assert made["id"] not in [one["id"] for one in (await tenant.admin.get(KEYS)).json()["data"]]


async def test_rotates_at_once(world):
    """A rotated key has name and scope of the old one, which ends at once."""
    tenant = await world.make_organization()
    old = (await tenant.admin.post(KEYS, json={"name": "collector", "scope": "read"})).json()

    answer = await tenant.admin.post(f"{KEYS}/{old['id']}/rotate")

    new = answer.json()
    assert answer.status_code == 201
    assert (new["name"], new["scope"]) == ("collector", "read")
    assert new["id"] != old["id"]
    assert new["api_key"] != old["api_key"]
    problem_of(await Caller(world.client, ORG, old["api_key"]).get(""), 401)
    assert (await Caller(world.client, ORG, new["api_key"]).get("")).status_code == 200


async def test_rotates_with_overlap(world):
    """With an overlap both keys open until it is over, and the old one's end is shown."""
    tenant = await world.make_organization()
    old = (await tenant.admin.post(KEYS, json={"scope": "read"})).json()

    new = (await tenant.admin.post(f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": 60})).json()
    callers = [Caller(world.client, ORG, one["api_key"]) for one in (old, new)]
    during = [(await one.get("")).status_code for one in callers]
    shown = {one["id"]: one["expires_at"] for one in (await tenant.admin.get(KEYS)).json()["data"]}
    world.clock.advance(60)
    afterwards = [(await one.get("")).status_code for one in callers]

    assert during == [200, 200]
    assert (shown[old["id"]], shown[new["id"]]) == ("2026-05-28T20:27:40.000000Z", None)
    assert afterwards == [401, 200]


async def test_an_overlap_does_not_prolong_a_key(world):
    """A key that ends before the overlap does still ends then."""
    tenant = await world.make_organization()
    old = (await tenant.admin.post(KEYS, json={"expires_at": "2026-05-28T20:26:50Z"})).json()

    await tenant.admin.post(f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": 3600})
    world.clock.advance(11)

    problem_of(await Caller(world.client, ORG, old["api_key"]).get(""), 401)


@pytest.mark.parametrize("overlap", [-1, 2_592_001, "long", None, 1.5], ids=str)
async def test_refuses_a_wrong_overlap(world, overlap):
    """An overlap is 0 to 30 days in seconds; a wrong one is named, and the key stays as it was."""
    tenant = await world.make_organization()
    old = (await tenant.admin.post(KEYS, json={"scope": "read"})).json()

    answer = await tenant.admin.post(f"{KEYS}/{old['id']}/rotate", json={"overlap_seconds": overlap})

    problem_of(answer, 422, "overlap_seconds")
    assert (await Caller(world.client, ORG, old["api_key"]).get("")).status_code == 200


async def test_keys_of_another_organization_are_not_there(world):
    """Another organization's key can be neither revoked nor rotated, and meets the 404 of a key that is not there."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    victim = (await other.admin.post(KEYS, json={"scope": "read"})).json()

    revoked = await tenant.admin.delete(f"{KEYS}/{victim['id']}")
    rotated = await tenant.admin.post(f"{KEYS}/{victim['id']}/rotate")
    missing = await tenant.admin.delete(f"{KEYS}/key_none")
    world.clock.advance(1)

    problem_of(revoked, 404)
    problem_of(rotated, 404)
    assert revoked.text.replace(victim["id"], "key_none") == missing.text
    assert (await Caller(world.client, "org_other", victim["api_key"]).get("")).status_code == 200


async def test_only_digests_of_keys_are_stored(world):
    """No file of the data directory contains the text of a key."""
    tenant = await world.make_organization()
    made = (await tenant.admin.post(KEYS, json={})).json()
    texts = [made["api_key"], tenant.admin.key, tenant.read.key, OPERATOR_KEY]

    files = [one.read_bytes() for one in world.settings.store.data_dir.iterdir() if one.is_file()]

    assert any(made["id"].encode() in one for one in files)
    assert not any(text.encode() in one for one in files for text in texts)


# ── how many ──


async def test_keys_of_an_organization_are_limited(tmp_path):
    """As many keys as the limit are made, over the API and by rotation; one more is a conflict and changes nothing."""
    async with open_world(tmp_path, keys_max=5) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        made = [await tenant.admin.post(KEYS, json={}) for _ in range(3)]
        ids = [one["id"] for one in (await tenant.admin.get(KEYS)).json()["data"]]

        refused = await tenant.admin.post(KEYS, json={})
        overlapping = await tenant.admin.post(f"{KEYS}/{ids[0]}/rotate", json={"overlap_seconds": 9})
        replaced = await tenant.admin.post(f"{KEYS}/{ids[-1]}/rotate")
        others = await other.admin.post(KEYS, json={})

        assert [one.status_code for one in made] == [201, 201, 409]
        for answer in (made[2], refused, overlapping):
            assert problem_of(answer, 409)["type"].endswith("/too-many-keys")
        assert (replaced.status_code, others.status_code) == (201, 201)
        held = (await tenant.admin.get(KEYS)).json()["data"]
        assert len(held) == 5
        assert {one["id"] for one in held} == set(ids[:-1]) | {replaced.json()["id"]}
        assert all(one["expires_at"] is None for one in held)


async def test_expired_keys_make_room(tmp_path):
    """At the limit, keys that have expired make room for a new one; before it they stay listed."""
    async with open_world(tmp_path, keys_max=5) as world:
        tenant = await world.make_organization()
        soon = {"expires_at": "2026-05-28T20:26:41Z"}  # one second after START
        ended = (await tenant.admin.post(KEYS, json=soon)).json()["id"]
        world.clock.advance(1)
        below = await tenant.admin.post(KEYS, json={})
        listed = [one["id"] for one in (await tenant.admin.get(KEYS)).json()["data"]]

        at_limit = await tenant.admin.post(KEYS, json={})

        assert (below.status_code, at_limit.status_code) == (201, 201)
        assert ended in listed
        held = [one["id"] for one in (await tenant.admin.get(KEYS)).json()["data"]]
        assert ended not in held
        assert len(held) == 5


# ── last use ──


async def test_a_key_shows_its_last_use(world):
    """A key that was never used says so; a used one shows when, from where, and how many events it recorded."""
    tenant = await world.make_organization()
    await tenant.ingest.send(b"\n".join([make_event("e1"), make_event("e2")]), "application/x-ndjson")
    await tenant.ingest.send(make_event("e1"), "application/json")  # a duplicate records nothing
    await tenant.ingest.post("/preflight-decisions", json={"decision": "ALLOWED"})

    shown = {one["scope"]: one for one in (await tenant.admin.get(KEYS)).json()["data"]}

    assert shown["ingest"]["last_used_at"] == to_text(START)
    assert shown["ingest"]["last_used_from"] == "127.0.0.1"
    assert shown["ingest"]["events_last_hour"] == 3
    assert shown["admin"]["events_last_hour"] == 0
    assert shown["read"]["last_used_at"] is None
    assert shown["read"]["last_used_from"] is None


async def test_uses_that_were_written_are_added_once(world):
    """What is written is not counted again, and what comes afterwards is added to it."""
    tenant = await world.make_organization()
    uses, db = world.service.control.access.uses, world.stores.db
    await tenant.ingest.send(make_event("e1"), "application/json")
    await uses.write(db, world.clock.now())
    await uses.write(db, world.clock.now())
    world.clock.advance(2)
    await tenant.ingest.send(make_event("e2"), "application/json")

    [shown] = [one for one in (await tenant.admin.get(KEYS)).json()["data"] if one["scope"] == "ingest"]

    assert shown["events_last_hour"] == 2
    assert shown["last_used_at"] == to_text(START + 2_000_000)


async def test_uses_that_cannot_be_written_are_kept(world):
    """A store that takes no writes loses no use: the next write has it, and a request that came meanwhile."""
    tenant = await world.make_organization()
    uses, db = world.service.control.access.uses, world.stores.db
    await tenant.ingest.send(make_event("e1"), "application/json")
    with pytest.raises(Unavailable):
        await uses.write(Unwritable(), world.clock.now())
    await tenant.ingest.send(make_event("e2"), "application/json")
    await uses.write(db, world.clock.now())

    found = await keys.list_of(world.service.control, ORG, "", 10)

    assert [one.usage.events_last_hour for one in found if one.key.scope == "ingest"] == [2]


class Unwritable:
    """A database that takes no writes."""

    async def write(self, work):
        """Refuse."""
        raise Unavailable("the disk is full")


# ── last requests ──


async def test_the_last_requests_of_a_key_are_shown(world):
    """From the first look on: status, size, what was accepted and rejected, and why; also requests refused before their body."""
    tenant = await world.make_organization()
    ids = {one["scope"]: one["id"] for one in (await tenant.admin.get(KEYS)).json()["data"]}
    await tenant.ingest.send(make_event("before"), "application/json")
    first = (await tenant.admin.get(f"{KEYS}/{ids['ingest']}/requests")).json()
    good, bad = make_event("e1"), b'{"event": {"id": 5}}'
    await tenant.ingest.send(good, "application/json")
    await tenant.ingest.send(b"\n".join([make_event("e2"), bad]), "application/x-ndjson")
    await tenant.ingest.send(bad, "application/json")
    await tenant.ingest.send(b"{", "application/json")
    await tenant.ingest.send(gzip.compress(good), "application/json", "gzip")
    await tenant.ingest.send(good, "text/plain")
    await tenant.read.send(good, "application/json")
    shown = (await tenant.admin.get(f"{KEYS}/{ids['ingest']}/requests")).json()["data"]
    await tenant.admin.get(f"{KEYS}/{ids['read']}/requests")
    await tenant.read.send(good, "application/json")
    others = (await tenant.admin.get(f"{KEYS}/{ids['read']}/requests")).json()["data"]

    assert first == {"data": [], "noted_seconds": 300}
    told = sorted(
        (one["status"], one["accepted"], one["duplicates"], one["rejected"], one["body_bytes"])
        for one in shown
    )
    assert told == sorted(
        [
            (202, 1, 0, 0, len(good)),
            (202, 1, 0, 1, len(make_event("e2")) + 1 + len(bad)),
            (422, 0, 0, 1, len(bad)),
            (422, 0, 0, 1, 1),
            (202, 0, 1, 0, len(gzip.compress(good))),
            (415, 0, 0, 0, 0),
        ]
    )
    assert all((one["reason"] is None) == (one["status"] == 202 and not one["rejected"]) for one in shown)
    assert any("event 1: event.id" in (one["reason"] or "") for one in shown)
    assert [(one["status"], "scope read" in one["reason"]) for one in others] == [(403, True)]


async def test_requests_of_another_organizations_key_are_not_there(world):
    """Nobody looks at the requests of another organization's key."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    victim = (await other.admin.get(KEYS)).json()["data"][0]["id"]

    problem_of(await tenant.admin.get(f"{KEYS}/{victim}/requests"), 404)
    problem_of(await tenant.read.get(f"{KEYS}/{victim}/requests"), 403)
    assert world.service.counts.recent.watched == {}
