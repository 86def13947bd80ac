"""Accepts connections, and ends them in good order."""

import asyncio
import socket
from dataclasses import dataclass, field

from .connection import Connection
from .contract import Bounds, Reception

END_GRACE_S = 5.0
"""How long requests under way may take after a request to stop, seconds."""
_LOOK_S = 0.02


@dataclass(slots=True)
class Listener:
    """Serves one listening socket."""

    reception: Reception
    bounds: Bounds
    _server: asyncio.Server | None = field(default=None)

    async def start(self, listening: socket.socket) -> None:
        """Begin to accept."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self.reception, self.bounds), sock=listening, backlog=2048
        )

    async def stop(self) -> None:
        """Accept no more, let requests under way end, close everything."""
        assert self._server is not None, "it was started"
        self._server.close()
        for one in list(self.bounds.open):
            one.finish()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_GRACE_S
        while self.bounds.open and loop.time() < deadline:  # noqa: ASYNC110 - many to wait for
            await asyncio.sleep(_LOOK_S)
        for one in list(self.bounds.open):
            one.transport.abort()
        await asyncio.sleep(0)
