"""The rotation of a log's key by the API: the operator's call, recorded, and refused while there is nothing to rotate."""

import json

import pytest

from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.note import parse_verifier_key
from aegis_stream.domain.times import from_text
from aegis_stream.store import proof_keys
from support.api import open_world, problem_of
from support.log import entries
from support.seal_now import seal_now

ROTATE = "/api/orgs/org_abc/proof/keys/rotate"


@pytest.fixture
async def world(tmp_path):
    """A running application."""
    async with open_world(tmp_path, proof_events=100, proof_key_overlap_days=2, audit_actions=True) as world:
        yield world


@pytest.fixture
async def operator(world):
    """`operator(body)` calls with the operator key."""

    async def call(body=None):
        headers = {"authorization": f"Bearer {world.settings.secrets.operator_key}"}
        if body is None:
            return await world.client.post(ROTATE, headers=headers)
        return await world.client.post(ROTATE, headers=headers, json=body)

    return call


async def test_the_operator_rotates_the_key_of_a_log(world, operator):
    """The answer has both keys, the overlap is the setting's or the call's, and the log tells who did it."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    await seal_now(world, tenant)
    old = (await tenant.read.get("/proof/keys")).text.splitlines()[0].removeprefix("log ")
    now = world.service.control.clock.now()

    first = await operator()
    second = await operator({"overlap_seconds": 0})

    assert (first.status_code, second.status_code) == (201, 201), first.text
    made = first.json()
    assert (made["old_key"], made["log"]) == (old, parse_verifier_key(made["key"]).name)
    assert abs(from_text(made["old_key_until"]) - now - 2 * 86_400 * SECOND) < 3600 * SECOND
    assert second.json()["old_key"] == made["key"]
    policy = (await tenant.read.get("/proof/keys")).text.splitlines()
    assert policy == [f"log {one}" for one in (second.json()["key"], made["key"], old)] + ["quorum none"]
    known = await world.stores.db.read(lambda unit: proof_keys.keys_of(unit, tenant.no))
    assert [one.epoch for one in known] == [3, 2, 1]
    log = [json.loads(one.body) for one in await entries(world.stores.log, tenant.no, 0, 100, 100)]
    told = [one for one in log if one["event"].get("action") == "proof_key_rotate"]
    assert [one["user"]["id"] for one in told] == ["operator", "operator"]


async def test_nobody_else_does(world, operator):
    """No key of the organization is enough, and the operator is told of an organization that is not there or has no key."""
    assert problem_of(await operator(), 404)
    tenant = await world.make_organization()
    assert "has no key yet" in problem_of(await operator(), 409)["detail"]
    for one in (tenant.admin, tenant.read, tenant.ingest):
        assert (await one.post("/proof/keys/rotate")).status_code in (401, 403)
    for wrong in (-1, 315_360_001, "1", None, 1.5):
        problem_of(await operator({"overlap_seconds": wrong}), 422)
    problem_of(await operator({"overlap_days": 1}), 422)
