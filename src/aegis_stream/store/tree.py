"""Sealed logs as they are stored: trees, tiles and signed notes. Functions of a unit of work.

A seal reads in one unit and writes in another: the events of a log never change, and `store_seal` stores nothing when the tree is no
longer the one that was read. So two processes that seal the same log never sign two histories.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aegis_stream.domain.checkpoint import Label
from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import Broken, TileAt, Tree, open_tiles
from aegis_stream.domain.organization import ProofMode

from .database import Row, Unit
from .pages import read_page

ORGANIZATIONS_AT_ONCE = 1000
"""Most organizations that one look for work reads."""


class Overtaken(Exception):
    """Another process has sealed the log meanwhile: nothing of this unit of work is stored."""


class SealedTree(NamedTuple):
    """A sealed log.

    Args:
        base: sequences of the organization's log before it begins; its leaf 0 is the event base + 1.
        origin: its name, which never changes.
        note: the signed checkpoint of the tree, as text; "" for a log that is to begin again, and has no leaf yet.
        own: checkpoint events that its last seal appended.
    """

    base: int
    origin: str
    tree: Tree
    note: str
    sealed_at: Micros
    own: int = 0

    @property
    def end(self) -> int:
        """The last sequence that is sealed."""
        return self.base + self.tree.size


class SealState(NamedTuple):
    """How far one organization's log is sealed.

    Args:
        oldest, head: sequences of the log's first event and of its last.
        base, size, sealed_at, own: of the newest tree; None without one.
        beats: checkpoint events travel to a destination.
    """

    organization_no: OrganizationNo
    org_id: OrganizationId
    mode: ProofMode
    oldest: int
    head: int
    base: int | None
    size: int | None
    sealed_at: Micros | None
    own: int | None
    beats: bool

    @property
    def end(self) -> int:
        """The last sequence that is sealed."""
        return self.oldest - 1 if self.base is None or self.size is None else self.base + self.size

    @property
    def unsealed(self) -> int:
        """How many events of the log no seal covers."""
        return max(0, self.head - self.end)


class Unsealed(NamedTuple):
    """The next events of a log to be sealed, and all that is needed to seal them, read at one moment.

    Args:
        before: the tree that they continue; None for a log that begins with them.
        head: the log's last sequence.
        first: sequence of the first of them.
        bodies: their stored bytes; empty for an event that is missing or damaged.
        ids, labels: event.id, and dataset and decision, of each; "" for one that is missing.
        opened: the tiles that their leaves continue.
    """

    before: SealedTree | None
    head: int
    first: int
    bodies: list[bytes]
    ids: list[str]
    labels: list[Label]
    opened: dict[TileAt, bytes]


def seal_states(unit: Unit, after: int, limit: int = ORGANIZATIONS_AT_ONCE) -> list[SealState]:
    """Return the organizations that are sealed and have events, after the one numbered `after`; at most `limit`."""
    return [_state(row) for row in unit.rows("seal_states", (after, limit))]


def seal_state(unit: Unit, organization_no: OrganizationNo) -> SealState | None:
    """Return how far one organization's log is sealed; None while it is not sealed, or has no events."""
    found = seal_states(unit, organization_no - 1, 1)
    return found[0] if found and found[0].organization_no == organization_no else None


def asked_states(unit: Unit, limit: int = ORGANIZATIONS_AT_ONCE) -> list[tuple[int, SealState]]:
    """Return the logs that somebody wants to have sealed, at most `limit`, and up to which sequence; without those refused."""
    return [(up_to, _state(row)) for up_to, *row in unit.rows("asked_states", (limit,))]


def ask_seal(unit: Unit, organization_no: OrganizationNo, up_to: int) -> None:
    """Store that somebody wants a log to be sealed up to a sequence; the sealer sees it when it looks."""
    unit.run("ask_seal", (organization_no, up_to))


def refuse_seal(unit: Unit, organization_no: OrganizationNo, reason: str) -> None:
    """Store why a log is not sealed that somebody wants to have sealed."""
    unit.run("refuse_seal", (reason, organization_no))


def seal_refusal(unit: Unit, organization_no: OrganizationNo) -> str:
    """Return why a log was not sealed when it was asked for last; "" for no reason."""
    row = unit.row("seal_refusal", (organization_no,))
    return "" if row is None else str(row[0])


def newest_tree(unit: Unit, organization_no: OrganizationNo) -> SealedTree | None:
    """Return the sealed log of an organization; None when nothing was sealed yet."""
    row = unit.row("newest_tree", (organization_no,))
    return _tree(row) if row is not None else None


def ended_trees(unit: Unit, organization_no: OrganizationNo, limit: int) -> list[SealedTree]:
    """Return the sealed logs of an organization that ended, as they were signed last; the last that ended first, at most `limit`."""
    return [_tree(row) for row in unit.rows("ended_trees", (organization_no, limit))]


def read_tiles(
    unit: Unit, organization_no: OrganizationNo, base: int, wanted: Iterable[TileAt]
) -> dict[TileAt, bytes]:
    """Return tiles of a tree; those that are not stored are missing."""
    tiles = list(wanted)
    rows = unit.each([("tile", (organization_no, base, at.level, at.number)) for at in tiles])
    return {at: bytes(row[0]) for at, row in zip(tiles, rows, strict=True) if row is not None}


def read_unsealed(
    unit: Unit,
    organization_no: OrganizationNo,
    new_base: int | None,
    most: int,
    bytes_max: int,
    *,
    names: bool = True,
) -> Unsealed:
    """Return the next events to be sealed, at most `most`, as far as `bytes_max` allows but at least one, if there are any.

    Tree, tiles and events are read in one unit: tiles of a later moment would not fit the tree.

    Args:
        new_base: where a log begins that has no tree yet, or begins again: sequences before it. None to go on with the newest tree.
        names: whether ids and labels are needed; without, they are empty, and reading costs half.
    Raises: Broken when tiles are there and their tree is gone. Overtaken when another process has begun the log meanwhile.
    """
    newest = newest_tree(unit, organization_no)
    if newest is None and unit.row("any_tile", (organization_no,)) is not None:
        raise Broken("the row of the tree is gone, and its tiles are there")
    if new_base is not None and newest is not None and newest.base >= new_base and newest.tree.size > 0:
        raise Overtaken
    before = newest if new_base is None else None
    base, size = (new_base or 0, 0) if before is None else (before.base, before.tree.size)
    first = base + size + 1
    # A tree without leaves has no tile: one that is there is of a tree that had some.
    opened = read_tiles(unit, organization_no, base, open_tiles(size) or [TileAt(0, 0)])
    row = unit.row("head_of", (organization_no,))
    head = row[0] if row is not None else 0
    last = min(head, first + most - 1)
    if last < first:
        return Unsealed(before, head, first, [], [], [], opened)
    page = read_page(unit, organization_no, (first, last), bytes_max, labels=names)
    if page.labels is None:
        return Unsealed(before, head, first, page.bodies, [], [], opened)
    known: dict[int, str] = dict(
        unit.rows("event_ids", (organization_no, first, first + len(page.bodies) - 1))
    )
    ids = [known.get(first + place, "") for place in range(len(page.bodies))]
    return Unsealed(before, head, first, page.bodies, ids, page.labels, opened)


def store_seal(
    unit: Unit,
    organization_no: OrganizationNo,
    before: SealedTree | None,
    after: SealedTree,
    tiles: dict[TileAt, bytes],
) -> None:
    """Store that a tree has grown and was signed; the first time, or for a log that begins again, that it is there.

    Args:
        before: the tree as it was read; None for a new one.
        tiles: the whole content of those that changed.
    Raises: Overtaken when it is no longer as it was read; let it pass, so that the unit of work is undone.
    """
    if before is None:
        stored = unit.run(
            "insert_tree",
            (
                organization_no,
                after.base,
                after.origin,
                *after.tree,
                after.note,
                after.sealed_at,
                after.own,
            ),
        )
    else:
        stored = unit.run(
            "advance_tree",
            (
                *after.tree,
                after.note,
                # An idle log is signed again without growing: its time must differ, or two processes could both have signed.
                after.sealed_at,
                after.own,
                organization_no,
                before.base,
                before.tree.size,
                before.sealed_at,
            ),
        )
    if not stored:
        raise Overtaken
    unit.run("end_seal_request", (organization_no, after.end))
    unit.run("add_to_counter", (1, "proof_seals"))
    unit.each(
        [
            ("store_tile", (organization_no, after.base, at.level, at.number, tiles[at], after.sealed_at))
            for at in sorted(tiles)
        ]
    )


def instance(unit: Unit) -> int:
    """Return the number that stands in the names of sealed logs where the operator has chosen no name; 32 bits."""
    row = unit.row("proof_instance")
    assert row is not None, "the schema has one"
    return int(row[0])


def _state(row: Sequence[Any]) -> SealState:
    no, org_id, mode, oldest, head, base, size, sealed_at, own, beats = row
    return SealState(no, org_id, ProofMode(mode), oldest, head, base, size, sealed_at, own, bool(beats))


def set_mode(unit: Unit, organization_no: OrganizationNo, mode: ProofMode) -> None:
    """Store whether and how an organization's log is sealed."""
    unit.run("set_proof", (mode.value, organization_no))


def _tree(row: Row) -> SealedTree:
    base, origin, size, frontier, *rest = row
    return SealedTree(base, origin, Tree(size, bytes(frontier)), *rest)
