"""Keys that sign checkpoints in every store: rotation is announced in the log, and whoever has the old key can follow."""

import json
from dataclasses import replace

import pytest

from aegis_stream.control.caller import COMMAND_LINE
from aegis_stream.control.proof import rotate_key
from aegis_stream.control.sealing import Refused, forget_retired_keys, seal
from aegis_stream.domain.note import Kind, VerifierKey, parse_note
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Conflict, Unavailable
from aegis_stream.store import proof_keys
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from aegis_stream.vault.ed25519 import check
from support.clock import T0
from support.proof_log import ProofLog
from support.sealing import (
    ORIGIN,
    SECOND,
    bodies_of,
    keys_of,
    seal_once,
    seal_state,
    sealed_tree,
    sealing_deps,
    set_mode,
    store_deps,
    verified,
)
from support.simulation import SeededRandom
from support.sql import raw
from support.stores import add_organization, append_to, event

DAY = 86_400 * SECOND


@pytest.fixture
def deps(store, tmp_path):
    """Return what sealing needs."""
    return sealing_deps(store, tmp_path)


def ordinary(first, count, org_id="org_a"):
    """Return events as applications send them."""
    return [
        event(f"e{number}", json.dumps({"event": {"id": f"e{number}"}, "organization": {"id": org_id}}))
        for number in range(first, first + count)
    ]


async def signers(store, org):
    """Return the epochs of the keys that signed the newest note, the newest first; each twice as it should."""
    log, known = await sealed_tree(store, org), await keys_of(store, org)
    names = {VerifierKey(log.origin, kind, one.public): one.epoch for one in known for kind in Kind}
    signed = parse_note(log.note).signed_by(names, check)
    epochs = [names[one.key] for one in signed]
    assert all(epochs.count(one) == len(Kind) for one in epochs), "each key signs in both ways"
    return sorted(set(epochs), reverse=True)


async def admin_events(store, org, action):
    """Return the events of an administrative action."""
    found = [json.loads(one) for one in await bodies_of(store, org)]
    return [one for one in found if one["event"].get("action") == action]


async def rotated(deps, store, org, overlap_us):
    """Seal some events, rotate the key, and seal some more; return the public keys, the old one first."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, ordinary(1, 20), T0)
    await seal_once(deps, store, org)
    await rotate_key(store_deps(deps), COMMAND_LINE, "org_a", overlap_us)
    await append_to(store.log, org, ordinary(21, 20), T0)
    await seal_once(deps, store, org)
    await append_to(store.log, org, ordinary(41, 20), T0)
    await seal_once(deps, store, org)
    new, old = await keys_of(store, org)
    return old.public, new.public


async def test_both_keys_sign_until_the_overlap_is_over(store, org, deps):
    """Then the new one alone does, the seed of the old one is forgotten, and its public key stays."""
    await rotated(deps, store, org, DAY)
    assert await signers(store, org) == [2, 1]
    assert await forget_retired_keys(deps) == 0

    store.clock.at += DAY
    await append_to(store.log, org, ordinary(61, 1), T0)
    await seal_once(deps, store, org)

    assert await signers(store, org) == [2]
    assert await forget_retired_keys(deps) == 1
    assert await forget_retired_keys(deps) == 0
    new, old = await keys_of(store, org)
    assert (bool(new.sealed_seed), old.sealed_seed, len(old.public)) == (True, b"", 32)
    await append_to(store.log, org, ordinary(62, 1), T0)
    assert await seal_once(deps, store, org) > 0


@pytest.mark.parametrize("overlap_us", [0, DAY])
async def test_whoever_has_the_old_key_follows_to_the_new_one(store, org, deps, tmp_path, overlap_us):
    """An export of the whole log verifies by either key; by the old one alone too, although it signs no more in the end."""
    old, new = await rotated(deps, store, org, overlap_us)
    assert await signers(store, org) == ([2, 1] if overlap_us else [2])
    bodies = await bodies_of(store, org)

    by_old, by_new = verified(tmp_path, bodies, old), verified(tmp_path, bodies, new)

    assert (by_old.status, by_new.status) == (0, 0), (by_old.logs[0].doubts(), by_new.logs[0].damages())
    assert [one.public_key for one in by_old.logs[0].keys] == [old, new]
    assert by_old.logs[0].end == by_new.logs[0].end == (await sealed_tree(store, org)).end
    lost = verified(tmp_path, bodies[:50] + bodies[51:], old)
    assert (lost.status, [one[:2] for one in lost.logs[0].missing]) == (1, [(51, 51)])


async def test_the_old_key_signs_the_event_that_replaces_it_however_late(store, org, deps, tmp_path):
    """Without an overlap, and with more events in between than one seal holds, the old key signs until the announcement is sealed."""
    deps = replace(deps, events_max=10)
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_once(deps, store, org)
    await append_to(store.log, org, ordinary(6, 25), T0)
    await rotate_key(store_deps(deps), COMMAND_LINE, "org_a", 0)
    store.clock.at += DAY
    new, old = await keys_of(store, org)

    seen = []
    for _ in range(6):
        assert await forget_retired_keys(deps) == int((await sealed_tree(store, org)).end >= new.announced)
        await seal_once(deps, store, org)
        seen.append((await sealed_tree(store, org)).end >= new.announced)
        before = seen[-2] if len(seen) > 1 else False
        assert await signers(store, org) == ([2] if before else [2, 1])
        if before:
            break

    assert seen.count(False) >= 2
    assert verified(tmp_path, await bodies_of(store, org), old.public).status == 0


async def test_the_event_names_both_keys(store, org, deps):
    """As verifiers are given them, so that nobody needs to ask this service."""
    old, new = await rotated(deps, store, org, DAY)

    [told] = await admin_events(store, org, "proof_key_rotate")
    audit = told["aegis"]["audit"]
    for shown, public, epoch in ((audit["before"], old, 1), (audit["after"], new, 2)):
        assert (shown["public_key"], shown["epoch"]) == (public.hex(), epoch)
        assert shown["vkey"] == VerifierKey(f"{ORIGIN}/org_a", Kind.PLAIN, public).text
    [made] = await admin_events(store, org, "proof_key_create")
    assert made["aegis"]["audit"]["after"]["public_key"] == old.hex()


async def test_a_key_is_announced_when_checkpoints_begin_to_travel(store, org, deps):
    """A log that was sealed without checkpoint events tells of its key as soon as a receiver reads them, once."""
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_once(deps, store, org)
    assert await admin_events(store, org, "proof_key_create") == []

    await set_mode(store, org, ProofMode.STREAM)
    for first in (6, 7):
        await append_to(store.log, org, ordinary(first, 1), T0)
        await seal_once(deps, store, org)

    [told] = await admin_events(store, org, "proof_key_create")
    [key] = await keys_of(store, org)
    assert told["aegis"]["audit"]["after"] == {"epoch": 1, "public_key": key.public.hex()}


async def test_a_thief_s_announcement_is_not_followed(store, org, deps, tmp_path):
    """Neither one that the log does not hold, nor one of a log that goes on under the thief's own key."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, ordinary(1, 20), T0)
    await seal_once(deps, store, org)
    [key] = await keys_of(store, org)
    true = await bodies_of(store, org)
    thief = ProofLog(org="org_a", host=ORIGIN)
    thief_key = thief.signers[0]
    claim = {
        "event": {"id": "adm_1", "dataset": "aegis.audit_stream.admin", "action": "proof_key_rotate"},
        "aegis": {
            "audit": {
                "before": {"public_key": key.public.hex()},
                "after": {"public_key": thief_key.public.hex(), "vkey": thief_key.vkey},
            }
        },
        "organization": {"id": "org_a"},
    }
    false = json.dumps(claim).encode()
    for one in (*true[:10], false):
        thief.bodies.append(one)
    thief.seal()

    alone = verified(tmp_path, thief.bodies, key.public)
    inserted = verified(tmp_path, [*true, false], key.public)
    both = verified(tmp_path, [*true, *thief.bodies[10:]], key.public)

    for found in (alone, inserted, both):
        assert found.status != 0
        assert thief_key.public not in [one.public_key for log in found.logs for one in log.keys]


async def test_only_so_many_keys_sign_at_the_same_time(store, org, deps):
    """Each adds to every note: the ninth is refused, and no key is lost by that; when they are over, rotation goes on."""
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_once(deps, store, org)
    for _ in range(proof_keys.KEYS_MAX - 1):
        await rotate_key(store_deps(deps), COMMAND_LINE, "org_a", DAY)

    with pytest.raises(Conflict, match="8 keys of org_a sign at the same time"):
        await rotate_key(store_deps(deps), COMMAND_LINE, "org_a", 0)

    assert len(await keys_of(store, org)) == proof_keys.KEYS_MAX
    await seal_once(deps, store, org)
    assert len(await signers(store, org)) == proof_keys.KEYS_MAX
    store.clock.at += DAY
    assert await forget_retired_keys(deps) == proof_keys.KEYS_MAX - 1
    assert (await rotate_key(store_deps(deps), COMMAND_LINE, "org_a", 0)).log == f"{ORIGIN}/org_a"


async def test_a_rotation_without_overlap_ends_all_older_keys(store, org, deps):
    """After a theft no overlap of an earlier rotation goes on."""
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_once(deps, store, org)
    for overlap_us in (30 * DAY, 0):
        await rotate_key(store_deps(deps), COMMAND_LINE, "org_a", overlap_us)
    await seal_once(deps, store, org)
    await append_to(store.log, org, ordinary(6, 1), T0)
    await seal_once(deps, store, org)

    assert await signers(store, org) == [3]
    assert await forget_retired_keys(deps) == 2


async def test_a_rotation_that_could_not_be_followed_is_refused(store, org, deps):
    """Without a key, without the event, or without the old key to sign it, nothing changes."""
    with pytest.raises(Conflict, match="has no key yet"):
        await rotate_key(store_deps(deps), COMMAND_LINE, "org_a", 0)
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_once(deps, store, org)
    before = await keys_of(store, org)

    with pytest.raises(Conflict, match="AEGIS_AUDIT_ACTIONS=true"):
        await rotate_key(store_deps(replace(deps, audit_actions=False)), COMMAND_LINE, "org_a", 0)
    stranger = Vault(GivenKeys((MasterKey(b"x" * 32),)), SeededRandom(1))
    with pytest.raises(Unavailable):
        await rotate_key(store_deps(replace(deps, sealer=stranger)), COMMAND_LINE, "org_a", 0)

    assert await keys_of(store, org) == before


async def test_a_key_that_does_not_open_stops_only_its_own_log(store, org, deps):
    """It is refused in words that name the key; the other log is sealed."""
    other = await add_organization(store, "org_b")
    for one in (org, other):
        await append_to(store.log, one, ordinary(1, 5), T0)
        await seal_once(deps, store, one)
        await append_to(store.log, one, ordinary(6, 5), T0)
    await store.db.write(
        lambda unit: raw(unit).run(
            "UPDATE proof_keys SET public = (SELECT o.public FROM proof_keys o WHERE o.org_no = ?) WHERE org_no = ?",
            (other, org),
        )
    )
    with pytest.raises(Refused, match="key 1 of org_a is not the one that its public key says"):
        await seal(deps, await seal_state(store, org))
    await store.db.write(
        lambda unit: raw(unit).run(
            "UPDATE proof_keys SET seed = (SELECT o.seed FROM proof_keys o WHERE o.org_no = ?) WHERE org_no = ?",
            (other, org),
        )
    )
    with pytest.raises(Refused, match="key 1 of org_a cannot be used"):
        await seal(deps, await seal_state(store, org))

    assert await seal_once(deps, store, other) == 5


@pytest.mark.parametrize(
    ("contents", "behind", "listed"),
    [("auto", 10, True), ("auto", 90, False), ("on", 90, True), ("off", 10, False)],
)
async def test_content_digests_are_listed_as_the_setting_says(store, org, deps, contents, behind, listed):
    """Always, never, or only while the log is not far behind."""
    deps = replace(deps, contents=contents, events_max=10)
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, ordinary(1, behind), T0)

    await seal_once(deps, store, org)

    [first] = [
        one
        for one in (json.loads(body) for body in await bodies_of(store, org))
        if one["event"].get("action") == "checkpoint"
    ]
    assert ("contents" in first["aegis"]["proof"]) is listed
