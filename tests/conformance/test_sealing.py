"""One organization's log sealed in every store: nothing is missing, no history is signed twice, and no kill breaks it."""

import asyncio
import base64
import json
from dataclasses import replace

import pytest

from aegis_stream.control import sealing
from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.control.sealing_guard import Refused
from aegis_stream.domain import merkle
from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Unavailable
from aegis_stream.store import organizations, proof_keys, tree
from aegis_stream.store.checkpoint_log import CheckpointLog
from support.clock import T0
from support.log import entries
from support.sealed_logs import assert_whole, deps_on, put_back, seal_all, sealed, state_of
from support.sealing import ORIGIN, set_mode
from support.sql import raw
from support.stores import Store, add_organization, append_to, event, events, stored


@pytest.fixture
def deps(store, tmp_path) -> SealingDeps:
    """Return what sealing needs, with few events to a seal."""
    return deps_on(store, tmp_path)


async def test_a_log_is_sealed_step_by_step(store, org, deps):
    """The first seal makes the key; each covers what it may at most, and nothing is added to the log."""
    await append_to(store.log, org, events(1, 250), T0)

    covered = await seal_all(deps, store, org)

    assert covered == [100, 100, 50]
    last = await assert_whole(store, org)
    assert (last.origin, last.base, last.tree.size) == (f"{ORIGIN}/org_a", 0, 250)
    assert list(await stored(store, org)) == list(range(1, 251))


async def test_checkpoint_events_cover_everything_and_come_to_rest(store, org, deps):
    """In the stream every event but the newest checkpoint events is listed once, gapless, and an idle log stays as it is."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, events(1, 150), T0)
    await seal_all(deps, store, org)
    await append_to(store.log, org, [event("late")], T0)
    await seal_all(deps, store, org)

    last = await assert_whole(store, org)
    whole = await entries(store.log, org, 0, 1000, 1000)
    proofs = [json.loads(one.body)["aegis"]["proof"] for one in whole if one.dataset == CHECKPOINT_DATASET]
    assert [one["first"] for one in proofs] == [1, *(before["last"] + 1 for before in proofs[:-1])]
    assert proofs[-1]["last"] == last.tree.size
    leaves = b"".join(base64.b64decode(one["leaves"]) for one in proofs)
    assert leaves == merkle.leaf_hashes(one.body.encode() for one in whole[: last.tree.size])
    assert proofs[-1]["checkpoint"] == last.note
    assert len(base64.b64decode(proofs[0]["contents"])) == 16 * 90
    state = await state_of(store, org)
    assert state.unsealed == state.own == 1


async def test_the_smallest_seals_come_to_rest(store, org, deps):
    """Sealed event by event, a log in the stream does not grow for ever by its own checkpoint events."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, events(1, 20), T0)

    covered = await seal_all(replace(deps, events_max=1), store, org)

    assert set(covered) == {2}
    assert (await assert_whole(store, org)).tree.size < 2 * 20


async def test_a_used_id_does_not_stop_a_log(store, org, deps):
    """Whoever sends an event with the id of a checkpoint event stops nothing: it gets another one."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, [event("ckpt_1_2"), event("e2")], T0)

    await seal_all(deps, store, org)

    ids = list((await stored(store, org)).values())
    assert ids[2].startswith("ckpt_1_2_")
    await assert_whole(store, org)


async def test_the_making_of_a_key_is_an_event_of_the_log(store, org, deps):
    """The public key is in the log from the first seal on, and covered by it."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, events(1, 3), T0)

    await seal_all(replace(deps, audit_actions=True), store, org)

    (key,) = await store.db.read(lambda unit: proof_keys.keys_of(unit, org))
    (told,) = [one for one in await entries(store.log, org, 0, 100, 100) if one.event_id.startswith("adm_")]
    content = json.loads(told.body)
    assert content["event"]["action"] == "proof_key_create"
    assert content["aegis"]["audit"]["after"] == {"epoch": 1, "public_key": key.public.hex()}
    assert (await assert_whole(store, org)).tree.size == 4


async def test_a_log_that_began_before_it_was_sealed_says_where_it_begins(store, org, deps):
    """Events that retention removed before are in no tree: the name of the log has its first sequence."""
    await append_to(store.log, org, events(1, 10), T0)
    while await store.retention.step(Micros(T0 + 1)):
        pass
    await append_to(store.log, org, events(11, 5), T0 + 5)

    await seal_all(deps, store, org)

    last = await assert_whole(store, org)
    assert (last.origin, last.base, last.tree.size) == (f"{ORIGIN}/org_a@11", 10, 5)


async def test_a_log_begins_again_where_events_went_unsealed(store, org, deps):
    """After a time without proof whose events are gone, another log begins; with all events there, the old one goes on."""
    await append_to(store.log, org, events(1, 10), T0)
    await seal_all(deps, store, org)
    await set_mode(store, org, ProofMode.OFF)
    await append_to(store.log, org, events(11, 5), T0)
    await set_mode(store, org, ProofMode.SEALED)
    await seal_all(deps, store, org)
    assert (await assert_whole(store, org)).tree.size == 15

    await set_mode(store, org, ProofMode.OFF)
    await append_to(store.log, org, events(16, 5), T0)
    while await store.retention.step(Micros(T0 + 1)):
        pass
    await append_to(store.log, org, events(21, 2), T0 + 5)
    await set_mode(store, org, ProofMode.SEALED)
    await seal_all(deps, store, org)

    last = await assert_whole(store, org)
    assert (last.origin, last.base, last.tree.size) == (f"{ORIGIN}/org_a@21", 20, 2)


class Killed(BaseException):
    """What a SIGKILL leaves: everything that is durable, and nothing else."""


def kill_at(deps: SealingDeps, moment: str) -> SealingDeps:
    """Return what sealing needs for a process that is killed at a moment."""

    class Log(CheckpointLog):
        def note(self, origin, signed):
            if moment == "before the note":
                raise Killed
            super().note(origin, signed)
            if moment == "after the note":
                raise Killed

    class Db:
        def __init__(self, db):
            self.db = db

        def __getattr__(self, name):
            return getattr(self.db, name)

        async def write(self, work):
            result = await self.db.write(work)
            if (
                moment == "after the commit"
                and work.__code__.co_filename == sealing.__file__
                and "found" in work.__code__.co_freevars
            ):
                raise Killed
            return result

    return replace(deps, checkpoints=Log(deps.checkpoints.path.parent), db=Db(deps.db))


@pytest.mark.parametrize("mode", [ProofMode.SEALED, ProofMode.STREAM])
@pytest.mark.parametrize("moment", ["before the note", "after the note", "after the commit"])
async def test_a_kill_at_any_moment_signs_one_history(store, org, deps, tmp_path, moment, mode):
    """Killed anywhere, with more events since, the next process goes on: every size that was signed has one root."""
    await set_mode(store, org, mode)
    await append_to(store.log, org, events(1, 7), T0)
    await seal_all(deps, store, org)
    await append_to(store.log, org, events(8, 5), T0)
    with pytest.raises(Killed):
        await seal(kill_at(deps, moment), await state_of(store, org))
    noted = CheckpointLog(tmp_path).last(f"{ORIGIN}/org_a")
    await append_to(store.log, org, events(13, 4), T0)

    covered = await seal_all(deps_on(store, tmp_path, 2), store, org)

    last = await assert_whole(store, org)
    if moment == "after the note":
        assert covered[0] == 5 + (mode is ProofMode.STREAM), "first what was signed, at exactly that size"
        plan = merkle.grow(
            merkle.EMPTY,
            {},
            merkle.leaf_hashes(
                one.body.encode() for one in (await entries(store.log, org, 0, 100, 100))[: noted.size]
            ),
        )
        assert plan.tree.root() == noted.root
    assert last.tree.size >= 16


async def test_an_older_copy_is_not_signed(store, org, deps, tmp_path):
    """A database that lacks events that were sealed is refused, and nothing is stored."""
    await append_to(store.log, org, events(1, 5), T0)
    await seal_all(deps, store, org)
    before = await sealed(store, org)
    await append_to(store.log, org, events(6, 5), T0)
    await seal_all(deps, store, org)
    await put_back(store, org, before)
    await append_to(store.log, org, [event("other")], T0)

    with pytest.raises(Refused, match="aegis proof restart"):
        await seal(deps_on(store, tmp_path, 2), await state_of(store, org))

    assert await sealed(store, org) == before


async def test_an_older_copy_that_went_on_is_not_signed(store, org, deps, tmp_path):
    """A database that has other events in the place of those that were sealed is refused, however many."""
    await append_to(store.log, org, events(1, 5), T0)
    await seal_all(deps, store, org)
    before = await sealed(store, org)
    await append_to(store.log, org, events(6, 5), T0)
    await seal_all(deps, store, org)
    await put_back(store, org, before)
    await append_to(store.log, org, events(100, 50), T0)

    with pytest.raises(Refused, match="another root"):
        await seal(deps_on(store, tmp_path, 2), await state_of(store, org))

    assert await sealed(store, org) == before


async def test_changed_rows_are_not_signed(store, org, deps):
    """A tree that was changed in the database is not continued."""
    await append_to(store.log, org, events(1, 5), T0)
    await seal_all(deps, store, org)
    await store.db.write(lambda unit: raw(unit).run("UPDATE trees SET size = 4"))
    await append_to(store.log, org, events(6, 5), T0)

    with pytest.raises(Refused):
        await seal(deps, await state_of(store, org))


@pytest.mark.parametrize("machines", [1, 3])
async def test_two_processes_seal_one_history(backend, store, org, tmp_path, machines):
    """Processes that seal at the same time, on one machine or on their own, make one history, and none stops."""
    folders = [tmp_path / str(number % machines) for number in range(3)]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    stores = [backend.open() for _ in folders]
    others = [
        deps_on(one, folder, 5 + number)
        for number, (one, folder) in enumerate(zip(stores, folders, strict=True))
    ]
    await set_mode(store, org, ProofMode.STREAM)

    async def send() -> None:
        for number in range(12):
            await append_to(store.log, org, events(1 + number * 40, 40), T0)

    async def work(one: SealingDeps, its: Store) -> None:
        for _ in range(15):
            its.clock.at += 1
            state = (
                await state_of(its, org)
                if (await its.db.read(lambda unit: tree.seal_states(unit, 0)))
                else None
            )
            if state is not None:
                await seal(one, state)

    await append_to(store.log, org, [event("first")], T0)
    await asyncio.gather(send(), *(work(one, its) for one, its in zip(others, stores, strict=True)))
    await seal_all(others[0], stores[0], org)

    await assert_whole(store, org)
    (key,) = await store.db.read(lambda unit: proof_keys.keys_of(unit, org))
    assert key.epoch == 1


async def test_a_store_that_fails_is_told_and_tried_again(backend, store, org, deps):
    """A commit that fails is Unavailable; the next try seals the same events, at the size that was noted."""
    await append_to(store.log, org, events(1, 5), T0)
    await seal_all(deps, store, org)
    await append_to(store.log, org, events(6, 5), T0)
    backend.fail_next_commit(store)

    with pytest.raises(Unavailable):
        await seal(deps, await state_of(store, org))
    await append_to(store.log, org, events(11, 5), T0)

    assert await seal_all(deps, store, org) == [5, 5]
    await assert_whole(store, org)


async def test_a_folder_that_cannot_be_written_stops_the_seal(store, org, deps, tmp_path):
    """A checkpoint that cannot be noted is not stored."""
    await append_to(store.log, org, events(1, 5), T0)
    (tmp_path / "checkpoints.log").mkdir()

    with pytest.raises(Unavailable, match="cannot be written"):
        await seal(deps, await state_of(store, org))

    assert await sealed(store, org) is None


async def test_organizations_have_their_own_logs(store, deps):
    """Each organization has its own key and tree."""
    orgs = [await add_organization(store, f"org_{name}") for name in "xy"]
    for one in orgs:
        await append_to(store.log, one, events(1, 5), T0)
        await seal_all(deps, store, one)

    first, second = [await assert_whole(store, one) for one in orgs]
    assert (first.origin, second.origin) == (f"{ORIGIN}/org_x", f"{ORIGIN}/org_y")
    assert first.tree == second.tree
    assert first.note != second.note
    keys = [(await store.db.read(lambda unit, o=one: proof_keys.keys_of(unit, o)))[0].public for one in orgs]
    assert keys[0] != keys[1]
    assert (await store.db.read(lambda unit: organizations.find(unit, "org_x"))).proof is ProofMode.SEALED
