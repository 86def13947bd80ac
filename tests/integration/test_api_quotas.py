"""Quotas of an organization through the API: who sets them, who sees them, and what is refused."""

import gzip

import pytest

from support.api import (
    OPERATOR_KEY,
    ORG,
    World,
    make_array,
    make_event,
    make_lines,
    make_preflight,
    open_world,
    problem_of,
)

LINES = "application/x-ndjson"
OPERATOR = {"authorization": f"Bearer {OPERATOR_KEY}"}


async def change(world: World, org_id: str = ORG, **quotas: object):
    """Change quotas with the operator key; return the answer."""
    return await world.client.patch(f"/api/orgs/{org_id}/quotas", json=quotas, headers=OPERATOR)


def sized(number: int, size: int = 500) -> bytes:
    """Build an event of so many bytes."""
    return make_event(f"e{number}", size_bytes=size)


async def test_any_key_sees_what_is_stored_and_the_quotas(tmp_path):
    """The organization shows its bytes and the quotas that hold for it: the service's, or its own."""
    async with open_world(tmp_path, stored_bytes_max=10_000, ingest_bytes_per_second=2_000_000) as world:
        tenant = await world.make_organization()
        await tenant.ingest.send(sized(1))
        first = (await tenant.read.get("")).json()
        changed = await change(world, stored_bytes_max=7000)
        second = (await tenant.ingest.get("")).json()
        await change(world, stored_bytes_max=None, ingest_bytes_per_second=0)
        third = (await tenant.admin.get("")).json()

    assert (first["stored_bytes"], first["quotas"]) == (
        500,
        {"stored_bytes_max": 10_000, "ingest_bytes_per_second": 2_000_000},
    )
    assert changed.status_code == 200
    assert changed.json() == second
    assert second["quotas"] == {"stored_bytes_max": 7000, "ingest_bytes_per_second": 2_000_000}
    assert third["quotas"] == {"stored_bytes_max": 10_000, "ingest_bytes_per_second": 0}


async def test_only_the_operator_changes_quotas(tmp_path):
    """No key of the organization changes its quotas, an unknown organization is 404, and a wrong value is named."""
    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        refused = [
            await one.patch("/quotas", json={"stored_bytes_max": 0})
            for one in (tenant.admin, tenant.ingest, tenant.read, tenant.stranger)
        ]
        missing = await change(world, "org_missing", stored_bytes_max=1)
        wrong = [
            await change(world, **{name: value})
            for name, value in (
                ("stored_bytes_max", -1),
                ("ingest_bytes_per_second", 10**15 + 1),
                ("stored_bytes_max", "1"),
                ("stored_bytes_max", 1.5),
                ("stored_bytes_max", True),
                ("disk", 1),
            )
        ]
        left = (await tenant.read.get("")).json()["quotas"]

    assert [one.status_code for one in refused] == [401] * 4
    problem_of(missing, 404)
    assert [one.status_code for one in wrong] == [422] * 6
    assert left == {"stored_bytes_max": 0, "ingest_bytes_per_second": 0}


async def test_a_change_of_quotas_is_recorded(tmp_path):
    """The organization's log says who changed which quota from what to what."""
    async with open_world(tmp_path, audit_actions=True) as world:
        tenant = await world.make_organization()
        await change(world, stored_bytes_max=5)
        await change(world, stored_bytes_max=7, ingest_bytes_per_second=9)
        events = [one["event"] for one in (await tenant.read.get("/events")).json()["data"]]

    actions = [(one["event"]["action"], one["user"]["id"], one["aegis"]["audit"]) for one in events]
    assert [one[:2] for one in actions] == [("quotas_change", "operator")] * 2, (
        "recorded although the quota is used up"
    )
    assert actions[1][2]["before"] == {"stored_bytes_max": 5, "ingest_bytes_per_second": None}
    assert actions[1][2]["after"] == {"stored_bytes_max": 7, "ingest_bytes_per_second": 9}


@pytest.mark.parametrize("own", [True, False])
async def test_a_full_organization_is_told_what_is_full_and_what_helps(tmp_path, own):
    """Beyond the quota ingest answers 503 with size, use, quota, the way out and Retry-After; nothing is stored, others go on."""
    async with open_world(tmp_path, **({} if own else {"stored_bytes_max": 1200})) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        if own:
            await change(world, stored_bytes_max=1200)
        fits = await tenant.ingest.send(make_lines([sized(1), sized(2)]), LINES)
        refused = [
            await tenant.ingest.send(sized(3)),
            await tenant.ingest.send(sized(3)),
            await tenant.ingest.send(make_lines([sized(3), sized(4, 100)]), LINES),
            await tenant.ingest.send(gzip.compress(make_lines([sized(3)])), LINES, "gzip"),
            await tenant.ingest.post(
                "/preflight-decisions", json={"decision": "BLOCKED", "summary": "x" * 200}
            ),
        ]
        small = await tenant.ingest.send(sized(5, 200))
        beside = await other.ingest.send(make_event("e9", org_id="org_other"))
        stored = (await tenant.read.get("")).json()
        lines = [one for one in world.log.lines if one[1] == "organization.quota_reached"]

    assert fits.json()["accepted"] == 2
    for one in refused:
        problem = problem_of(one, 503)
        assert problem["type"].endswith("/storage-quota")
        assert int(one.headers["retry-after"]) >= 1
        for part in ("1,000 bytes of its quota of 1,200", "retention", "dead letters", "operator"):
            assert part in problem["detail"]
    assert "have 500 bytes" in refused[0].json()["detail"]
    assert (small.status_code, beside.status_code) == (202, 202)
    assert (stored["stored_bytes"], stored["head_sequence"]) == (1200, 3)
    assert lines == [("warning", "organization.quota_reached", {"org_id": ORG, "quota": "stored_bytes"})]


async def test_a_larger_quota_helps_within_seconds(tmp_path):
    """After the operator has raised the quota the same request is stored, a few seconds later at most."""
    async with open_world(tmp_path, stored_bytes_max=400) as world:
        tenant = await world.make_organization()
        before = await tenant.ingest.send(sized(1))
        await change(world, stored_bytes_max=500)
        world.clock.advance(6)
        after = await tenant.ingest.send(sized(1))

    assert (before.status_code, after.status_code) == (503, 202)


@pytest.mark.parametrize("own", [True, False])
async def test_bytes_a_second_are_limited(tmp_path, own):
    """Beyond its rate an organization gets 429 and Retry-After, whatever key it uses; after that time it is served, others always."""
    async with open_world(tmp_path, **({} if own else {"ingest_bytes_per_second": 1000})) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        if own:
            await change(world, ingest_bytes_per_second=1000)
        burst = await tenant.ingest.send(make_lines([sized(n) for n in range(8)]), LINES)
        refused = [
            await tenant.ingest.send(sized(10)),
            await tenant.admin.send(gzip.compress(sized(10)), encoding="gzip"),
            await tenant.ingest.post("/preflight-decisions", json={"decision": "BLOCKED"}),
        ]
        beside = await other.ingest.send(make_event("e9", org_id="org_other"))
        reads = await tenant.read.get("/events")
        world.clock.advance(int(refused[0].headers["retry-after"]))
        after = await tenant.ingest.send(sized(10))

    assert burst.status_code == 202
    for one in refused:
        problem = problem_of(one, 429)
        assert problem["type"].endswith("/ingest-quota")
        assert "1,000 bytes of events per second" in problem["detail"]
        assert one.headers["retry-after"] == "2"
    assert (beside.status_code, reads.status_code, after.status_code) == (202, 200, 202)


async def test_metrics_show_storage(tmp_path):
    """The metrics have the stored bytes of all organizations, and how many are near their quota."""
    async with open_world(tmp_path, stored_bytes_max=600) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        await tenant.ingest.send(sized(1))
        await other.ingest.send(make_event("e1", org_id="org_other", size_bytes=300))
        text = (await world.client.get("/metrics")).text

    assert "\naegis_stored_bytes 800\n" in text
    assert "\naegis_organizations_near_quota 1\n" in text


async def test_whatever_way_events_come_in_their_bytes_count(tmp_path):
    """The bytes counted are those that are stored: compact, in lines, with fields filled in, compressed, and in any alphabet."""
    text = "zwölf 🚲 Ω"
    whole = make_preflight("p1", summary=text)
    async with open_world(tmp_path, audit_actions=True) as world:
        tenant = await world.make_organization()
        answers = [
            await tenant.ingest.send(whole),
            await tenant.ingest.send(
                make_lines([make_preflight("p2", summary=text), make_preflight("p3")]), LINES
            ),
            await tenant.ingest.send(
                make_lines([make_event("l1", note=text), make_event(None, note=text)]), LINES
            ),
            await tenant.ingest.send(make_event(None, org_id=None, timestamp=None, note=text)),
            await tenant.ingest.send(gzip.compress(make_event("g1", note=text)), encoding="gzip"),
            await tenant.ingest.send(make_array([whole, make_event("a1"), make_event("a1")])),
            await tenant.ingest.post("/preflight-decisions", json={"decision": "BLOCKED", "summary": text}),
            await change(world, ingest_bytes_per_second=10**9),
        ]
        counted = (await tenant.read.get("")).json()["stored_bytes"]
        page = await world.stores.log.page(tenant.no, 1, 99, bytes_max=10**6, labels=False)

    assert {one.status_code for one in answers} <= {200, 202}
    assert len(page.bodies) == 10
    assert counted == sum(len(body) for body in page.bodies)
