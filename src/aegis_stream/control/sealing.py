"""Seals the log of one organization: reads what is new, signs it, stores it. Called by the sealer.

The order makes a kill harmless at every point: the checkpoint is noted outside the database before it is stored, and stored before
anybody can see it. What was noted and not stored is sealed first the next time, at exactly that size, and must give the same root.
"""

import asyncio
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from aegis_stream.domain.audit import Actor, AdminAction
from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET, CONTENT_BYTES, CheckpointEvent
from aegis_stream.domain.event import checksum
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import EMPTY, Broken
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.seal import Given, LogKey, Made, make
from aegis_stream.ports import Clock, Random, Sealer
from aegis_stream.store import proof_keys, tree
from aegis_stream.store.append import append_events
from aegis_stream.store.audit_writer import AuditWriter
from aegis_stream.store.checkpoint_log import CheckpointLog, Signed
from aegis_stream.store.database import Database, Duplicate, Unit, Value
from aegis_stream.store.tree import Overtaken, SealedTree, SealState, Unsealed
from aegis_stream.vault import ed25519
from aegis_stream.verify.content import Unreadable, digest, loads

SERVICE = Actor("service", "aegis service", "service")
"""Who makes keys."""
BYTES_MAX = 16 << 20
"""Most bytes of the events of one seal: memory of the sealer is a few times that."""
BEHIND_SEALS = 4
"""So many seals behind, content digests are left out: they are two thirds of the work."""


class Refused(Exception):
    """A log cannot be sealed before a person has looked at it. Its text says why."""


@dataclass(frozen=True, slots=True)
class SealingDeps:
    """What sealing needs.

    Args:
        origin: first part of the names of logs; neither spaces nor plus signs.
        events_max: most events of one seal.
        audit_actions: whether the making of a key is recorded in the log of its organization, in the mode `stream`.
    """

    db: Database
    sealer: Sealer
    clock: Clock
    random: Random
    checkpoints: CheckpointLog
    origin: str
    events_max: int
    audit_actions: bool


async def seal(deps: SealingDeps, state: SealState) -> int:
    """Seal the next events of a log, at most `events_max`; without new ones sign the tree again.

    Returns: how many events it covered; 0 when another process was faster too.
    Raises: Refused when the log must not be sealed. Unavailable: then it may or may not be stored, and can be tried again.
    """
    try:
        keys = await _keys(deps, state)
        base = _new_base(state)
        found = await deps.db.read(
            lambda unit: tree.read_unsealed(
                unit,
                state.organization_no,
                base,
                deps.events_max,
                BYTES_MAX,
                names=state.mode is ProofMode.STREAM,
            )
        )
        start = found.before or SealedTree(
            base or 0, log_name(deps.origin, state.org_id, base or 0), EMPTY, "", deps.clock.now()
        )
        noted = deps.checkpoints.last(start.origin)
        found = _up_to(noted, start, found)
        given = _given(
            state, start, found, keys, behind=found.head - found.first > BEHIND_SEALS * deps.events_max
        )
        now = deps.clock.now()
        made = make(given, now, ed25519.check, stream=state.mode is ProofMode.STREAM)
        _check_noted(noted, start, made)
        await asyncio.to_thread(deps.checkpoints.note, start.origin, Signed(made.tree.size, made.tree.root()))
        after = SealedTree(start.base, start.origin, made.tree, made.note, now, len(made.events))
        try:
            await deps.db.write(lambda unit: _store(unit, state.organization_no, found, after, made))
        except Duplicate:
            # Somebody has sent an event with the id of a checkpoint event. Nobody knows a root before it is there.
            suffix = f"_{made.tree.root().hex()[:16]}"
            again = make(given, now, ed25519.check, stream=True, suffix=suffix)
            await deps.db.write(lambda unit: _store(unit, state.organization_no, found, after, again))
    except Overtaken:
        return 0
    except Broken as error:
        raise Refused(str(error)) from error
    except OSError as error:
        raise Unavailable(f"{deps.checkpoints.path} cannot be written: {error.strerror}") from error
    return len(found.bodies)


def log_name(first: str, org_id: OrganizationId, base: int) -> str:
    """Return the name of a log; one that does not begin with the organization's first event says where it begins."""
    return f"{first}/{org_id}" if not base else f"{first}/{org_id}@{base + 1}"


def _new_base(state: SealState) -> int | None:
    """Return where a new log begins: without one yet, or where events went that were never sealed, because proof was off."""
    if state.base is None or state.size is None:
        return state.oldest - 1
    return state.oldest - 1 if state.base + state.size + 1 < state.oldest else None


async def _keys(deps: SealingDeps, state: SealState) -> list[LogKey]:
    """Return the organization's keys, the newest first; make the first one."""
    organization_no, org_id = state.organization_no, state.org_id
    known = await deps.db.read(lambda unit: proof_keys.keys_of(unit, organization_no))
    if not known or known[0].retired_at is not None:
        seed = deps.random.random_bytes(ed25519.SEED_BYTES)
        known = await deps.db.write(lambda unit: _make_key(unit, deps, state, seed))
    return [
        LogKey(
            one.public,
            ed25519.signer(proof_keys.open_seed(deps.sealer, org_id, one))
            if one.retired_at is None
            else None,
        )
        for one in known
    ]


def _make_key(unit: Unit, deps: SealingDeps, state: SealState, seed: bytes) -> list[proof_keys.ProofKey]:
    organization = state.organization_no, state.org_id
    known = proof_keys.keys_of(unit, state.organization_no)
    if known and known[0].retired_at is None:
        return known  # another process was faster
    pair = (seed, ed25519.public_key(seed))
    made = proof_keys.add_key(unit, deps.sealer, organization, pair, deps.clock.now())
    # In the mode `sealed` nothing is added to the log.
    if deps.audit_actions and state.mode is ProofMode.STREAM:
        shown = {"epoch": made.epoch, "public_key": made.public.hex()}
        action = AdminAction("proof_key_create", "organization", state.org_id, after=shown)
        AuditWriter(SERVICE, deps.clock, deps.random).append(unit, *organization, action)
    return proof_keys.keys_of(unit, state.organization_no)


def _up_to(noted: Signed | None, start: SealedTree, found: Unsealed) -> Unsealed:
    """Return only the events up to a checkpoint that was noted, where the tree is behind it.

    Raises: Refused when the log has not so many events, or the tree is further behind than one seal that was not stored.
    """
    if noted is None or noted.size <= start.tree.size:
        return found
    most = noted.size - start.tree.size
    if len(found.bodies) < most:
        raise Refused(
            f"checkpoint {noted.size} of {start.origin} was signed, and the database is back at {start.tree.size} with events up to "
            f"{found.head - start.base}: an older copy was put in place. Put the newest backup in place, or begin another log with "
            "`aegis proof restart`"
        )
    return found._replace(bodies=found.bodies[:most], ids=found.ids[:most], labels=found.labels[:most])


def _check_noted(noted: Signed | None, start: SealedTree, made: Made) -> None:
    """Check that a size that was signed before has the same root. Raises: Refused."""
    known = noted is not None and noted.size == made.tree.size and noted.root != made.tree.root()
    before = noted is not None and noted.size == start.tree.size and noted.root != start.tree.root()
    if known or before:
        raise Refused(
            f"checkpoint {noted.size if noted else 0} of {start.origin} was signed with another root: the database was put back to an "
            "older state and went on from there. Begin another log with `aegis proof restart`"
        )


def _given(
    state: SealState, start: SealedTree, found: Unsealed, keys: list[LogKey], *, behind: bool
) -> Given:
    contents = None
    if state.mode is ProofMode.STREAM and not behind:
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
