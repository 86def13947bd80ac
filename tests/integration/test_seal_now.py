"""Promises of "seal now": the checkpoint covers what was recorded at the call, or the answer says why there is none."""

import asyncio
import contextlib

import pytest

from aegis_stream.control import seal_request
from aegis_stream.control.seal_waits import ALL_WAITING_MAX, WAITING_MAX, SealWaits
from aegis_stream.domain.note import parse_checkpoint, parse_note
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Limited
from aegis_stream.store import tree
from support.api import open_world
from support.seal_now import sealer
from support.sql import raw

pytestmark = pytest.mark.timeout(120)
CHECKPOINT = "/proof/checkpoint"


@pytest.fixture
async def world(tmp_path):
    """A running application whose logs are sealed once an hour."""
    async with open_world(tmp_path, proof=True, proof_seconds=3600, proof_events=4096) as world:
        yield world


@pytest.fixture
async def tenant(world):
    """An organization with a key of each scope."""
    return await world.make_organization()


def size_of(answer) -> int:
    """Return the size of the checkpoint that was answered."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return parse_checkpoint(parse_note(answer.text).text).size


async def requests(world) -> list[tuple[int, int, str]]:
    """Return the requests that are stored."""
    return await world.stores.db.read(lambda unit: raw(unit).rows("SELECT * FROM seal_requests"))


async def test_everything_recorded_is_sealed_at_once(world, tenant):
    """The first seal and a later one do not wait for the pause between seals, and nothing is left of the request."""
    await world.send_events(tenant, 5)
    async with sealer(world):
        first = size_of(await tenant.admin.post(CHECKPOINT))
        await world.send_events(tenant, 7, prefix="more")
        second = size_of(await tenant.admin.post(CHECKPOINT))
        left = await requests(world)
    read = size_of(await tenant.read.get(CHECKPOINT))

    assert (first, second, read) == (5, 12, 12)
    assert left == []


async def test_more_than_a_turn_is_sealed(world, tenant):
    """A log with more events than the sealer seals in a row is sealed to the end."""
    await world.send_events(tenant, 40)
    async with sealer(world, proof_events=2):
        assert size_of(await tenant.admin.post(CHECKPOINT)) == 40


@pytest.mark.parametrize("mode", [ProofMode.SEALED, ProofMode.STREAM])
async def test_a_sealed_log_needs_no_sealer(world, tenant, mode, monkeypatch):
    """When nothing but the last seal's own checkpoint events is new, the newest checkpoint is answered at once, and no row is written."""
    await world.stores.db.write(lambda unit: tree.set_mode(unit, tenant.no, mode))
    await world.send_events(tenant, 5)
    async with sealer(world):
        first = await tenant.admin.post(CHECKPOINT)
    monkeypatch.setattr(world.service.control.db, "write", None)
    again = await tenant.admin.post(CHECKPOINT)

    assert size_of(first) == size_of(again) == 5
    assert again.text == first.text


async def test_logs_that_are_not_sealed(world, tenant, tmp_path):
    """Without events, with the mode off, and without AEGIS_PROOF the answer says what to do, and nobody waits."""
    empty = await tenant.admin.post(CHECKPOINT)
    await world.send_events(tenant, 1)
    await world.stores.db.write(lambda unit: tree.set_mode(unit, tenant.no, ProofMode.OFF))
    off = await tenant.admin.post(CHECKPOINT)
    async with open_world(tmp_path / "other", proof=False) as other:
        another = await other.make_organization()
        await other.send_events(another, 1)
        disabled = await another.admin.post(CHECKPOINT)

    assert [one.status_code for one in (empty, off, disabled)] == [409] * 3
    assert [one.json()["type"].rpartition("/")[2] for one in (empty, off, disabled)] == [
        "not-sealed",
        "proof-off",
        "proof-off",
    ]
    assert "record one first" in empty.json()["detail"]
    assert "aegis proof mode" in off.json()["detail"]
    assert "AEGIS_PROOF=true" in disabled.json()["detail"]
    assert await requests(world) == []


async def test_no_sealer_runs(world, tenant, monkeypatch):
    """The wait ends with an error that says what to check; the request stays, and the next sealer answers it."""
    monkeypatch.setattr(seal_request, "WAIT_S", 0.3)
    await world.send_events(tenant, 3)
    answer = await tenant.admin.post(CHECKPOINT)
    asked = await requests(world)
    async with sealer(world), asyncio.timeout(60):
        while await requests(world):
            await asyncio.sleep(0.02)

    assert answer.status_code == 503
    assert answer.json()["type"].endswith("/no-sealer")
    assert "aegis doctor" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    assert asked == [(tenant.no, 3, "")]
    assert size_of(await tenant.read.get(CHECKPOINT)) == 3


async def test_a_sealer_that_is_behind(world, tenant, monkeypatch):
    """When a part is sealed at the end of the wait, the answer says how far it is."""
    monkeypatch.setattr(seal_request, "WAIT_S", 0.5)
    await world.send_events(tenant, 9)
    real = tree.newest_tree

    def of_a_part(unit, no):
        found = real(unit, no)
        return found and found._replace(tree=found.tree._replace(size=min(found.tree.size, 4)))

    monkeypatch.setattr(tree, "newest_tree", of_a_part)
    async with sealer(world, proof_events=4096):
        answer = await tenant.admin.post(CHECKPOINT)

    assert answer.status_code == 503
    assert answer.json()["type"].endswith("/seal-behind")
    assert "of 9 events 4 are sealed" in answer.json()["detail"]


async def test_a_refused_log_says_why(world, tenant):
    """The answer comes as soon as the sealer refuses, with its reason, and asking again asks the sealer again."""
    await world.send_events(tenant, 3)
    async with sealer(world):
        size_of(await tenant.admin.post(CHECKPOINT))
        await world.stores.db.write(lambda unit: raw(unit).run("UPDATE trees SET frontier = x'00'"))
        await world.send_events(tenant, 3, prefix="more")
        refused = await tenant.admin.post(CHECKPOINT)
        [(_, _, reason)] = await requests(world)
        again = await tenant.admin.post(CHECKPOINT)

    assert reason
    for answer in (refused, again):
        assert answer.status_code == 409
        assert answer.json()["type"].endswith("/seal-refused")
        assert answer.json()["detail"].endswith(reason)


async def test_others_are_answered_beside_a_refused_log(world, tenant):
    """A request that is refused does not stop the requests behind it."""
    await world.send_events(tenant, 3)
    other = await world.make_organization("org_other")
    await world.send_events(other, 2)
    async with sealer(world):
        size_of(await tenant.admin.post(CHECKPOINT))
        await world.stores.db.write(lambda unit: raw(unit).run("UPDATE trees SET frontier = x'00'"))
        await world.send_events(tenant, 3, prefix="more")
        refused, sealed = await asyncio.gather(tenant.admin.post(CHECKPOINT), other.admin.post(CHECKPOINT))

    assert refused.status_code == 409
    assert size_of(sealed) == 2


async def test_only_an_admin_may_ask(world, tenant):
    """A key that reads or sends is refused, and one of another organization finds nothing."""
    other = await world.make_organization("org_other")
    foreign = await other.admin.client.request(
        "POST",
        f"/api/orgs/{tenant.org_id}{CHECKPOINT}",
        headers={"authorization": f"Bearer {other.admin.key}"},
    )

    assert (await tenant.read.post(CHECKPOINT)).status_code == 403
    assert (await tenant.ingest.post(CHECKPOINT)).status_code == 403
    assert foreign.status_code == 404


def test_only_so_many_wait():
    """Those beyond the limit of an organization, and of all, are refused; a place that is left is free."""
    waits = SealWaits()
    with contextlib.ExitStack() as stack:
        for _ in range(WAITING_MAX):
            stack.enter_context(waits.place(1))
        with pytest.raises(Limited), waits.place(1):
            pass
        with waits.place(2):
            pass
    with contextlib.ExitStack() as stack:
        for no in range(ALL_WAITING_MAX):
            stack.enter_context(waits.place(no))
        with pytest.raises(Limited), waits.place(ALL_WAITING_MAX):
            pass
    with waits.place(1):
        pass
