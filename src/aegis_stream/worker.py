"""A delivery worker: claims destinations by lease, serves each with a forwarder, settles for all of them.

What is idle costs a few hundred bytes: a destination's configuration is read, and its forwarder made, when its
organization's log grows, a retry falls due, or a replay begins. A worker that has lost its lease lets go of everything and
begins anew under another name; what it was doing can settle nothing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .delivery.attempts import Outbound
from .delivery.forwarder import Forwarder
from .delivery.forwarding import Forwarding
from .delivery.pages import SharedPages
from .domain.attempt import Failure, FailureScope
from .domain.delivery import Claimed, Lease
from .domain.destination import HALTED, Destination
from .domain.endpoint import Route
from .domain.ids import SECOND, DestinationNo, Micros, OrganizationNo, WorkerId
from .errors import AegisError, Unavailable
from .pipeline.settle import Settler, Settling
from .pipeline.token_sender import TokenSender
from .ports import Clock, Directory, EventLog, Ledger, Random, Retention, Sender
from .settings import Settings
from .telemetry import Log, place_of

LOOK_S = 0.25
"""Pause between looks at the database, for rings that were lost, seconds."""
STOP_GRACE_S = 8.0
"""How long attempts under way may take to finish after a request to stop, seconds; the contract allows ten in all."""
IDLE_KEPT_S = 60.0
"""How long an idle forwarder keeps its connections, seconds."""
RETENTION_PAUSE_S = 60.0
"""Pause between looks for what is over its time, seconds."""
CLOCK_JUMP_US = 3600 * SECOND
"""How far the wall clock may lie from retention's own before that is logged, microseconds."""
STORE_RETRY_S = 1.0
BUG_PAUSE_S = 60.0
"""How long a destination is left alone after a bug in serving it, seconds."""


class WakeListener(Protocol):
    """A worker's ear: calls back until it is closed."""

    def close(self) -> None:
        """Stop listening."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerDeps:
    """What a worker stands on; wiring puts it together.

    Args:
        listen: opens the bell of a worker: (worker id, what to call with organization and head).
        route_of: destination → where its requests go.
        new_worker_id: makes an id, which names the node; a worker that lost its leases goes on under another one.
    """

    log: EventLog
    ledger: Ledger
    directory: Directory
    retention: Retention
    sender: Sender
    clock: Clock
    random: Random
    telemetry: Log
    listen: Callable[[WorkerId, Callable[[int, int], None]], WakeListener]
    route_of: Callable[[Destination], Route]
    new_worker_id: Callable[[], WorkerId]
    settings: Settings
    look_s: float = LOOK_S


@dataclass(slots=True)
class Worker:
    """One worker process's work; `run` is all there is to call."""

    around: WorkerDeps
    worker_id: WorkerId = field(init=False)
    _forwarders: dict[DestinationNo, Forwarder] = field(default_factory=dict)
    _positions: dict[DestinationNo, Claimed] = field(default_factory=dict)
    _by_organization: dict[OrganizationNo, set[DestinationNo]] = field(default_factory=dict)
    _heads: dict[OrganizationNo, int] = field(default_factory=dict)
    _loading: dict[DestinationNo, bool] = field(default_factory=dict)
    _idle_since_s: dict[DestinationNo, float] = field(default_factory=dict)
    _halted: dict[DestinationNo, Forwarder] = field(default_factory=dict)
    _revision: int = 0
    _workers: list[WorkerId] = field(default_factory=list)
    _shared: Forwarding = field(init=False)
    _settler: Settler = field(init=False)
    _sender: TokenSender = field(init=False)
    _changes: asyncio.Event = field(default_factory=asyncio.Event)
    _lost: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set; then finish or give back what is under way, and settle.

        Raises: Unavailable when the store cannot be reached at the start.
        """
        while not stop.is_set():
            await self._serve(stop, ready)

    async def _serve(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve under one name until asked to stop or until the leases are lost."""
        around = self.around
        self._begin()
        await around.ledger.enlist(self.worker_id, self._lease_us)
        bell = around.listen(self.worker_id, self._on_ring)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._make_shared(tasks.create_task)
                settling = tasks.create_task(self._settler.run())
                try:
                    await self._claim()
                    loops = [
                        tasks.create_task(one)
                        for one in (self._keep_lease(), self._look(), self._follow_changes(), self._forget())
                    ]
                    ready()
                    destinations = len(self._positions)
                    around.telemetry.info(
                        "worker.started", worker_id=self.worker_id, destinations=destinations
                    )
                    await _first(stop, self._lost)
                    for one in loops:
                        one.cancel()
                    await self._finish(settling)
                finally:
                    for forwarder in self._forwarders.values():
                        forwarder.close()
                    self._sender.close()
        finally:
            bell.close()
            self._positions.clear()  # whatever rings from now on finds nothing to serve
            self._halted.clear()
        if not self._lost.is_set():
            with contextlib.suppress(Unavailable):
                await around.ledger.retire(self.worker_id)
        around.telemetry.info("worker.stopped", worker_id=self.worker_id, lease_lost=self._lost.is_set())

    def _begin(self) -> None:
        self.worker_id = self.around.new_worker_id()
        self._lost = asyncio.Event()
        for kept in (
            self._forwarders,
            self._positions,
            self._by_organization,
            self._heads,
            self._loading,
            self._idle_since_s,
            self._halted,
        ):
            kept.clear()
        self._revision = 0
        self._changes.set()

    def _make_shared(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        around, settings = self.around, self.around.settings
        self._sender = TokenSender(around.sender)
        self._settler = Settler(
            around.ledger,
            self.worker_id,
            settings.delivery.settle_interval_ms / 1000,
            self._on_lost,
        )
        self._shared = Forwarding(
            pages=SharedPages(around.log),
            ledger=around.ledger,
            outbound=Outbound(self._sender, around.route_of, spawn),
            clock=around.clock,
            time=asyncio.get_running_loop().time,
            random=around.random,
            settler=self._settler,
            telemetry=around.telemetry,
            on_bug=self._on_bug,
            window_max=settings.delivery.window_max,
            auto_redrive=settings.delivery.auto_redrive,
            dead_letters_max=settings.delivery.dead_letters_max,
        )

    async def _finish(self, settling: "asyncio.Task[None]") -> None:
        """Let attempts under way end, give the rest back, settle what is known."""
        for forwarder in self._forwarders.values():
            forwarder.stop()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0.0 if self._lost.is_set() else STOP_GRACE_S)
        while loop.time() < deadline and any(one.in_flight for one in self._forwarders.values()):  # noqa: ASYNC110 - many to wait for
            await asyncio.sleep(0.01)
        self._settler.halt()
        await settling
        for forwarder in self._forwarders.values():
            forwarder.close()
        if not self._lost.is_set():
            await self._settler.flush()

    # ── what wakes a worker ──

    def _on_ring(self, organization_no: int, head: int) -> None:
        if head == 0:
            self._changes.set()
        else:
            self._grown(OrganizationNo(organization_no), head)

    def _grown(self, organization_no: OrganizationNo, head: int) -> None:
        if head <= self._heads.get(organization_no, 0):
            return
        self._heads[organization_no] = head
        for no in self._by_organization.get(organization_no, ()):
            self._tell(no, head)

    def _tell(self, no: DestinationNo, head: int) -> None:
        """Let a destination know how long its log is; make its forwarder when there is something for it."""
        forwarder = self._forwarders.get(no)
        if forwarder is not None:
            forwarder.grown(head)
        elif head > self._positions[no].cursor:
            self._load(no)

    async def _look(self) -> None:
        """Look at the database now and then: a ring may have been lost."""
        seen = -1
        while True:
            with contextlib.suppress(Unavailable):
                changed = self.around.log.changed()
                if changed != seen:
                    seen = changed
                    if (workers := await self.around.ledger.workers()) != self._workers:
                        self._workers = workers
                        await self._claim()  # somebody came or went: the shares are others now
                    for organization_no, head in (await self.around.log.heads()).items():
                        self._grown(organization_no, head)
                    self._changes.set()
            await asyncio.sleep(self.around.look_s)

    async def _follow_changes(self) -> None:
        """Take over what changed in the directory since the revision we know."""
        while True:
            await self._changes.wait()
            self._changes.clear()
            try:
                changes = await self.around.directory.changed_since(self._revision)
                if any(no not in self._positions for no, _ in changes):
                    await self._claim()
                for no, revision in changes:
                    self._revision = revision
                    if no in self._positions:
                        self._load(no, changed=True)
                if changes:
                    self._changes.set()
            except Unavailable as error:
                self.around.telemetry.warning("worker.store_unavailable", reason=error.message)
                await asyncio.sleep(STORE_RETRY_S)
                self._changes.set()

    def _load(self, no: DestinationNo, *, changed: bool = False) -> None:
        """Have a destination's configuration read; one that a bug has halted waits for its pause, or for a change."""
        if no in self._halted:
            if changed:
                self._resume(no, self._halted[no])
        elif no in self._loading:
            # What is being read may be older than the change; a log that has grown meanwhile is looked at in the end.
            self._loading[no] = self._loading[no] or changed
        elif no in self._positions and not self._lost.is_set():
            self._loading[no] = False
            self._shared.outbound.spawn(self._activate(no))

    async def _activate(self, no: DestinationNo) -> None:
        """Read a destination's configuration; make its forwarder if it has work, or tell it what changed."""
        around, claimed = self.around, self._positions.get(no)
        if claimed is None:
            del self._loading[no]
            return
        try:
            destination = await around.directory.destination(no)
            outstanding = await around.ledger.outstanding(claimed.key)
            due = await around.ledger.due(claimed.key, around.clock.now(), 1)
        except (
            AegisError
        ) as error:  # this destination alone is not served; the next change or look tries again
            around.telemetry.error("destination.unreadable", destination_no=no, reason=error.message)
            return
        finally:
            again = self._loading.pop(no, False)
        if again:
            self._load(no, changed=True)
            return
        position, forwarder = self._positions.get(no), self._forwarders.get(no)
        if position is None:
            return
        if destination is None:
            self._let_go(no)
            return
        head = self._heads.get(position.organization_no, 0)
        if forwarder is None:
            position = replace(position, health=outstanding.health, dead_letters=outstanding.dead_letters)
            if head <= position.cursor and not outstanding.replays and due == ([], None):
                return  # nothing to send: what is known of it is enough until there is
            forwarder = self._forwarders[no] = Forwarder(self._shared, position, destination)
        else:
            forwarder.reconfigure(destination)
        forwarder.set_outstanding(outstanding)
        forwarder.grown(head)
        forwarder.wake()

    # ── leases ──

    async def _keep_lease(self) -> None:
        """Renew, and share the destinations with the other workers."""
        pause_s = self.around.settings.delivery.lease_seconds / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                if not await self.around.ledger.renew(self.worker_id, self._lease_us):
                    self._lose("expired")
                    return
                await self._claim()
            except Unavailable as error:
                self.around.telemetry.warning("worker.store_unavailable", reason=error.message)
            self._drop_idle()

    async def _claim(self) -> None:
        positions, surplus = await self.around.ledger.claim(self.worker_id)
        now_ours = {one.lease.destination_no: one for one in positions}
        for no in [no for no in self._positions if no not in now_ours]:
            self._let_go(no)
        for no, position in now_ours.items():
            known = self._positions.get(no)
            if known is not None and known.lease == position.lease:
                continue
            if known is not None:
                self._let_go(no)
            self._positions[no] = position
            self._by_organization.setdefault(position.organization_no, set()).add(no)
            head = max(position.head, self._heads.get(position.organization_no, 0))
            self._heads[position.organization_no] = head
            if head > position.cursor or position.retrying or position.replaying:
                self._load(no)
        if surplus:
            await self._hand_over(surplus)

    async def _hand_over(self, count: int) -> None:
        """Give destinations to a worker that has fewer: those that are idle here."""
        idle = [no for no in self._positions if no not in self._forwarders or self._forwarders[no].idle]
        given = [self._positions[no].lease for no in idle[:count]]
        await self._settler.flush()
        for lease in given:
            self._let_go(lease.destination_no)
        await self.around.ledger.release(self.worker_id, given)

    def _drop_idle(self) -> None:
        """Let forwarders go that had nothing to do for a while; their place in the log is kept."""
        now_s = asyncio.get_running_loop().time()
        for no, forwarder in list(self._forwarders.items()):
            if not forwarder.idle or forwarder.agenda.retries.next_due is not None:
                self._idle_since_s.pop(no, None)
            elif now_s - self._idle_since_s.setdefault(no, now_s) >= IDLE_KEPT_S:
                self._positions[no] = forwarder.account.position()
                forwarder.close()
                del self._forwarders[no], self._idle_since_s[no]

    def _let_go(self, no: DestinationNo) -> None:
        """Stop serving a destination: it is deleted, or another worker's."""
        position = self._positions.pop(no, None)
        if position is not None:
            self._by_organization[position.organization_no].discard(no)
        self._halted.pop(no, None)
        forwarder = self._forwarders.pop(no, None)
        if forwarder is not None:
            forwarder.close()

    def _on_bug(self, forwarder: Forwarder, error: Exception) -> None:
        """Stop serving one destination for a while after an error that must not happen; the others go on."""
        no = forwarder.lease.destination_no
        ids = {"destination_id": forwarder.destination.dst_id, "org_id": forwarder.destination.org_id}
        # Kind and place, never the text: it may hold what a receiver answered.
        kind, place = type(error).__name__, place_of(error)
        self.around.telemetry.error("destination.halted", **ids, kind=kind, place=place)
        if self._forwarders.get(no) is not forwarder:
            return
        del self._forwarders[no]
        self._halted[no] = forwarder
        message = (
            f"{HALTED} ({kind} at {place}): please report it; delivery is tried again every {BUG_PAUSE_S:g} s"
        )
        forwarder.halt(Failure(FailureScope.DESTINATION, message))
        asyncio.get_running_loop().call_later(BUG_PAUSE_S, self._resume, no, forwarder)

    def _resume(self, no: DestinationNo, forwarder: Forwarder) -> None:
        """Serve a destination again that a bug has halted, from where the store has it."""
        if self._halted.get(no) is forwarder:
            del self._halted[no]
            self._positions[no] = forwarder.account.stored_position()
            self._load(no)

    def _on_lost(self, forwarders: list[Settling]) -> None:
        """A settlement did not pass the fence: let go of these, and of everything if the worker itself is given up."""
        for forwarder in forwarders:
            self._let_go(forwarder.lease.destination_no)
        self._shared.outbound.spawn(self._check_lease([forwarder.lease for forwarder in forwarders]))

    async def _check_lease(self, leases: list[Lease]) -> None:
        with contextlib.suppress(Unavailable):
            if not await self.around.ledger.renew(self.worker_id, self._lease_us):
                self._lose("expired")
                return
        self.around.telemetry.warning("worker.leases_lost", count=len(leases))

    def _lose(self, why: str) -> None:
        self.around.telemetry.warning("worker.lease_lost", worker_id=self.worker_id, reason=why)
        self._lost.set()

    @property
    def _lease_us(self) -> int:
        return int(self.around.settings.delivery.lease_seconds * SECOND)

    # ── retention ──

    async def _forget(self) -> None:
        """Remove what is over its time, in small steps with pauses."""
        kept_us = int(self.around.settings.retention.days * 86_400 * SECOND)
        loop = asyncio.get_running_loop()
        since_s, told = loop.time(), False
        while True:
            now, now_s = self.around.clock.now(), loop.time()
            with contextlib.suppress(Unavailable):
                counted_at = await self.around.retention.advance(
                    self.worker_id, now, int((now_s - since_s) * SECOND)
                )
                since_s = now_s
                if counted_at is not None:
                    told = self._tell_of_jump(now - counted_at, told=told)
                    await self._forget_before(Micros(min(now, counted_at) - kept_us))
            await asyncio.sleep(RETENTION_PAUSE_S)

    async def _forget_before(self, horizon: Micros) -> None:
        while await self.around.retention.step(horizon):  # noqa: ASYNC110 - a pause between steps of work
            await asyncio.sleep(0.01)

    def _tell_of_jump(self, ahead_us: int, *, told: bool) -> bool:
        """Log once when retention does not follow the wall clock; return whether that has been told."""
        if abs(ahead_us) <= CLOCK_JUMP_US:
            return False
        if not told:
            self.around.telemetry.warning("retention.clock_jumped", ahead_s=ahead_us // SECOND)
        return True


async def _first(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
