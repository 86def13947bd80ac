"""When to read what a destination will need next, while its last page is still being sent."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aegis_stream.errors import Unavailable
from aegis_stream.ports import Clock
from aegis_stream.telemetry import Log

from .agenda import Agenda

STORE_RETRY_S = 1.0
"""Pause before a page that could not be read is tried again, seconds."""


class ReadAhead:
    """Reads for one destination, one read at a time.

    Args:
        spawn: starts a task of the worker.
        on_read: called after each read, and after a read that failed.

    Attributes:
        busy: a read is under way; a second one would read the same.
        batches: the format sends several events in a request, so a few fresh ones wait for more.
        wait_s: how long they wait, seconds.
    """

    __slots__ = (
        "_agenda",
        "_clock",
        "_on_read",
        "_since_s",
        "_spawn",
        "_telemetry",
        "batches",
        "busy",
        "wait_s",
    )

    def __init__(
        self,
        agenda: Agenda,
        clock: Clock,
        telemetry: Log,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        on_read: Callable[[], None],
    ) -> None:
        self._agenda = agenda
        self._clock = clock
        self._telemetry = telemetry
        self._spawn = spawn
        self._on_read = on_read
        self._since_s: float | None = None  # since when fresh events wait for company
        self.busy = False
        self.batches = False
        self.wait_s = 0.0

    @property
    def due_at_s(self) -> float | None:
        """When events that wait for company have waited long enough; None when none waits."""
        return self._since_s + self.wait_s if self._since_s is not None else None

    def begin(self, now_s: float) -> None:
        """Begin to read if something is wanted."""
        if self.busy:
            return
        agenda = self._agenda
        live = agenda.live.wants_page and not self._waits_for_company(now_s)
        if (
            live
            or agenda.retries.wants_rows(self._clock.now())
            or any(one.wants_page for one in agenda.replays)
        ):
            self.busy = True
            self._spawn(self._read(live=live))

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
            now = self._clock.now()
            await agenda.retries.refill(now)
            if live:
                await agenda.live.refill(now)
            for replay in agenda.replays:
                await replay.refill(now)
        except Unavailable as error:
            self._telemetry.warning("worker.store_unavailable", reason=error.message)
            await asyncio.sleep(STORE_RETRY_S)
        finally:
            self.busy = False
        self._on_read()
