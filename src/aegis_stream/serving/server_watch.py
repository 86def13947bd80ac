"""Looks at the PostgreSQL server again while the service runs: after a failover it is another one, with settings of its own."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.store.suitability import Finding
from aegis_stream.telemetry import Log

LOOK_S = 60.0
"""Pause between two looks, seconds. Each takes a connection for some milliseconds."""


@dataclass(slots=True)
class ServerWatch:
    """Logs what is wrong with the server since the last look; a service that runs is not stopped for it.

    Args:
        ask: asks the server, as before a start; on a thread.
    """

    ask: Callable[[], tuple[Finding, ...]]
    telemetry: Log
    _told: frozenset[Finding] | None = None  # None before the first look: the start has told the warnings

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Look once. A server that does not answer is told elsewhere, and so is a machine that has no thread to give."""
        with contextlib.suppress(Unavailable, RuntimeError):
            found = await asyncio.to_thread(self._wrong)
            for one in found:
                if one.state == "refuse" and one not in (self._told or ()):
                    self.telemetry.error("store.server_unsuitable", reason=one.detail)
                elif one.state == "warn" and self._told is not None and one.row not in self._rows():
                    self.telemetry.warning(
                        "store.server_warning", row=one.row, reason=one.detail, remedy=one.remedy
                    )
            self._told = frozenset(found)

    def _wrong(self) -> list[Finding]:
        try:
            return [one for one in self.ask() if one.state == "warn"]
        except Misconfigured as error:
            return [Finding("", "refuse", error.message)]

    def _rows(self) -> set[str]:
        return {one.row for one in self._told or ()}
