"""A delivery worker: claims destinations by lease, serves each with a forwarder, settles for all of them.

A worker that has lost its lease lets go of everything and starts again under another name; what it was doing can settle nothing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from aegis_stream.delivery.answers import Redact
from aegis_stream.delivery.attempts import Outbound
from aegis_stream.delivery.forwarding import Forwarding, Schedule
from aegis_stream.delivery.pages import SharedPages
from aegis_stream.domain.delivery import Lease
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.ids import WorkerId
from aegis_stream.errors import Unavailable
from aegis_stream.housekeeping import Housekeeping
from aegis_stream.pipeline.settler import Settler, Settling
from aegis_stream.pipeline.token_sender import TokenSender
from aegis_stream.ports import Clock, DeadLetterWork, Directory, EventLog, Ledger, Random, Retention, Sender
from aegis_stream.settings import Settings
from aegis_stream.telemetry import Log

from .answers import make_keeper
from .leases import Leases
from .loader import Loader
from .roster import Roster
from .wakeups import Wakeups

LOOK_S = 0.25
"""Pause between looks at the store, for wake-ups that were lost, seconds."""
STOP_GRACE_S = 8.0
"""How long attempts in flight may take to end after a request to stop, seconds; the contract allows ten in all."""
STORE_RETRY_S = 1.0
"""Pause before a worker tries again to register, or to claim for the first time, seconds."""
FLUSH_RETRY_S = 0.2
"""Pause before a worker that stops tries again to store what it knows, seconds."""
IDLE_KEPT_S = 60.0
"""How long an idle forwarder keeps its connections, seconds."""


class WakeListener(Protocol):
    """Calls back until it is closed."""

    @property
    def hears(self) -> bool:
        """Whether all who notify can wake this worker at the moment; else it must look more often."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerDeps:
    """What a worker needs; wiring puts it together.

    Args:
        new_worker_id: makes a name for a worker, which nobody had before.
        listen: opens the listener of a worker: (worker id, what to call with organization and head).
        route_of: destination → where its requests go.
        look_s: pause between looks at the store, seconds.
        redact: cuts out of answers what is secret, so that some are kept for people; None to keep none.
    """

    log: EventLog
    ledger: Ledger
    directory: Directory
    retention: Retention
    dead_letters: DeadLetterWork
    sender: Sender
    clock: Clock
    random: Random
    telemetry: Log
    new_worker_id: Callable[[], WorkerId]
    listen: Callable[[WorkerId, Callable[[int, int], None]], WakeListener]
    route_of: Callable[[Destination], Route]
    settings: Settings
    look_s: float = LOOK_S
    redact: Redact | None = None


@dataclass(slots=True)
class Worker:
    """One worker process's work; `run` is all there is to call."""

    deps: WorkerDeps
    worker_id: WorkerId = field(init=False)
    roster: Roster = field(default_factory=Roster)
    leases: Leases = field(init=False)
    loader: Loader = field(init=False)
    _settler: Settler = field(init=False)
    _sender: TokenSender = field(init=False)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set; then finish or give back what is in flight, and settle.

        A store that takes no writes at the start, such as one on a full disk, is tried again.
        """
        while not stop.is_set():
            try:
                await self._serve(stop, ready)
            except Unavailable as error:
                await self._pause(error, stop)
                with contextlib.suppress(
                    Unavailable
                ):  # it may be registered all the same, and would count for a share
                    await self.deps.ledger.retire(self.worker_id)

    async def _serve(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve under one name until asked to stop or until the leases are lost."""
        deps = self.deps
        self._begin()
        wakeups = Wakeups(
            deps.log,
            deps.ledger,
            deps.directory,
            deps.telemetry,
            self.roster,
            self.loader,
            self.leases,
            deps.look_s,
        )
        listener = deps.listen(self.worker_id, wakeups.on_ring)
        wakeups.hears = lambda: listener.hears
        try:
            await self.leases.enlist()
            async with asyncio.TaskGroup() as tasks:
                self._share(tasks.create_task)
                await self._work(tasks, wakeups, stop, ready)
        finally:
            listener.close()
            self.roster.clear()  # whatever calls from now on finds nothing to serve
        if not self.leases.lost.is_set():
            with contextlib.suppress(Unavailable):
                await deps.ledger.retire(self.worker_id)
        lost = self.leases.lost.is_set()
        deps.telemetry.info("worker.stopped", worker_id=self.worker_id, lease_lost=lost)

    async def _work(
        self, tasks: asyncio.TaskGroup, wakeups: Wakeups, stop: asyncio.Event, ready: Callable[[], None]
    ) -> None:
        deps = self.deps
        settling = tasks.create_task(self._settler.run())
        try:
            await self._claim_first(stop)
            loops = [
                tasks.create_task(one)
                for one in (
                    self.leases.keep(self._drop_idle),
                    wakeups.look(),
                    wakeups.follow_changes(),
                    self._keep_house(),
                )
            ]
            ready()
            deps.telemetry.info("worker.started", worker_id=self.worker_id, destinations=len(self.roster))
            await _first(stop, self.leases.lost)
            for one in loops:
                one.cancel()
            await self._finish(settling)
        finally:
            for forwarder in self.roster.forwarders():
                forwarder.close()
            self._sender.close()
            if (answers := self.loader.shared.answers) is not None:
                answers.close()

    async def _claim_first(self, stop: asyncio.Event) -> None:
        """Take over what is free; a store that cannot tell now is asked again, because the worker is registered already."""
        while not stop.is_set():
            try:
                await self.leases.claim()
            except Unavailable as error:
                await self._pause(error, stop)
            else:
                return

    async def _pause(self, error: Unavailable, stop: asyncio.Event) -> None:
        """Wait for a store that failed, unless asked to stop."""
        self.deps.telemetry.warning("worker.store_unavailable", reason=error.explained)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), STORE_RETRY_S)

    async def _keep_house(self) -> None:
        deps, days = self.deps, self.deps.settings.retention.days
        house = Housekeeping(deps.retention, deps.dead_letters, deps.clock, deps.telemetry, days)
        await house.run(self.worker_id)

    def _begin(self) -> None:
        """Take a new name, and forget what was done under the last one."""
        deps = self.deps
        self.worker_id = deps.new_worker_id()
        self.roster = Roster()
        self.loader = Loader(self.roster, deps.directory)
        self._settler = Settler(
            deps.ledger,
            self.worker_id,
            deps.settings.delivery.settle_interval_ms / 1000,
            self._on_lost,
            self._wake_all,
            self._on_refused,
        )
        self.leases = Leases(
            self.worker_id,
            deps.ledger,
            deps.telemetry,
            self.roster,
            deps.settings.delivery.lease_seconds,
            self.loader.load,
            self.loader.tell,
            self._settler.flush,
        )

    def _share(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Make what the forwarders share."""
        deps, settings = self.deps, self.deps.settings.delivery
        self._sender = TokenSender(deps.sender)
        self.loader.shared = Forwarding(
            pages=SharedPages(deps.log),
            ledger=deps.ledger,
            outbound=Outbound(self._sender, deps.route_of, spawn),
            clock=deps.clock,
            schedule=Schedule(deps.clock),
            time=asyncio.get_running_loop().time,
            term=self.leases.term,
            random=deps.random,
            settler=self._settler,
            telemetry=deps.telemetry,
            on_bug=self.loader.halt,
            window_max=settings.window_max,
            auto_redrive=settings.auto_redrive,
            dead_letters_max=settings.dead_letters_max,
            answers=make_keeper(deps.redact, self._sender, deps.route_of, spawn),
        )

    async def _finish(self, settling: "asyncio.Task[None]") -> None:
        """Let attempts in flight end, give the rest back, settle what is known."""
        self.loader.stopped = True
        forwarders, lost = self.roster.forwarders(), self.leases.lost.is_set()
        for forwarder in forwarders:
            forwarder.stop()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0.0 if lost else STOP_GRACE_S)
        if not lost:
            await self._leave()
        while loop.time() < deadline and any(one.in_flight for one in forwarders):  # noqa: ASYNC110 - many to wait for
            await asyncio.sleep(0.01)
        self._settler.halt()
        await settling
        for forwarder in self.roster.forwarders():
            forwarder.close()
        while not lost and not await self._settler.flush() and loop.time() < deadline:  # noqa: ASYNC110 - a pause
            await asyncio.sleep(FLUSH_RETRY_S)

    async def _leave(self) -> None:
        """Hand over at once what has nothing in flight: a receiver that is slow to answer delays no other destination."""
        with contextlib.suppress(Unavailable):  # it is handed over when the worker retires
            await self._settler.flush()
            # Nothing is awaited between this look and the removal.
            free = {no: one for no, one in self.roster if one.is_free}
            for no in free:
                self.roster.remove(no)
            await self.deps.ledger.leave(self.worker_id, [one.position.lease for one in free.values()])

    def _drop_idle(self) -> None:
        """Let forwarders go that had nothing to do for a while; their position is kept."""
        now_s = asyncio.get_running_loop().time()
        for _, one in self.roster:
            forwarder = one.forwarder
            if forwarder is None:
                continue
            if not forwarder.idle or forwarder.agenda.retries.next_due is not None:
                one.idle_since_s = None
            elif one.idle_since_s is None:
                one.idle_since_s = now_s
            elif now_s - one.idle_since_s >= IDLE_KEPT_S:
                one.position, one.forwarder, one.idle_since_s = forwarder.account.position(), None, None
                forwarder.close()

    def _wake_all(self) -> None:
        for forwarder in self.roster.forwarders():
            forwarder.wake()

    def _on_lost(self, settling: list[Settling]) -> None:
        """Settlements were rejected: let go of these destinations, and of everything if the worker itself is given up."""
        for one in settling:
            self.roster.remove(one.lease.destination_no)
        self.loader.shared.outbound.spawn(self.leases.check([one.lease for one in settling]))

    def _on_refused(self, lease: Lease, reason: str) -> None:
        """The store takes no outcomes of one destination, while it takes those of others."""
        self.deps.telemetry.error("destination.unsettled", destination_no=lease.destination_no, reason=reason)


async def _first(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
