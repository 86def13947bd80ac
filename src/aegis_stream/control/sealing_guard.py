"""Compares a log that is to be sealed with what was signed here before, and with its keys. Called by `control.sealing`.

The database is not believed: it may be an older copy that was put in place, or somebody may have changed rows of it. What was signed
here stands outside it, in checkpoints.log, and only who has the master key can make a key that signs.
"""

from aegis_stream.domain.merkle import Broken
from aegis_stream.domain.merkle_proof import root_plan
from aegis_stream.pipeline.seal import Given, LogKey, check_last
from aegis_stream.store import tree
from aegis_stream.store.checkpoint_log import Signed
from aegis_stream.store.database import Database
from aegis_stream.store.inspection import SealedLog
from aegis_stream.store.tree import SealedTree, SealState, Unsealed
from aegis_stream.vault import ed25519

WAY_OUT = "Put the newest backup in place, or begin another log with `aegis proof restart`"
"""What an operator can do about a log that is refused."""


class Refused(Exception):
    """A log cannot be sealed before a person has looked at it. Its text says why."""


def trusted(keys: list[LogKey], noted: Signed | None, start: SealedTree) -> list[LogKey]:
    """Return the keys whose signature of the last note counts.

    Anybody who writes to the database can add a row of a key that is retired and has no seed. So such a key counts only for a
    checkpoint that was noted here.

    Raises: Refused when no key is left that signs: a note without a signature says nothing.
    """
    if all(key.sign is None for key in keys):
        raise Refused(f"no key of {start.origin} has a seed: its row was changed in the database. {WAY_OUT}")
    if _is_noted(noted, start):
        return keys
    return [key for key in keys if key.sign is not None]


def missing(noted: Signed | None, start: SealedTree, found: Unsealed) -> int:
    """Return how many events a seal must have at least, to come to what was noted; 0 when what was read is enough.

    The limit of a seal may have been lowered after the checkpoint was noted and before it was stored.
    """
    if (
        noted is None
        or start.tree.size + len(found.bodies) >= noted.size
        or start.base + noted.size > found.head
    ):
        return 0
    return noted.size - start.tree.size


def up_to(noted: Signed | None, start: SealedTree, found: Unsealed) -> Unsealed:
    """Return only the events up to a checkpoint that was noted, where the tree is behind it.

    Raises: Refused when the log has not so many events, or the tree is further behind than one seal that was not stored.
    """
    if noted is None or noted.size <= start.tree.size:
        return found
    most = noted.size - start.tree.size
    if len(found.bodies) < most:
        raise _older_copy(noted, start, found.head)
    return found._replace(bodies=found.bodies[:most], ids=found.ids[:most], labels=found.labels[:most])


def check_noted(noted: Signed | None, start: SealedTree, signed: Signed) -> None:
    """Check that a size that was signed before has the same root.

    Args:
        start: the tree to continue.
        signed: what is to be signed.
    Raises: Refused.
    """
    same = (signed, Signed(start.tree.size, start.tree.root()))
    if noted is not None and any(noted.size == one.size and noted.root != one.root for one in same):
        raise _other_root(noted, start)


def fault_at_rest(found: SealedLog, noted: Signed | None) -> str:
    """Return why the next seal of a log would be refused, as far as that shows without reading its events; "" for no reason."""
    start = found.tree
    if start is None:
        return ""
    keys = [LogKey(one.public, None) for one in found.keys if one.sealed_seed or _is_noted(noted, start)]
    given = Given(
        found.state.org_id,
        start.origin,
        start.base,
        start.tree,
        start.note,
        found.opened,
        bodies=(),
        ids=(),
        labels=(),
        keys=keys,
    )
    try:
        check_last(given, ed25519.check)
        check_noted(noted, start, Signed(start.tree.size, start.tree.root()))
        # A checkpoint that was noted and not stored is sealed first by the next seal, if its events are there.
        if noted is not None and start.base + noted.size > found.state.head:
            raise _older_copy(noted, start, found.state.head)
    except (Broken, Refused) as error:
        return str(error)
    return ""


def _is_noted(noted: Signed | None, start: SealedTree) -> bool:
    return noted == Signed(start.tree.size, start.tree.root())


def _older_copy(noted: Signed, start: SealedTree, head: int) -> Refused:
    return Refused(
        f"checkpoint {noted.size} of {start.origin} was signed, and the database is back at {start.tree.size} with events up to "
        f"{head - start.base}: an older copy was put in place. Put the newest backup in place, or begin another log with "
        "`aegis proof restart`"
    )


async def check_older(db: Database, state: SealState, noted: Signed | None, start: SealedTree) -> None:
    """Check that a tree continues the checkpoint that was noted here, where other processes have sealed it since.

    Raises: Refused. Unavailable.
    """
    if noted is None or not 0 < noted.size < start.tree.size:
        return
    plan = root_plan(noted.size)
    tiles = await db.read(lambda unit: tree.read_tiles(unit, state.organization_no, start.base, plan.tiles()))
    try:
        [root] = plan.hashes(tiles)
    except Broken as error:
        # Tiles under events that retention has removed may be gone.
        if start.base + noted.size < state.oldest:
            return
        raise Refused(f"{error}: rows of the tree were removed. {WAY_OUT}") from error
    if root != noted.root:
        raise _other_root(noted, start)


def _other_root(noted: Signed, start: SealedTree) -> Refused:
    return Refused(
        f"checkpoint {noted.size} of {start.origin} was signed with another root: the database was put back to an older state and went "
        f"on from there, or rows of it were changed. {WAY_OUT}"
    )
