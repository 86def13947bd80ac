"""Promises of the mode of a sealed log by the API: who sees it, who changes it, and that the change is recorded."""

import json

import pytest

from aegis_stream.control.proof import show
from aegis_stream.domain.organization import ProofMode
from support.api import OPERATOR_KEY, Caller, open_world
from support.log import entries


@pytest.fixture
async def world(tmp_path):
    """A running application that records administrative actions."""
    async with open_world(tmp_path, audit_actions=True) as world:
        yield world


@pytest.fixture
async def tenant(world):
    """An organization with a key of each scope."""
    return await world.make_organization()


async def changes_in(world, tenant) -> list[dict]:
    """Return what is recorded of changes of the mode."""
    found = [json.loads(one.body) for one in await entries(world.stores.log, tenant.no, 0, 1000, 1000)]
    return [one for one in found if one["event"].get("action") == "proof_change"]


async def test_the_mode_is_shown_and_changed(world, tenant):
    """Every key sees the mode, the admin key changes it, and the log says who did, from what to what."""
    before = (await tenant.read.get("")).json()
    changed = await tenant.admin.patch("", json={"proof": "stream"})
    after = (await tenant.ingest.get("")).json()
    listed = await world.client.get("/api/orgs", headers={"authorization": f"Bearer {OPERATOR_KEY}"})
    stored = (await show(world.service.control, tenant.org_id)).organization.proof
    [event] = await changes_in(world, tenant)

    assert before["proof"] == "sealed"
    assert changed.status_code == 200
    assert changed.json()["proof"] == after["proof"] == "stream"
    assert stored is ProofMode.STREAM
    assert [one["proof"] for one in listed.json()["data"]] == ["stream"]
    audit = event["aegis"]["audit"]
    assert (audit["before"], audit["after"]) == ({"proof": "sealed"}, {"proof": "stream"})


async def test_nothing_is_changed_without_the_field(world, tenant):
    """A change of nothing answers the organization, and records nothing."""
    answer = await tenant.admin.patch("", json={})

    assert answer.status_code == 200
    assert answer.json()["proof"] == "sealed"
    assert await changes_in(world, tenant) == []


@pytest.mark.parametrize("body", [{"proof": "on"}, {"proof": None}, {"proof": 1}, {"mode": "off"}])
async def test_other_values_are_refused(world, tenant, body):
    """The answer names the field, and nothing changes."""
    answer = await tenant.admin.patch("", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == next(iter(body))
    assert (await tenant.read.get("")).json()["proof"] == "sealed"


async def test_only_an_admin_changes_it(world, tenant):
    """Keys that read or send are refused, and one of another organization finds nothing."""
    other = await world.make_organization("org_other")
    foreign = Caller(world.client, tenant.org_id, other.admin.key)
    for one, status in ((tenant.read, 403), (tenant.ingest, 403), (foreign, 404)):
        assert (await one.patch("", json={"proof": "off"})).status_code == status
    assert (await tenant.read.get("")).json()["proof"] == "sealed"
