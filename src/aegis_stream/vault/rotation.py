"""Rotation of the master key while the service runs; it may be killed at any point, and run again.

The order makes that safe: the new key is durable in the place of the keys before the database names it, the database names it
before anything is sealed with it, and an old key is removed only when no record needs it. A running process that meets an
unknown key reads the place of the keys again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aegis_stream.errors import Conflict, Misconfigured
from aegis_stream.ports import Clock, Random
from aegis_stream.store.database import Database, Unit
from aegis_stream.store.destinations import Lost, delete_unreadable
from aegis_stream.store.proof_keys import BEGINNING, KeyStep, forget_unreadable, rewrap_some
from aegis_stream.store.secrets import Record, SealingKey, StoredSecrets

from .ring import KEYS_MAX, KeyFile, KeySource, MasterKey, Ring, locked, new_key

Told = Callable[[int, int], None]
"""Called with the number of destinations that are done, and the number in all."""


class Rotated(NamedTuple):
    """The result of a rotation.

    Args:
        key_id: the master key that seals now.
        made: it was created by this rotation.
        rewrapped: destinations whose records were sealed with it.
        broken: ids of destinations with a record that cannot be decrypted, and of organizations whose proof key cannot; the record
            and its key are kept.
        old: ids of the older keys that are kept.
        forgotten: ids of organizations whose proof key could not be decrypted and was given up: the next seal makes a new one.
    """

    key_id: str
    made: bool
    rewrapped: int
    broken: tuple[str, ...]
    old: tuple[str, ...]
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotates master keys.

    Args:
        keys: the place of the keys.
        folder: of the data; rotations lock it where the keys are not in a file.
        record: appends audit events; None for none.
        shared: several machines use the database, so a key that is made here would be missing on the others.
    """

    keys: KeySource
    folder: Path
    secrets: StoredSecrets
    db: Database
    clock: Clock
    random: Random
    record: Record | None = None
    shared: bool = False

    async def rotate(self, told: Told) -> Rotated:
        """Create a new master key, or take the first one if it is new; seal all records with it.

        A rotation that was interrupted is finished, without another key.
        Raises: Misconfigured when there is no new key and none can be created here. Unavailable.
        """
        with locked(self._place(), wait=False):
            ring, row = self.keys.read(), await self._sealing_key()
            made = ring[0].key_id == row.key_id and row.rewrapped_at is not None
            if made:
                ring = self._add_new(ring)
            rewrapped, broken = await self._seal_all(ring[0], told)
        return Rotated(ring[0].key_id.hex(), made, rewrapped, broken, _old(ring))

    async def drop_old(self) -> tuple[str, ...]:
        """Remove older master keys from the key file, unless a record needs them.

        Returns: the ids of the removed keys.
        Raises: Conflict when a record needs one of them, or the newest key does not seal yet.
            Misconfigured when the keys are not in a file.
        """
        with locked(self._place(), wait=False):
            ring, row = self.keys.read(), await self._sealing_key()
            if ring[0].key_id != row.key_id:
                raise Conflict(
                    f"the newest master key ({ring[0].key_id.hex()}) is not in use yet: run `aegis vault rotate` first"
                )
            in_use = await self.secrets.keys_in_use()
            needed = [one.key_id.hex() for one in ring[1:] if one.key_id in in_use]
            if needed:
                raise Conflict(
                    f"records are still sealed with master key {', '.join(needed)}: run `aegis vault rotate` first"
                )
            if len(ring) > 1:
                self._write(ring[:1])
            if in_use <= {row.key_id}:
                await self.secrets.finish(row.key_id, self.clock.now())
        return _old(ring)

    async def reset(self, told: Told) -> tuple[Rotated, list[Lost]]:
        """After the loss of a master key or damage to records: delete what cannot be decrypted, rotate the rest.

        Raises: Conflict when everything can be decrypted. Misconfigured as `rotate` does.
        """
        with locked(self._place(), wait=False):
            ring, made = self.keys.read(), False
            is_missing = await self._is_missing_a_key()
            if is_missing:
                made = isinstance(self.keys, KeyFile) and await self.secrets.knows(ring[0].key_id)
                ring = self._add_new(ring) if made else ring
                await self.secrets.begin(ring[0].key_id, self.clock.now())
            lost = await self._delete_unreadable()
            forgotten = await self._each_proof_key(
                lambda after, unit: forget_unreadable(unit, self.secrets.sealer, after, self.clock.now())
            )
            if not lost and not forgotten and not is_missing:
                raise Conflict(
                    "every credential can be decrypted, and no master key is missing: there is nothing to delete"
                )
            rewrapped, broken = await self._seal_all(ring[0], told)
        return Rotated(ring[0].key_id.hex(), made, rewrapped, broken, _old(ring), forgotten), lost

    async def _seal_all(self, key: MasterKey, told: Told) -> tuple[int, tuple[str, ...]]:
        """Seal all records with a key. Returns: the number of destinations done, and the ids of those that cannot be decrypted."""
        await self.secrets.begin(key.key_id, self.clock.now())
        total = await self.secrets.count_to_rewrap(key.key_id)
        done, broken, after_no = 0, list[str](), 0
        while (step := await self.secrets.rewrap_step(key.key_id, after_no, self.record)).last_no is not None:
            after_no, done = step.last_no, done + step.rewrapped
            broken += step.broken
            told(done, total)
        broken += await self._each_proof_key(
            lambda after, unit: rewrap_some(unit, self.secrets.sealer, key.key_id, after)
        )
        if not broken:
            await self.secrets.finish(key.key_id, self.clock.now())
        return done, tuple(broken)

    async def _delete_unreadable(self) -> list[Lost]:
        lost, after_no = list[Lost](), 0
        while True:
            last_no, some = await self.db.write(partial(self._delete_step, after_no))
            lost += some
            if last_no is None:
                return lost
            after_no = last_no

    async def _each_proof_key(self, work: Callable[[tuple[int, int], Unit], KeyStep]) -> tuple[str, ...]:
        """Do a step after the other with all proof keys. Returns: ids of organizations with one that cannot be decrypted."""
        broken, after = list[str](), BEGINNING
        while True:
            step = await self.db.write(partial(work, after))
            broken += step.broken
            if step.last is None:
                return tuple(dict.fromkeys(broken))
            after = step.last

    def _delete_step(self, after_no: int, unit: Unit) -> tuple[int | None, list[Lost]]:
        return delete_unreadable(unit, self.secrets.sealer, after_no, self.clock.now(), self.record)

    async def _is_missing_a_key(self) -> bool:
        """Tell whether a master key is missing that something needs."""
        return not all(self.secrets.sealer.holds(one) for one in await self.secrets.keys_needed())

    async def _sealing_key(self) -> SealingKey:
        row = await self.secrets.sealing_key()
        assert row is not None, "every start stores one"
        return row

    def _add_new(self, ring: Ring) -> Ring:
        if self.shared and isinstance(self.keys, KeyFile):
            raise Misconfigured(
                "several machines use this database, and each needs the new master key before anything is sealed with it: put one "
                f"(`openssl rand -base64 32`) in front of the old one in {self.keys.setting} on every machine, then run this again"
            )
        if len(ring) == KEYS_MAX:
            raise Misconfigured(
                f"{self.keys.setting} holds {KEYS_MAX} keys, the limit: run `aegis vault rotate --drop-old` first"
            )
        grown = (new_key(self.random, ring), *ring)
        self._write(grown)
        return grown

    def _write(self, ring: Ring) -> None:
        if not isinstance(self.keys, KeyFile):
            raise Misconfigured(
                f"the master key is in {self.keys.setting}, which only you can change: put a new key "
                "(`openssl rand -base64 32`) and a comma in front of the old one, restart the service with it, "
                "run `aegis vault rotate`, then remove the old key"
            )
        self.keys.write(ring)

    def _place(self) -> Path:
        return self.keys.path.resolve().parent if isinstance(self.keys, KeyFile) else self.folder


def _old(ring: Ring) -> tuple[str, ...]:
    return tuple(one.key_id.hex() for one in ring[1:])
