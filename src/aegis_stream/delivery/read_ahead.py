"""When to read what a destination will need next, while its last page is still being sent."""

import asyncio

from aegis_stream.errors import Unavailable

from .agenda import Agenda
from .forwarding import Forwarding, Serving
from .pages import PEEK_EVENTS_MAX

STORE_RETRY_S = 1.0
"""Pause before a page that could not be read is tried again, seconds."""


class ReadAhead:
    """Reads for one destination, one read at a time.

    Args:
        owner: woken after each read, and after a read that the store could not serve; told of bugs.

    Attributes:
        busy: a read is under way; a second one would read the same.
        batches: the format sends several events in a request, so a few fresh ones wait for more.
        wait_s: how long they wait, seconds.
    """

    __slots__ = (
        "_agenda",
        "_owner",
        "_shared",
        "_since_s",
        "batches",
        "busy",
        "wait_s",
    )

    def __init__(
        self,
        agenda: Agenda,
        shared: Forwarding,
        owner: Serving,
    ) -> None:
        self._agenda = agenda
        self._shared = shared
        self._owner = owner
        self._since_s: float | None = None  # since when fresh events wait for company
        self.busy = False
        self.batches = False
        self.wait_s = 0.0

    @property
    def due_at_s(self) -> float | None:
        """When events that wait for company have waited long enough; None when none waits."""
        return self._since_s + self.wait_s if self._since_s is not None else None

    def begin(self, now_s: float) -> bool:
        """Begin to read if something is wanted; True if it has been read already."""
        if self.busy:
            return False
        agenda = self._agenda
        source = agenda.live
        live, peeked = source.wants_page and not self._waits_for_company(now_s), False
        if live and source.unread <= PEEK_EVENTS_MAX:
            # So few are read at once, and only when nothing is left to send: until then more may come.
            peeked = not source.at_hand and source.peek()
            live = not (peeked or source.at_hand)
        if (
            live
            or agenda.retries.wants_rows(self._shared.schedule.now())
            or (agenda.replays and any(one.wants_page for one in agenda.replays))
        ):
            self.busy = True
            self._shared.outbound.spawn(self._read(live=live))
        return peeked

    def _waits_for_company(self, now_s: float) -> bool:
        """Tell whether a few fresh events wait for more, so that they travel together."""
        if not self.batches or self._agenda.live.unread >= self._agenda.limits.events_max:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s >= self.wait_s:
            self._since_s = None
            return False
        return True

    async def _read(self, *, live: bool) -> None:
        agenda = self._agenda
        try:
            now = self._shared.schedule.now()
            await agenda.retries.refill(now)
            if live:
                await agenda.live.refill(now)
            for replay in agenda.replays:
                await replay.refill(now)
        except Unavailable as error:
            self._shared.telemetry.warning("worker.store_unavailable", reason=error.explained)
            await asyncio.sleep(STORE_RETRY_S)
        except Exception as error:  # noqa: BLE001 - a bulkhead: one destination's bug must not end the worker of all
            self._owner.bug(error)
            return
        finally:
            self.busy = False
        self._owner.wake()
