"""Seals the log of one organization: reads what is new, signs it, stores it. Called by the sealer.

The order makes a kill harmless at every point: the checkpoint is noted outside the database before it is stored, and stored before
anybody can see it. What was noted and not stored is sealed first the next time, at exactly that size, and must give the same root.
"""

import asyncio
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from aegis_stream.domain.audit import Actor, AdminAction
from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET, CONTENT_BYTES, CheckpointEvent, log_name
from aegis_stream.domain.event import checksum
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import EMPTY, Broken
from aegis_stream.domain.note import Sign
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.seal import STREAM_EVENTS_MIN, Given, LogKey, Made, make
from aegis_stream.ports import Clock, Random, Sealer
from aegis_stream.store import proof_keys, tree
from aegis_stream.store.append import append_events
from aegis_stream.store.audit_writer import AuditWriter
from aegis_stream.store.checkpoint_log import CheckpointLog, Signed
from aegis_stream.store.database import Database, Duplicate, Unit, Value
from aegis_stream.store.proof_keys import ProofKey
from aegis_stream.store.tree import Overtaken, SealedTree, SealState, Unsealed
from aegis_stream.vault import ed25519
from aegis_stream.verify.content import Unreadable, digest, loads

from .sealing_guard import WAY_OUT, Refused, check_noted, check_older, missing, trusted, up_to

SERVICE = Actor("service", "aegis service", "service")
"""Who makes keys."""
BYTES_MAX = 16 << 20
"""Most bytes of the events of one seal: memory of the sealer is a few times that."""
BEHIND_SEALS = 4
"""So many seals behind, content digests are left out in the setting `auto`: they are two thirds of the work."""


@dataclass(frozen=True, slots=True)
class SealingDeps:
    """What sealing needs.

    Args:
        origin: first part of the names of logs; neither spaces nor plus signs.
        events_max: most events of one seal.
        audit_actions: whether the making of a key is recorded in the log of its organization, in the mode `stream`.
        contents: whether checkpoint events have content digests: "on", "off", or "auto", not while the log is far behind.
    """

    db: Database
    sealer: Sealer
    clock: Clock
    random: Random
    checkpoints: CheckpointLog
    origin: str
    events_max: int
    audit_actions: bool
    contents: str = "auto"


async def seal(deps: SealingDeps, state: SealState) -> int:
    """Seal the next events of a log, at most `events_max`; without new ones sign the tree again.

    Returns: how many events it covered; 0 when another process was faster too.
    Raises: Refused when the log must not be sealed. Unavailable: then it may or may not be stored, and can be tried again.
    """
    try:
        await _make_key(deps, state)
        streams = state.mode is ProofMode.STREAM
        known, found = await _read(deps, state, max(deps.events_max, STREAM_EVENTS_MIN if streams else 1))
        base = _new_base(state) or 0
        start = found.before or SealedTree(
            base, log_name(deps.origin, state.org_id, base), EMPTY, "", deps.clock.now()
        )
        noted = deps.checkpoints.last(start.origin)
        if more := missing(noted, start, found):
            known, found = await _read(deps, state, more)
        found = up_to(noted, start, found)
        await check_older(deps.db, state, noted, start)
        keys = _log_keys(deps, state.org_id, known, start.end)
        given = _given(deps, state, start, found, trusted(keys, noted, start))
        now = deps.clock.now()
        made = make(given, now, ed25519.check, stream=streams)
        signed = Signed(made.tree.size, made.tree.root())
        check_noted(noted, start, signed)
        await asyncio.to_thread(deps.checkpoints.note, start.origin, signed)
        after = SealedTree(start.base, start.origin, made.tree, made.note, now, len(made.events))
        try:
            await deps.db.write(lambda unit: _store(unit, state.organization_no, found, after, made))
        except Duplicate:
            # Somebody has sent an event with the id of a checkpoint event. By chance: who knows all events of a log knows its next root.
            suffix = f"_{deps.random.random_bytes(8).hex()}"
            again = make(given, now, ed25519.check, stream=True, suffix=suffix)
            await deps.db.write(lambda unit: _store(unit, state.organization_no, found, after, again))
    except Overtaken:
        return 0
    except Broken as error:
        raise Refused(f"{error}: rows of the log were changed. {WAY_OUT}") from error
    except OSError as error:
        raise Unavailable(f"{deps.checkpoints.path} cannot be written: {error.strerror}") from error
    return len(found.bodies)


def _new_base(state: SealState) -> int | None:
    """Return where a new log begins: without one yet, or where events went that were never sealed, because proof was off."""
    if state.base is None or state.size is None:
        return state.oldest - 1
    return state.oldest - 1 if state.base + state.size + 1 < state.oldest else None


async def _read(deps: SealingDeps, state: SealState, most: int) -> tuple[list[ProofKey], Unsealed]:
    """Read keys and events at one moment: an event that tells of a key is not sealed by somebody who does not know that key."""
    base, names = _new_base(state), state.mode is ProofMode.STREAM

    def work(unit: Unit) -> tuple[list[ProofKey], Unsealed]:
        found = tree.read_unsealed(unit, state.organization_no, base, most, BYTES_MAX, names=names)
        return proof_keys.keys_of(unit, state.organization_no), found

    return await deps.db.read(work)


async def forget_retired_keys(deps: SealingDeps) -> int:
    """Forget the seeds of keys that sign no more. Returns: how many went, 0 when there is no more. Raises: Unavailable."""
    now = deps.clock.now()
    if not await deps.db.read(lambda unit: unit.rows("proof_keys_over", (now, 1))):
        return 0
    return await deps.db.write(lambda unit: proof_keys.forget_over(unit, now))


async def _make_key(deps: SealingDeps, state: SealState) -> None:
    """Make the organization's first key, and announce one that a receiver cannot know yet."""
    organization_no = state.organization_no
    known = await deps.db.read(lambda unit: proof_keys.keys_of(unit, organization_no))
    if not _is_ready(deps, state, known):
        seed = deps.random.random_bytes(ed25519.SEED_BYTES)
        await deps.db.write(lambda unit: _make_ready(unit, deps, state, seed))


def _is_ready(deps: SealingDeps, state: SealState, known: list[ProofKey]) -> bool:
    """Tell whether there is a key to sign with, and the log tells of it where somebody reads it there."""
    # In the mode `sealed` nothing is added to the log.
    announces = deps.audit_actions and state.mode is ProofMode.STREAM
    return _has_key(known) and (known[0].announced is not None or not announces)


def _has_key(known: list[ProofKey]) -> bool:
    return bool(known) and known[0].retired_at is None


def _make_ready(unit: Unit, deps: SealingDeps, state: SealState, seed: bytes) -> None:
    organization = state.organization_no, state.org_id
    known = proof_keys.keys_of(unit, state.organization_no)
    if not _has_key(known):
        pair = (seed, ed25519.public_key(seed))
        proof_keys.add_key(unit, deps.sealer, organization, pair, deps.clock.now())
        known = proof_keys.keys_of(unit, state.organization_no)
    if not _is_ready(deps, state, known):
        shown = {"epoch": known[0].epoch, "public_key": known[0].public.hex()}
        action = AdminAction("proof_key_create", "organization", state.org_id, after=shown)
        AuditWriter(SERVICE, deps.clock, deps.random).append(unit, *organization, action)
        proof_keys.announce(unit, state.organization_no, known[0])


def _log_keys(deps: SealingDeps, org_id: OrganizationId, known: list[ProofKey], end: int) -> list[LogKey]:
    """Return the keys of a log that is sealed up to a sequence: those that sign open, of the others the public half.

    Raises: Refused when one that signs does not open, or is not the one that its public half says.
    """
    signs = proof_keys.signing(known, end, deps.clock.now())
    return [
        LogKey(one.public, _signer(deps, org_id, one) if is_signing else None)
        for one, is_signing in zip(known, signs, strict=True)
    ]


def _signer(deps: SealingDeps, org_id: OrganizationId, key: ProofKey) -> Sign:
    try:
        seed = proof_keys.open_seed(deps.sealer, org_id, key)
    except Unavailable as error:
        # Only this log waits for it. The others go on.
        raise Refused(f"key {key.epoch} of {org_id} cannot be used: {error.explained}") from error
    if ed25519.public_key(seed) != key.public:
        raise Refused(
            f"key {key.epoch} of {org_id} is not the one that its public key says: its row was changed in the database. "
            "Restore the newest backup"
        )
    return ed25519.signer(seed)


def _given(
    deps: SealingDeps, state: SealState, start: SealedTree, found: Unsealed, keys: list[LogKey]
) -> Given:
    contents = None
    if state.mode is ProofMode.STREAM and _lists_contents(deps, found):
        contents = b"".join([content_digest(body) for body in found.bodies])
    return Given(
        org_id=state.org_id,
        origin=start.origin,
        base=start.base,
        tree=start.tree,
        note=start.note,
        opened=found.opened,
        bodies=found.bodies,
        ids=found.ids,
        labels=found.labels,
        keys=keys,
        contents=contents,
    )


def _lists_contents(deps: SealingDeps, found: Unsealed) -> bool:
    is_behind = found.head - found.first > BEHIND_SEALS * deps.events_max
    return deps.contents == "on" or (deps.contents == "auto" and not is_behind)


def _no_float(_: str) -> float:
    """Refuse a number that is not an integer: two programs write it differently."""
    raise ValueError


_DECODE = msgspec.json.Decoder(float_hook=_no_float).decode
_ENCODE = msgspec.json.Encoder(order="sorted").encode


def content_digest(body: bytes) -> bytes:
    """Return the content digest of an event, as the verifier makes it; zeros for one that the verifier could not read."""
    # Most events are ASCII without escapes and fractions. For these sorted, compact JSON is canonical, at a fraction of the cost.
    if body.isascii() and b"\\" not in body:
        try:
            canonical = _ENCODE(_DECODE(body))
        except (ValueError, RecursionError):
            canonical = b""  # a fraction, or no JSON at all: the verifier's own code says which
        # A name that occurs twice is lost, and its quotation marks with it.
        if canonical and canonical.count(b'"') == body.count(b'"'):
            return sha256(canonical).digest()[:CONTENT_BYTES]
    try:
        return digest(loads(body.decode()))
    except (Unreadable, UnicodeDecodeError, RecursionError):
        return bytes(CONTENT_BYTES)


def _store(
    unit: Unit, organization_no: OrganizationNo, found: Unsealed, after: SealedTree, made: Made
) -> None:
    """Store tree, tiles and checkpoint events. Raises: Overtaken."""
    tree.store_seal(unit, organization_no, found.before, after, made.tiles)
    if made.events:
        values, size = _values(made.events)
        append_events(unit, organization_no, values, size, after.sealed_at)


def _values(events: list[CheckpointEvent]) -> tuple[list[Value], int]:
    """Return the values of events to append, and their bytes."""
    values: list[Value] = []
    size = 0
    for event_id, body in events:
        encoded = body.encode()
        values += (event_id, CHECKPOINT_DATASET, None, body, checksum(encoded))
        size += len(encoded)
    return values, size
