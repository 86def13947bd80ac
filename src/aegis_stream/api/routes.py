"""The routes behind the front door, put together late.

The web framework costs as much CPU at the start as everything else together, and ingest does not need it. So it is loaded on a
thread, at the first call that needs it or when the process has been up for a moment; events are accepted meanwhile.
"""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field

from aegis_stream.front.gateway import Application
from aegis_stream.telemetry import place_of

from .service import Service

QUIET_S = 2.0
"""How long after the start the routes are put together if nobody has called, seconds: deliveries begin before that."""


@dataclass(slots=True)
class LateRoutes:
    """An ASGI application that makes the real one at the first call.

    Args:
        load: makes it, on a thread.
    """

    service: Service
    load: Callable[[Service], Application]
    _made: Application | None = None
    _making: "asyncio.Task[Application] | None" = field(default=None)

    async def __call__(self, *call: object) -> None:
        """Serve a call; the first ones wait until the routes are there. Raises: what the routes raise."""
        routes = self._made or await self._make()
        await routes(*call)

    async def prepare(self) -> None:
        """Put the routes together in a while, unless a call needs them before; an error is logged, and the next call tries again."""
        await asyncio.sleep(QUIET_S)
        try:
            await self._make()
        except Exception as error:  # noqa: BLE001 - no descriptor or memory is free: events are accepted all the same
            self.service.telemetry.error(
                "service.failed", path="", kind=type(error).__name__, place=place_of(error)
            )

    async def _make(self) -> Application:
        """Return the routes; everybody who asks meanwhile waits for the same ones."""
        if self._made is not None:
            return self._made
        if self._making is None or self._making.done():
            self._making = asyncio.get_running_loop().create_task(asyncio.to_thread(self._load))
        self._made = await asyncio.shield(self._making)
        return self._made

    def _load(self) -> Application:
        """Make the application; on a thread, because it takes a few hundred milliseconds."""
        routes = self.load(self.service)
        gc.freeze()  # it stays for good, and each full collection would walk through all of it
        return routes


def load_api(service: Service) -> Application:
    """Load the web framework and put the API's routes together."""
    from .app import create_app  # noqa: PLC0415 - see above

    return create_app(service)
