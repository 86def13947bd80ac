"""All sealed records together: which master key they are sealed with, and how another key replaces it.

`destinations` seals and opens the records of one destination; this module is about all of them: functions of a unit of
work. The current master key is a row of the database, read inside every transaction that seals: so nothing is sealed with
an old key once a new one is registered, however many processes write.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from aegis_stream.domain.audit import AdminAction
from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.ports import Place, Sealer

from .database import Database, Unit
from .sealed_row import SEALED, rewrap_row

DESTINATIONS_PER_STEP = 50
"""Destinations whose records one transaction seals anew: a few milliseconds, so that no other write waits long."""
_SENTINEL = Place("", "", "sentinel")


Record = Callable[[Unit, OrganizationNo, OrganizationId, AdminAction], None]
"""Records an administrative action in the organization's log, in the transaction of that action (store/audit_writer.py)."""


class SealingKey(NamedTuple):
    """The current master key, as the database knows it."""

    key_id: bytes
    sentinel: bytes
    rewrapped_at: Micros | None


class Step(NamedTuple):
    """What one transaction of a rotation did.

    Args:
        last_no: the last destination read; None when there was none left.
        rewrapped: destinations whose records are sealed with the new key now.
        broken: ids of destinations with a record that does not open.
    """

    last_no: int | None
    rewrapped: int
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredSecrets:
    """All sealed records of a database: each method runs one function of a unit of work."""

    db: Database
    sealer: Sealer

    def check(self, now: Micros) -> None:
        """Make sure at the start that the master keys are the right ones; register the key in a database without any.

        Raises: Misconfigured, with what to do.
        """
        key = self.db.read_now(sealing_key)
        if key is None:
            key = self.db.write_now(lambda unit: register_first(unit, self.sealer, now))
        if not opens_sentinel(self.sealer, key):
            raise _wrong_key(key.key_id, self.sealer.newest)
        if key.rewrapped_at is None:
            for key_id in self.db.read_now(_known_keys_in_use):
                if not self.sealer.holds(key_id):
                    raise _wrong_key(key_id, self.sealer.newest)

    async def sealing_key(self) -> SealingKey | None:
        """Return the current master key, or None."""
        return await self.db.read(sealing_key)

    async def keys_in_use(self) -> set[bytes]:
        """Return the ids of all master keys that records are sealed with."""
        return await self.db.read(keys_in_use)

    async def knows(self, key_id: bytes) -> bool:
        """Tell whether a master key is or was registered."""
        return await self.db.read(lambda unit: is_registered(unit, key_id))

    async def keys_needed(self) -> set[bytes]:
        """Return the ids of the master keys without which something does not open or cannot be sealed."""
        return await self.db.read(keys_needed)

    async def count_to_rewrap(self, key_id: bytes) -> int:
        """Return how many destinations have records that are not sealed as they would be now."""
        return await self.db.read(lambda unit: count_to_rewrap(unit, self.sealer.stamp(key_id)))

    async def begin(self, key_id: bytes, now: Micros) -> None:
        """Seal with this master key from now on: see `register`. Raises: Misconfigured, Unavailable."""
        await self.db.write(lambda unit: register(unit, self.sealer, key_id, now))

    async def rewrap_step(self, key_id: bytes, after_no: int, record: Record | None = None) -> Step:
        """Seal the records of the next destinations with a master key: see `rewrap_some`. Raises: Unavailable."""
        return await self.db.write(lambda unit: rewrap_some(unit, self.sealer, key_id, after_no, record))

    async def finish(self, key_id: bytes, now: Micros) -> None:
        """Note that no record is sealed with an older key any more. Raises: Unavailable."""
        await self.db.write(lambda unit: unit.run("finish_rewrapping", (now, key_id)))


def operator_key(unit: Unit) -> bytes | None:
    """Return the SHA-256 of the operator key; None where none is recorded."""
    row = unit.row("operator_key")
    return bytes(row[0]) if row is not None else None


def record_operator_key(unit: Unit, digest: bytes) -> None:
    """Record the SHA-256 of the operator key, in place of an older one."""
    unit.run("record_operator_key", (digest, unit.now()))


def sealing_key(unit: Unit) -> SealingKey | None:
    """Return the current master key; None in a database without any yet."""
    row = unit.row("sealing_key")
    return SealingKey(*row) if row is not None else None


def register_first(unit: Unit, sealer: Sealer, now: Micros) -> SealingKey:
    """Register the newest key in a database without any: it is new, or of the version before.

    Raises: Misconfigured when records are sealed, and with none of the keys given.
    """
    key = sealing_key(unit)
    if key is not None:
        return key  # another process was quicker
    in_use = keys_in_use(unit)
    # One of them is enough: any other is of a damaged record, or of one sealed with a key given up long ago.
    if in_use and not any(sealer.holds(key_id) for key_id in in_use):
        raise _wrong_key(min(in_use), sealer.newest)
    newest = sealer.newest
    return _insert(unit, sealer, newest, now, now if in_use <= {newest} else None)


def register(unit: Unit, sealer: Sealer, key_id: bytes, now: Micros) -> None:
    """Make a master key the current one; nothing happens if it is already.

    Raises: Misconfigured when it was registered before another one: an old key never comes back.
    """
    key = sealing_key(unit)
    if key is not None and key.key_id == key_id:
        return
    if is_registered(unit, key_id):
        raise Misconfigured(
            f"master key {key_id.hex()} stands first and is older than the one in use"
            f"{f' ({key.key_id.hex()})' if key else ''}: the new key must stand first"
        )
    _insert(unit, sealer, key_id, now, None)


def is_registered(unit: Unit, key_id: bytes) -> bool:
    """Tell whether a master key is or was registered."""
    return unit.row("master_key_by_id", (key_id,)) is not None


def rewrap_some(
    unit: Unit, sealer: Sealer, key_id: bytes, after_no: int, record: Record | None = None
) -> Step:
    """Seal the records of the next destinations with a master key.

    Args:
        after_no: the last destination of the step before; 0 to begin.
        record: tells each organization how many of its destinations were sealed anew.
    """
    stamp = sealer.stamp(key_id)
    rows = unit.rows("records_to_rewrap", (after_no, *(stamp,) * len(SEALED), DESTINATIONS_PER_STEP))
    done, broken = Counter[tuple[OrganizationNo, OrganizationId]](), []
    for no, org_no, org_id, dst_id, spec, *sealed in rows:
        try:
            fresh = rewrap_row(sealer, (org_id, dst_id), spec, tuple(sealed), key_id)
        except Unavailable:
            broken.append(dst_id)
            continue
        unit.run("rewrap_destination", (*fresh, no))
        done[org_no, org_id] += 1
    if record is not None:
        for (org_no, org_id), count in sorted(done.items()):  # the order in which all lock the heads of logs
            record(unit, org_no, org_id, AdminAction("vault_rotate", "organization", org_id, count=count))
    return Step(rows[-1][0] if rows else None, done.total(), tuple(broken))


def keys_in_use(unit: Unit) -> set[bytes]:
    """Return the ids of all master keys that records are sealed with."""
    return {bytes(row[0]) for row in unit.rows("master_keys_in_use")}


def keys_needed(unit: Unit) -> set[bytes]:
    """Return the ids of the master keys without which something does not open or cannot be sealed."""
    key = sealing_key(unit)
    return {key.key_id, *_known_keys_in_use(unit)} if key is not None else keys_in_use(unit)


def count_to_rewrap(unit: Unit, stamp: bytes) -> int:
    """Return how many destinations have records that do not begin with this stamp."""
    row = unit.row("count_records_to_rewrap", (stamp,) * len(SEALED))
    assert row is not None, "a count has one row"
    return int(row[0])


def opens_sentinel(sealer: Sealer, key: SealingKey) -> bool:
    """Tell whether the current master key is among those given, and is the right one."""
    if not sealer.holds(key.key_id):
        return False
    try:
        sealer.open(key.sentinel, _SENTINEL)
    except Unavailable:
        return False
    return True


def needs_a_key(unit: Unit) -> bool:
    """Tell whether this database was ever used with a master key."""
    return sealing_key(unit) is not None or bool(keys_in_use(unit))


def _insert(
    unit: Unit, sealer: Sealer, key_id: bytes, now: Micros, rewrapped_at: Micros | None
) -> SealingKey:
    sentinel = sealer.seal("sentinel", _SENTINEL, key_id)
    unit.run("insert_master_key", (key_id, sentinel, now, rewrapped_at))
    return SealingKey(key_id, sentinel, rewrapped_at)


def _known_keys_in_use(unit: Unit) -> list[bytes]:
    """Return the registered master keys that records are sealed with; a damaged record may name one that never was."""
    return [one for one in sorted(keys_in_use(unit)) if is_registered(unit, one)]


def _wrong_key(needed: bytes, found: bytes) -> Misconfigured:
    return Misconfigured(
        f"the stored credentials are sealed with master key {needed.hex()}, and the keys given begin with {found.hex()}: "
        "give that key (AEGIS_MASTER_KEY, AEGIS_MASTER_KEY_FILE or master.key in AEGIS_DATA_DIR), after a newer one where "
        "there is one; if it is lost for good, see `aegis vault reset`",
        code="wrong-master-key",
    )
