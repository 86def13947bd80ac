"""The hashes of a sealed log told again, as checkpoint events without a note: for a receiver that has lost checkpoint events.

Nothing is hashed: the leaves are read from the tiles. The checkpoint events of the range that are still in the log are told too, as
they are stored: they are events of the log like all others.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET, Covered, Label, Seal, checkpoint_events
from aegis_stream.domain.merkle import HASH_BYTES, TILE_WIDTH, TileAt
from aegis_stream.errors import Conflict, FieldProblem, Invalid, StoreDamaged
from aegis_stream.store import tree
from aegis_stream.store.database import Unit
from aegis_stream.store.pages import read_page
from aegis_stream.store.tile_retention import first_leaf
from aegis_stream.store.tree import SealedTree

from .caller import Caller
from .deps import StoreDeps
from .log_proofs import tree_of

HASHES_MAX: Final = 4500
"""Most hashes of a call: 50 lines of about 6 KB, and at most as many checkpoint events, of which each covers an event at least."""


class Told(NamedTuple):
    """Hashes of neighbouring events.

    Args:
        lines: checkpoint events as JSON texts.
        last: the last sequence that they cover.
        following: first sequence of the next call; None at the end of what was asked for.
    """

    lines: list[str]
    last: int
    following: int | None


async def tell_again(deps: StoreDeps, caller: Caller, first: int | None, last: int | None) -> Told:
    """Return the hashes of the sealed events from one sequence to another, at most HASHES_MAX.

    Args:
        first, last: None for the first and the last event that is sealed.
    Raises: Invalid for events that the log does not cover. NotFound when nothing is sealed. Conflict when the hashes were removed by
        retention. Unavailable.
    """
    return await deps.db.read(lambda unit: _tell(unit, caller, first, last))


def _tell(unit: Unit, caller: Caller, first: int | None, last: int | None) -> Told:
    found = tree_of(unit, caller)
    no, base, end = caller.organization_no, found.base, found.end
    begin = base + 1 if first is None else first
    if not base < begin <= end:
        raise _invalid("first", f"must be {base + 1} to {end}, the sequences of the sealed events")
    stop = end if last is None else last
    if not begin <= stop <= end:
        raise _invalid("last", f"must be {begin} to {end}: not before first, and sealed")
    upto = min(stop, begin + HASHES_MAX - 1)
    leaves = _leaves(unit, caller, found, begin, upto)
    known: dict[int, str] = dict(unit.rows("event_ids", (no, begin, upto)))
    labels: dict[int, Label] = {
        sequence: (dataset, decision)
        for sequence, dataset, decision, _ in unit.rows("labels_after", (no, begin - 1, upto, HASHES_MAX))
    }
    span = range(begin, upto + 1)
    covered = Covered(
        begin,
        leaves,
        [known.get(one, "") for one in span],
        [labels.get(one, ("", None)) for one in span],
    )
    told = checkpoint_events(covered, Seal(caller.org_id, base, found.sealed_at, None, b""))
    own = [one for one in span if labels.get(one, ("", None))[0] == CHECKPOINT_DATASET]
    lines = [one.body for one in told] + _stored(unit, no, own)
    return Told(lines, upto, upto + 1 if upto < stop else None)


def _leaves(unit: Unit, caller: Caller, found: SealedTree, first: int, last: int) -> bytes:
    """Return the joined leaves of events. Raises: Conflict where they were removed. StoreDamaged where they are missing."""
    start, end = first - found.base - 1, last - found.base
    wanted = [TileAt(0, number) for number in range(start // TILE_WIDTH, (end - 1) // TILE_WIDTH + 1)]
    tiles = tree.read_tiles(unit, caller.organization_no, found.base, wanted)
    kept = first_leaf(unit, caller.organization_no, found)
    if start < kept:
        raise Conflict(
            f"the hashes of the events up to {found.base + kept} were removed, because AEGIS_PROOF_RETENTION_DAYS are over: ask for those "
            f"from {found.base + kept + 1} on",
            code="proof-removed",
        )
    joined = b"".join([tiles.get(at, b"") for at in wanted])
    skipped = wanted[0].number * TILE_WIDTH
    leaves = joined[(start - skipped) * HASH_BYTES : (end - skipped) * HASH_BYTES]
    if len(leaves) != (end - start) * HASH_BYTES:
        raise StoreDamaged(
            "the sealed log is damaged, hashes are missing: run `aegis doctor`, and restore a backup"
        )
    return leaves


def _stored(unit: Unit, no: int, sequences: Sequence[int]) -> list[str]:
    """Return the texts of stored events, without those that are damaged."""
    bodies = [read_page(unit, no, (one, one), 1, labels=False).bodies for one in sequences]
    return [body.decode() for page in bodies for body in page if body]


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))
