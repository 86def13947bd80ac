"""When and from where keys are used, and for how many events: noted in memory, and written about once a minute.

Nothing is written for a request. A process that is killed forgets what it noted since it last wrote; one that stops writes it.
Several API processes and nodes add up in the store.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aegis_stream.domain.ids import Micros
from aegis_stream.domain.organization import KeyUsage
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Clock
from aegis_stream.store import key_uses
from aegis_stream.store.database import Database
from aegis_stream.store.key_uses import KeyUse

from .caller import Principal

WRITE_S: Final = 60.0
"""Pause between two writes, seconds."""
LAST_S: Final = 2.0
"""How long the last write may hold up the end of a process, seconds."""
KEYS_MAX: Final = 10_000
"""Most keys that are noted between two writes; what others do is not noted."""
WRITTEN_AT_ONCE: Final = 500
"""Most keys in one unit of work: others wait for it."""


class _Noted:
    """What one key was used for in this process; changed in place, because every request adds to it."""

    __slots__ = ("address", "at", "events", "principal", "written_at")

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.at = Micros(0)
        self.address: str | None = None
        self.events = 0  # not yet written
        self.written_at = Micros(0)

    def is_new(self) -> bool:
        """Tell whether there is something to write."""
        return self.events > 0 or self.at > self.written_at


@dataclass(slots=True)
class KeyUses:
    """What keys were used for in this process since it last wrote."""

    _noted: dict[str, _Noted] = field(default_factory=dict)

    def note(self, principal: Principal, address: str | None, now: Micros) -> None:
        """Note that a key is used; called when a key is looked up, once a second at most for ingest."""
        noted = self._noted.get(principal.key_id)
        if noted is None:
            if len(self._noted) >= KEYS_MAX:
                return
            noted = self._noted[principal.key_id] = _Noted(principal)
        noted.at, noted.address = now, address

    def count(self, key_id: str, events: int) -> None:
        """Count events that were recorded with a key; costs a tenth of a microsecond."""
        noted = self._noted.get(key_id)
        if noted is not None:
            noted.events += events

    def over(self, key_id: str, stored: KeyUsage) -> KeyUsage:
        """Return what is stored about a key, with what this process has not yet written."""
        noted = self._noted.get(key_id)
        if noted is None:
            return stored
        events = stored.events_last_hour + noted.events
        if stored.last_used_at is not None and stored.last_used_at > noted.at:
            return KeyUsage(stored.last_used_at, stored.last_used_from, events)
        return KeyUsage(noted.at, noted.address, events)

    async def write(self, db: Database, now: Micros) -> None:
        """Write what was noted. What could not be written is kept for the next time. Raises: Unavailable."""
        pending = [one for one in self._noted.values() if one.is_new()]
        for idle in [key_id for key_id, one in self._noted.items() if not one.is_new()]:
            del self._noted[idle]  # nobody has used it since the last write
        for first in range(0, len(pending), WRITTEN_AT_ONCE):
            part = pending[first : first + WRITTEN_AT_ONCE]
            uses = [
                KeyUse(one.principal.organization_no, one.principal.key_id, one.at, one.address, one.events)
                for one in part
            ]
            await db.write(partial(key_uses.add, uses=uses, now=now))
            for one, use in zip(part, uses, strict=True):
                one.events -= use.events
                one.written_at = use.at

    async def keep(self, db: Database, clock: Clock) -> None:
        """Write again and again, until cancelled; `finish` follows."""
        while True:
            await asyncio.sleep(WRITE_S)
            with contextlib.suppress(Unavailable):  # the next turn writes it
                await self.write(db, clock.now())

    async def finish(self, db: Database, clock: Clock) -> None:
        """Write what is left when a process ends; a store that is slow does not hold it up."""
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self.write(db, clock.now())
