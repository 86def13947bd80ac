"""Reads a destination when there is something to do for it, and makes its forwarder.

What is idle costs a few hundred bytes: a destination's configuration is read, and its forwarder made, when its organization's
log grows, a retry falls due, a replay begins or the destination is changed.
"""

import asyncio
from dataclasses import dataclass, field, replace

from aegis_stream.delivery.forwarder import Forwarder
from aegis_stream.delivery.forwarding import Forwarding, Serving
from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.delivery import Claimed, DueRetry, Outstanding
from aegis_stream.domain.destination import HALTED, Destination
from aegis_stream.domain.ids import DestinationNo, Micros
from aegis_stream.errors import AegisError
from aegis_stream.ports import Directory
from aegis_stream.telemetry import place_of

from .roster import Roster, Served

READ_RETRY_FIRST_S, READ_RETRY_LONGEST_S = 1.0, 60.0
"""Pause after a destination could not be read, seconds; it doubles with each failure in a row."""
BUG_PAUSE_S = 60.0
"""How long a destination is left alone after a bug in serving it, seconds."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What the store knows of a destination; `destination` is None when it is deleted."""

    destination: Destination | None
    outstanding: Outstanding
    due: tuple[list[DueRetry], Micros | None]


@dataclass(slots=True)
class Loader:
    """Makes and changes the forwarders of one worker.

    Args:
        shared: what its forwarders share; None until the worker serves.
        stopped: nothing more is read, and what is being read makes no forwarder.
    """

    roster: Roster
    directory: Directory
    shared: Forwarding = field(init=False)
    stopped: bool = False
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def tell(self, no: DestinationNo, one: Served, head: int) -> None:
        """Tell a destination how long its log is; make its forwarder when there is something for it."""
        if one.forwarder is not None:
            one.forwarder.grown(head)
        elif head > one.position.cursor:
            self.load(no)

    def load(self, no: DestinationNo, *, changed: bool = False) -> None:
        """Have a destination read. One that a bug has halted waits for the end of its pause, or for a change."""
        one = self.roster.get(no)
        if one is None or self.stopped:
            return
        if one.halted is not None:
            if changed:
                self._resume(no, one.halted)
        elif one.reading:
            one.changed = one.changed or changed
        else:
            if one.retry is not None:
                one.retry.cancel()
                one.retry = None
            one.reading, one.changed = True, False
            self.shared.outbound.spawn(self._load(no, one))

    def halt(self, forwarder: Serving, error: Exception) -> None:
        """Stop serving one destination for a while after an error that must not happen; the others go on."""
        no, destination = forwarder.lease.destination_no, forwarder.destination
        ids = {"destination_id": destination.dst_id, "org_id": destination.org_id}
        # Kind and place, never the text: it may quote what a receiver answered.
        kind, place = type(error).__name__, place_of(error)
        self.shared.telemetry.error("destination.halted", **ids, kind=kind, place=place)
        one = self.roster.get(no)
        if one is None or one.forwarder is None or one.forwarder is not forwarder:
            return
        halted = one.forwarder
        one.forwarder, one.halted = None, halted
        message = (
            f"{HALTED} ({kind} at {place}): please report it; delivery is tried again every {BUG_PAUSE_S:g} s"
        )
        halted.halt(Failure(FailureScope.DESTINATION, message))
        self._loop.call_later(BUG_PAUSE_S, self._resume, no, halted)

    def _resume(self, no: DestinationNo, forwarder: Forwarder) -> None:
        """Serve a destination again that a bug has halted, from where the store has it."""
        one = self.roster.get(no)
        if one is not None and one.halted is forwarder:
            one.halted, one.position = None, forwarder.account.stored_position()
            self.load(no)

    async def _load(self, no: DestinationNo, one: Served) -> None:
        """Read a destination until what was read is not older than its newest change."""
        try:
            read = await self._read(no, one.position)
            one.reading = False
            if self.roster.get(no) is not one or self.stopped:
                return  # let go meanwhile, or nobody would wait for its attempts
            if one.changed:
                self.load(no)
            elif read.destination is None:
                self.roster.remove(no)
            else:
                self._apply(one, read, read.destination)
                one.retry_s = 0.0
        except AegisError as error:
            self._try_later(no, one, error.explained)
        except Exception as error:  # noqa: BLE001 - a bulkhead: one destination's bug must not end the worker of all
            self._try_later(no, one, f"a bug: {type(error).__name__} at {place_of(error)}")

    async def _read(self, no: DestinationNo, claimed: Claimed) -> _Read:
        ledger, now = self.shared.ledger, self.shared.schedule.now()
        destination = await self.directory.destination(no)
        outstanding = await ledger.outstanding(claimed.key)
        if destination is not None and outstanding.retrying:
            # Their times may come from a clock that was wrong, or from another retry policy.
            await ledger.bring_forward(claimed.key, destination.spec.retry, now)
        return _Read(destination, outstanding, await ledger.due(claimed.key, now, 1))

    def _try_later(self, no: DestinationNo, one: Served, reason: str) -> None:
        """Try again by itself: nothing else may ever wake this destination."""
        one.reading = False
        self.shared.telemetry.error("destination.unreadable", destination_no=no, reason=reason)
        one.retry_s = min(max(READ_RETRY_FIRST_S, 2 * one.retry_s), READ_RETRY_LONGEST_S)
        one.retry = self._loop.call_later(one.retry_s, self._load_again, no, one)

    def _load_again(self, no: DestinationNo, one: Served) -> None:
        if self.roster.get(no) is one:
            self.load(no)

    def _apply(self, one: Served, read: _Read, destination: Destination) -> None:
        """Make a forwarder if there is something to send, or tell the one there is what changed."""
        position, outstanding = one.position, read.outstanding
        head = self.roster.head(position.organization_no)
        if one.forwarder is not None:
            one.forwarder.reconfigure(destination)
        else:
            if head <= position.cursor and not outstanding.replays and read.due == ([], None):
                return  # nothing to send: what is known of it is enough until there is
            position = replace(position, health=outstanding.health, dead_letters=outstanding.dead_letters)
            one.position, one.idle_since_s = position, None
            one.forwarder = Forwarder(self.shared, position, destination)
        one.forwarder.set_outstanding(outstanding)
        one.forwarder.grown(head)
        one.forwarder.wake()
