"""What tells a worker that there is something to do: wake-ups of other processes, and a look at the store now and then."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aegis_stream.domain.ids import OrganizationNo, WorkerId
from aegis_stream.errors import StoreReplaced, Unavailable
from aegis_stream.ports import Directory, EventLog, Ledger
from aegis_stream.telemetry import Log

from .leases import Leases
from .loader import Loader
from .roster import Roster

DEAF_LOOK_S = 0.05
"""Pause between two looks while other machines cannot wake this worker, seconds."""
STORE_RETRY_S = 1.0
"""Pause after changes could not be read, seconds."""


@dataclass(slots=True)
class Wakeups:
    """Listens and looks for one worker.

    Args:
        look_s: pause between two looks at the store, seconds: how late a lost wake-up is noticed.
        hears: tells whether everybody can wake this worker at the moment.
    """

    log: EventLog
    ledger: Ledger
    directory: Directory
    telemetry: Log
    roster: Roster
    loader: Loader
    leases: Leases
    look_s: float
    hears: Callable[[], bool] = lambda: True
    _changes: asyncio.Event = field(default_factory=asyncio.Event)
    _revision: int = 0  # of the directory, up to which changes are known
    _crew: list[tuple[WorkerId, bool]] = field(default_factory=list)
    _replaced: bool = False  # the files of the store are gone, and that is logged

    def __post_init__(self) -> None:
        self._changes.set()

    def on_ring(self, organization_no: int, head: int) -> None:
        """Take a wake-up: a log has grown to `head`, or destinations changed when it is 0."""
        if head == 0:
            self._changes.set()
        else:
            self._grown(OrganizationNo(organization_no), head)

    async def look(self) -> None:
        """Look at the store again and again: a wake-up may have been lost."""
        seen = -1
        while True:
            try:
                changed = self.log.changed()
                if changed != seen:
                    await self._look()
                    seen = changed  # only now: a look that failed is repeated
                self._replaced = False
            except StoreReplaced as error:
                self._suspend(error)
            except Unavailable:
                pass  # the next look comes soon
            await asyncio.sleep(self.look_s if self.hears() else min(self.look_s, DEAF_LOOK_S))

    async def follow_changes(self) -> None:
        """Load what changed in the directory since the revision that is known."""
        while True:
            await self._changes.wait()
            self._changes.clear()
            try:
                changes = await self.directory.changed_since(self._revision)
                if any(no not in self.roster for no, _ in changes):
                    await self.leases.claim()
            except Unavailable as error:
                self.telemetry.warning("worker.store_unavailable", reason=error.explained)
                await asyncio.sleep(STORE_RETRY_S)
                self._changes.set()
                continue
            for no, revision in changes:
                self._revision = revision
                self.loader.load(no, changed=True)
            if changes:
                self._changes.set()

    def _suspend(self, error: StoreReplaced) -> None:
        """Stop attempts when the files of the store are gone: what is delivered now could never be settled."""
        if not self._replaced:
            self.telemetry.error("store.replaced", reason=error.message)
        self._replaced = True
        self.leases.suspend()

    async def _look(self) -> None:
        crew = await self.ledger.crew()
        if crew != self._crew:
            await self.leases.claim()  # somebody came, leaves or went: the shares are others now
            self._crew = crew
        for organization_no, head in (await self.log.heads(self.leases.worker_id)).items():
            self._grown(organization_no, head)
        self._changes.set()

    def _grown(self, organization_no: OrganizationNo, head: int) -> None:
        for no, one in self.roster.grown(organization_no, head):
            self.loader.tell(no, one, head)
