"""When a log is sealed, and what a seal is: pure, from what was read to what is to be stored.

A seal checks the tree that it continues before it signs anything: the tiles must be those that the frontier was hashed from, the
frontier must give the root of the last note, and one of the organization's keys must have signed that note. So whoever changes rows of
the database without the key stops the seals. The caller says which keys count, and compares with what was signed before.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aegis_stream.domain import merkle
from aegis_stream.domain.checkpoint import (
    LEAVES_PER_EVENT,
    CheckpointEvent,
    Covered,
    Label,
    Seal,
    checkpoint_events,
)
from aegis_stream.domain.ids import SECOND, Micros, OrganizationId
from aegis_stream.domain.merkle import Broken, TileAt, Tree
from aegis_stream.domain.note import (
    Check,
    Checkpoint,
    Kind,
    Note,
    Sign,
    Signature,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    sign_plain,
    sign_timed,
)
from aegis_stream.errors import Invalid

STREAM_EVENTS_MIN = 2
"""A seal in the mode `stream` covers at least so many events where there are: it appends one, so with one it would never come to rest."""


class Pace(NamedTuple):
    """How often a log is sealed.

    Args:
        events_max: so many unsealed events are sealed at once; also the most of one seal.
        pause_us: fewer are sealed when the last seal is so old.
        heartbeat_us: a log without news is sealed again when the last seal is so old; 0 for never.
    """

    events_max: int = 4096
    pause_us: int = 10 * SECOND
    heartbeat_us: int = 3600 * SECOND


class SealProgress(NamedTuple):
    """How far a log is sealed.

    Args:
        unsealed: events that no seal covers.
        own: of these, so many may be checkpoint events of the last seal: they are no news.
        sealed_at: None for a log that was never sealed.
        beats: whether somebody waits for a sign of life: checkpoint events travel to a destination.
    """

    unsealed: int
    own: int
    sealed_at: Micros | None
    beats: bool


class LogKey(NamedTuple):
    """A key that signs a log's notes, or did.

    Args:
        public: Ed25519.
        sign: signs with it; None for one that is retired, by which older notes are verified.
    """

    public: bytes
    sign: Sign | None


class Given(NamedTuple):
    """What a seal is made from.

    Args:
        origin: the log's name.
        base: sequences of the organization's log before the sealed one begins.
        tree, note: the tree to continue, and the signed note of it; EMPTY and "" for a new log.
        opened: the tiles that the leaves continue.
        bodies, ids, labels: the next events; empty to sign the same tree again.
        keys: those whose signature of the last note counts; at least one signs.
        contents: content digests of the events, joined; None to leave them out.
    """

    org_id: OrganizationId
    origin: str
    base: int
    tree: Tree
    note: str
    opened: Mapping[TileAt, bytes]
    bodies: Sequence[bytes]
    ids: Sequence[str]
    labels: Sequence[Label]
    keys: Sequence[LogKey]
    contents: bytes | None = None


class Made(NamedTuple):
    """A seal, to be stored as a whole.

    Args:
        tiles: whole content of those that changed.
        events: checkpoint events for the log.
    """

    tree: Tree
    note: str
    tiles: dict[TileAt, bytes]
    events: list[CheckpointEvent]


def is_due(progress: SealProgress, pace: Pace, now: Micros) -> bool:
    """Tell whether a log is to be sealed now."""
    if progress.unsealed - progress.own >= pace.events_max:
        return True
    # A clock that was set back must not stop the seals until it has caught up.
    age_us = None if progress.sealed_at is None else abs(now - progress.sealed_at)
    if progress.unsealed > progress.own:
        return age_us is None or age_us >= pace.pause_us
    beats = progress.beats and pace.heartbeat_us > 0
    return beats and progress.unsealed > 0 and age_us is not None and age_us >= pace.heartbeat_us


def own_events(covered: int) -> int:
    """Return how many checkpoint events a seal of so many events appends in the mode `stream`."""
    return -(-covered // LEAVES_PER_EVENT)


def make(given: Given, at: Micros, check: Check, *, stream: bool, suffix: str = "") -> Made:
    """Make a seal: grow the tree by the next events, and sign it.

    Args:
        at: the time of the seal.
        stream: make the checkpoint events too.
        suffix: of their ids.
    Raises: Broken when tree, tiles and last note contradict each other; then nothing may be stored, or be signed ever after.
    """
    check_last(given, check)
    tree, tiles = given.tree, dict[TileAt, bytes]()
    leaves = merkle.leaf_hashes(given.bodies)
    if leaves:
        tree, tiles = merkle.grow(given.tree, given.opened, leaves)
    text = Checkpoint(given.origin, tree.size, tree.root()).text
    note = str(
        Note(text, tuple(line for key in given.keys for line in _signatures(given.origin, key, text, at)))
    )
    if not (stream and leaves):
        return Made(tree, note, tiles, [])
    first = given.base + given.tree.size + 1
    covered = Covered(first, leaves, given.ids, given.labels, given.contents)
    return Made(
        tree,
        note,
        tiles,
        checkpoint_events(covered, Seal(given.org_id, given.base, at, note, tree.frontier, suffix)),
    )


def check_last(given: Given, check: Check) -> None:
    """Check that the tree to continue is the one that was signed last. Raises: Broken."""
    merkle.check_tiles(given.tree, given.opened)
    if not given.note:
        if given.tree.size:
            raise Broken("a tree that has leaves has no signed note")
        return
    try:
        note = parse_note(given.note)
        signed = note.signed_by(_known(given), check)
        said = parse_checkpoint(note.text)
    except Invalid as error:
        raise Broken(f"the last note cannot be verified: {error.message}") from error
    if not signed:
        raise Broken("none of the organization's keys has signed the last note")
    if said != Checkpoint(given.origin, given.tree.size, given.tree.root()):
        raise Broken(f"the tree of {given.tree.size} leaves is not the one that was signed last")


def _known(given: Given) -> list[VerifierKey]:
    return [VerifierKey(given.origin, kind, key.public) for key in given.keys for kind in Kind]


def _signatures(origin: str, key: LogKey, text: str, at: Micros) -> list[Signature]:
    if key.sign is None:
        return []
    plain = VerifierKey(origin, Kind.PLAIN, key.public)
    return [
        sign_plain(text, plain, key.sign),
        sign_timed(text, plain._replace(kind=Kind.TIMED), at // SECOND, key.sign),
    ]
