"""Proofs of a sealed log: its newest checkpoint, its keys, that an event is in it, that it continues an older checkpoint.

What a proof needs is read in the transaction that reads the tree, a few tiles whatever the size of the log.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aegis_stream.domain.merkle import HASH_BYTES, TILE_WIDTH, Broken, TileAt
from aegis_stream.domain.merkle_proof import Plan, consistency_plan, inclusion_plan
from aegis_stream.domain.note import Kind, LogProof, VerifierKey, parse_note
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Conflict, FieldProblem, Invalid, NotFound, StoreDamaged
from aegis_stream.store import log, organizations, proof_keys, tree
from aegis_stream.store.database import Unit
from aegis_stream.store.tile_retention import first_leaf
from aegis_stream.store.tree import SealedTree

from . import seal_request
from .caller import Caller
from .deps import ControlDeps, StoreDeps

AGAIN_S = 10
"""After so long an event that is not sealed is usually sealed, seconds."""


class Consistency(NamedTuple):
    """That a tree begins with an older one.

    Args:
        first, second: their sizes.
        hashes: of the proof, 32 bytes each.
    """

    first: int
    second: int
    hashes: list[bytes]


class EventStanding(NamedTuple):
    """Whether an event is sealed.

    Args:
        log: the newest log; None where none was begun.
        proof: in its newest checkpoint; None for an event before its first leaf, or behind its last one.
        key: that verifies the checkpoint, the newest; "" without a proof.
        problem: why there is no proof though the event is sealed: its hashes were removed, or are damaged; "" for none.
    """

    mode: ProofMode
    log: SealedTree | None
    proof: LogProof | None = None
    key: str = ""
    problem: str = ""


async def checkpoint(deps: StoreDeps, caller: Caller) -> SealedTree:
    """Return the newest tree, with its signed checkpoint. Raises: NotFound when nothing is sealed. Unavailable."""
    return await deps.db.read(lambda unit: tree_of(unit, caller))


async def seal_now(deps: ControlDeps, caller: Caller) -> SealedTree:
    """Have everything sealed that is recorded at the time of the call, and wait for it, at most `seal_request.WAIT_S`.

    Returns: a tree whose checkpoint covers it.
    Raises: as `seal_request.seal_now` does.
    """
    runs = deps.settings.proof.enabled
    return await seal_request.seal_now(deps, caller.org_id, deps.seal_waits, runs=runs)


async def keys(deps: StoreDeps, caller: Caller) -> list[str]:
    """Return the verifier keys of the log, the newest first. Raises: NotFound when nothing is sealed. Unavailable."""
    return await deps.db.read(lambda unit: keys_of(unit, caller, tree_of(unit, caller)))


def keys_of(unit: Unit, caller: Caller, found: SealedTree) -> list[str]:
    """Return the same of a tree that was read in this unit of work."""
    known = proof_keys.keys_of(unit, caller.organization_no)
    return [VerifierKey(found.origin, Kind.PLAIN, one.public).text for one in known]


async def of_event(deps: StoreDeps, caller: Caller, event_id: str) -> LogProof:
    """Return the proof that an event is in the newest tree.

    Raises: NotFound without such an event, or when nothing is sealed. Conflict for an event that no checkpoint covers. Unavailable.
    """

    def work(unit: Unit) -> LogProof:
        sequence = log.sequence_of(unit, caller.organization_no, event_id)
        if sequence is None:
            raise NotFound(
                "there is no event with this id in this organization; it may be older than the retention time"
            )
        found = tree_of(unit, caller)
        index = sequence - found.base - 1
        if index < 0:
            raise Conflict(
                f"event {sequence} was recorded before the log {found.origin} begins, at {found.base + 1}: it has no proof",
                code="not-sealed",
            )
        if index >= found.tree.size:
            raise Conflict(
                f"event {sequence} is not sealed yet; sealed are the events up to {found.end}: ask again in {AGAIN_S} seconds",
                code="not-sealed",
            )
        hashes = _hashes(unit, caller, found, inclusion_plan(index, found.tree.size))
        return LogProof(index, tuple(hashes), parse_note(found.note))

    return await deps.db.read(work)


async def standing_of(deps: StoreDeps, caller: Caller, sequence: int) -> EventStanding:
    """Return whether an event is sealed, with its proof. Raises: NotFound without the organization. Unavailable."""

    def work(unit: Unit) -> EventStanding:
        mode = organizations.find(unit, caller.org_id).proof
        found = tree.newest_tree(unit, caller.organization_no)
        index = sequence - found.base - 1 if found is not None else -1
        if found is None or not 0 <= index < found.tree.size:
            return EventStanding(mode, found)
        try:
            hashes = _hashes(unit, caller, found, inclusion_plan(index, found.tree.size))
        except (Conflict, StoreDamaged) as error:  # the event can be shown all the same
            return EventStanding(mode, found, problem=error.message)
        proof = LogProof(index, tuple(hashes), parse_note(found.note))
        return EventStanding(mode, found, proof, keys_of(unit, caller, found)[0])

    return await deps.db.read(work)


async def tile(deps: StoreDeps, caller: Caller, at: TileAt, width: int) -> bytes:
    """Return the first `width` hashes of a tile, 1 to TILE_WIDTH; they never change.

    Raises: NotFound when nothing is sealed, or the tile has not so many hashes yet. Unavailable.
    """

    def work(unit: Unit) -> bytes:
        found = tree_of(unit, caller)
        content = tree.read_tiles(unit, caller.organization_no, found.base, [at]).get(at, b"")
        there = len(content) // HASH_BYTES
        if there < width:
            way_out = f"ask for its first {there} with .p/{there}" if there else "wait until more is sealed"
            if not there and at.level == 0:
                kept = first_leaf(unit, caller.organization_no, found) // TILE_WIDTH
                if at.number < kept:
                    way_out = f"those below {kept} were removed, because AEGIS_PROOF_RETENTION_DAYS are over"
            raise NotFound(
                f"tile {at.number} of level {at.level} has {there} hashes, and not {width}, in the log of {found.tree.size} events: {way_out}"
            )
        return content[: width * HASH_BYTES]

    return await deps.db.read(work)


async def consistency(deps: StoreDeps, caller: Caller, first: int, second: int | None) -> Consistency:
    """Return the proof that the tree of size `second` begins with the one of size `first`.

    Args:
        second: None for the newest size.
    Raises: Invalid for sizes that the log never had, or in the wrong order. NotFound when nothing is sealed. Unavailable.
    """
    return await deps.db.read(lambda unit: consistency_of(unit, caller, tree_of(unit, caller), first, second))


def consistency_of(
    unit: Unit, caller: Caller, found: SealedTree, first: int, second: int | None
) -> Consistency:
    """Return the same of a tree that was read in this unit of work. Raises: as `consistency` does."""
    size = found.tree.size
    newer = size if second is None else second
    if not 1 <= newer <= size:
        raise _invalid("to_size", f"must be 1 to {size}, the size of the newest checkpoint")
    if not 1 <= first <= newer:
        raise _invalid("from_size", f"must be 1 to {newer}, the size of the newer checkpoint")
    return Consistency(first, newer, _hashes(unit, caller, found, consistency_plan(first, newer)))


def policy(keys: Iterable[str]) -> str:
    """Return verifier keys as a policy: a file that lists them (c2sp.org/tlog-policy)."""
    return "".join([*(f"log {key}\n" for key in keys), "quorum none\n"])


def tree_of(unit: Unit, caller: Caller) -> SealedTree:
    """Return the newest tree of the caller's organization that has a checkpoint. Raises: NotFound."""
    organizations.find(unit, caller.org_id)
    found = tree.newest_tree(unit, caller.organization_no)
    if found is None or not found.note:
        raise NotFound(
            "no event of this organization is sealed: its first checkpoint is not signed yet, its mode is off, or the operator runs the service with AEGIS_PROOF=false"
        )
    return found


def _hashes(unit: Unit, caller: Caller, found: SealedTree, plan: Plan) -> list[bytes]:
    try:
        tiles = tree.read_tiles(unit, caller.organization_no, found.base, plan.tiles())
        _check_kept(unit, caller, found, plan, tiles)
        return plan.hashes(tiles)
    except Broken as error:
        raise StoreDamaged(
            f"the sealed log is damaged ({error}): run `aegis doctor`, and restore a backup"
        ) from error


def _check_kept(
    unit: Unit, caller: Caller, found: SealedTree, plan: Plan, tiles: Mapping[TileAt, bytes]
) -> None:
    """Check that no hash is needed that retention has removed. Raises: Conflict."""
    missing = [at for at in plan.tiles() if at.level == 0 and at not in tiles]
    if not missing:
        return
    first = first_leaf(unit, caller.organization_no, found)
    if missing[0].number * TILE_WIDTH < first:
        raise Conflict(
            f"the hashes of the events up to {found.base + first} were removed, because AEGIS_PROOF_RETENTION_DAYS are over, and this "
            f"proof needs them: proofs are made for sizes from {first} on; one that was kept still holds",
            code="proof-removed",
        )


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))
