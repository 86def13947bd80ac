"""Sealed records as a whole: under which master key they stand, and how they come under another.

A destination's own records are sealed and opened by `directory`; here is what concerns all of them. The master key that seals
is noted in the database, and looked up inside every transaction that seals: so nothing is sealed under an old key once a
new one is registered, however many processes write.
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

DESTINATIONS_PER_STEP = 50
"""Destinations whose records one transaction brings under another key: a few milliseconds, so that nobody waits."""
URL, AUTH_VALUE, HEADERS, OAUTH2 = "url", "auth_header_value", "headers", "oauth2"
SEALED = (URL, AUTH_VALUE, HEADERS, OAUTH2)
"""The sealed fields of a destination, in the order of their columns in every statement."""
_SENTINEL = Place("", "", "sentinel")


Record = Callable[[Unit, OrganizationNo, OrganizationId, AdminAction], None]
"""Tells an organization what was done to it, inside the write that does it (store/audit_writer.py)."""


class SealingKey(NamedTuple):
    """The master key that seals, as the database knows it."""

    key_id: bytes
    sentinel: bytes
    rewrapped_at: Micros | None


class Step(NamedTuple):
    """What one transaction of a rotation did.

    Args:
        last_no: the last destination looked at; None when there was none left.
        rewrapped: destinations whose records stand under the new key now.
        broken: ids of destinations with a record that does not open.
    """

    last_no: int | None
    rewrapped: int
    broken: tuple[str, ...]


def sealing_key(unit: Unit) -> SealingKey | None:
    """Return the master key that seals, inside a read or write; None in a database without any yet."""
    row = unit.row("sealing_key")
    return SealingKey(*row) if row is not None else None


@dataclass(frozen=True, slots=True)
class StoredSecrets:
    """All sealed records of a database."""

    db: Database
    sealer: Sealer

    def check(self, now: Micros) -> None:
        """Make sure at the start that the master keys are the right ones; note the key in a database that knows none.

        Raises: Misconfigured with the way out.
        """
        row = self.db.read_now(sealing_key)
        if row is None:
            row = self.db.write_now(lambda unit: self._note_first(unit, now))
        if not opens_sentinel(self.sealer, row):
            raise _wrong_key(row.key_id, self.sealer.newest)
        if row.rewrapped_at is None:
            for key_id in self.db.read_now(_known_keys_in_use):
                if not self.sealer.holds(key_id):
                    raise _wrong_key(key_id, self.sealer.newest)

    async def sealing_key(self) -> SealingKey | None:
        """Return the master key that seals."""
        return await self.db.read(sealing_key)

    async def keys_in_use(self) -> set[bytes]:
        """Return the ids of all master keys that records stand under."""
        return await self.db.read(_keys_in_use)

    async def knows(self, key_id: bytes) -> bool:
        """Tell whether a master key seals, or sealed at any time."""
        return await self.db.read(lambda unit: unit.row("master_key_by_id", (key_id,)) is not None)

    async def keys_needed(self) -> set[bytes]:
        """Return the ids of the master keys without which something does not open or cannot be sealed."""

        def work(unit: Unit) -> set[bytes]:
            row = sealing_key(unit)
            return {row.key_id, *_known_keys_in_use(unit)} if row is not None else _keys_in_use(unit)

        return await self.db.read(work)

    async def count_to_rewrap(self, key_id: bytes) -> int:
        """Return how many destinations have records that are not sealed as they would be now."""
        stamp = self.sealer.stamp(key_id)
        row = await self.db.read(lambda unit: unit.row("count_records_to_rewrap", (stamp,) * len(SEALED)))
        assert row is not None, "a count has one row"
        return int(row[0])

    async def begin(self, key_id: bytes, now: Micros) -> None:
        """Seal under this master key from now on; nothing happens where that is so already.

        Raises: Misconfigured when it was used before: an old key never comes back. Unavailable.
        """

        def work(unit: Unit) -> None:
            row = sealing_key(unit)
            if row is not None and row.key_id == key_id:
                return
            if unit.row("master_key_by_id", (key_id,)) is not None:
                raise Misconfigured(
                    f"master key {key_id.hex()} stands first and is older than the one in use"
                    f"{f' ({row.key_id.hex()})' if row else ''}: the new key must stand first"
                )
            self._note(unit, key_id, now, None)

        await self.db.write(work)

    async def rewrap_step(self, key_id: bytes, after_no: int, record: Record | None = None) -> Step:
        """Bring the records of the next destinations under a master key, in one transaction. Raises: Unavailable."""
        stamp = self.sealer.stamp(key_id)

        def work(unit: Unit) -> Step:
            rows = unit.rows("records_to_rewrap", (after_no, *(stamp,) * len(SEALED), DESTINATIONS_PER_STEP))
            done, broken = Counter[tuple[OrganizationNo, OrganizationId]](), []
            for no, org_no, org_id, dst_id, *records in rows:
                try:
                    fresh = [
                        self.sealer.rewrap(record, Place(org_id, dst_id, field), key_id)
                        if record is not None
                        else None
                        for field, record in zip(SEALED, records, strict=True)
                    ]
                except Unavailable:
                    broken.append(dst_id)
                    continue
                unit.run("rewrap_destination", (*fresh, no))
                done[org_no, org_id] += 1
            for (org_no, org_id), count in done.items():
                if record is not None:
                    record(
                        unit, org_no, org_id, AdminAction("vault_rotate", "organization", org_id, count=count)
                    )
            return Step(rows[-1][0] if rows else None, done.total(), tuple(broken))

        return await self.db.write(work)

    async def finish(self, key_id: bytes, now: Micros) -> None:
        """Note that no record stands under an older key any more. Raises: Unavailable."""
        await self.db.write(lambda unit: unit.run("finish_rewrapping", (now, key_id)))

    def _note_first(self, unit: Unit, now: Micros) -> SealingKey:
        """Note the newest key in a database that knows none: it is new, or of the version before."""
        row = sealing_key(unit)
        if row is not None:
            return row  # another process was quicker
        in_use = _keys_in_use(unit)
        # One of them at least: any other is a record that was damaged, or sealed under a key given up long ago.
        if in_use and not any(self.sealer.holds(key_id) for key_id in in_use):
            raise _wrong_key(min(in_use), self.sealer.newest)
        newest = self.sealer.newest
        return self._note(unit, newest, now, now if in_use <= {newest} else None)

    def _note(self, unit: Unit, key_id: bytes, now: Micros, rewrapped_at: Micros | None) -> SealingKey:
        sentinel = self.sealer.seal("sentinel", _SENTINEL, key_id)
        unit.run("insert_master_key", (key_id, sentinel, now, rewrapped_at))
        return SealingKey(key_id, sentinel, rewrapped_at)


def opens_sentinel(sealer: Sealer, key: SealingKey) -> bool:
    """Tell whether the master key that seals is there, and the right one."""
    if not sealer.holds(key.key_id):
        return False
    try:
        sealer.open(key.sentinel, _SENTINEL)
    except Unavailable:
        return False
    return True


def needs_a_key(unit: Unit) -> bool:
    """Tell whether this database was ever used with a master key, inside a read or write."""
    return sealing_key(unit) is not None or bool(_keys_in_use(unit))


def _keys_in_use(unit: Unit) -> set[bytes]:
    return {bytes(row[0]) for row in unit.rows("master_keys_in_use")}


def _known_keys_in_use(unit: Unit) -> list[bytes]:
    """Return the master keys that records stand under and that were in use at some time: no garbage of a damaged record."""
    return [one for one in sorted(_keys_in_use(unit)) if unit.row("master_key_by_id", (one,)) is not None]


def _wrong_key(needed: bytes, found: bytes) -> Misconfigured:
    return Misconfigured(
        f"the stored credentials are sealed with master key {needed.hex()}, and the keys given begin with {found.hex()}: "
        "give that key (AEGIS_MASTER_KEY, AEGIS_MASTER_KEY_FILE or master.key in AEGIS_DATA_DIR), after a newer one where "
        "there is one; if it is lost for good, see `aegis vault reset`",
        code="wrong-master-key",
    )
