"""Accepts connections, and ends them in good order."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import cast

from .connection import Connection
from .contract import Bounds, Reception

END_GRACE_S = 5.0
"""How long requests under way may take after a request to stop, seconds."""
ACCEPTED_AT_ONCE = 16
"""Connections that are accepted in one round of the event loop. libuv accepts one for each listening descriptor, and so whoever
connects would wait behind a thousand connections of one client for a thousand rounds."""
UNREAD_BYTES_MAX = 128 * 1024
"""Bytes of requests that the kernel takes for a connection before we read them; by itself it would take megabytes for each."""
UNSENT_BYTES_MAX = 64 * 1024
"""Bytes of answers that the kernel takes for a connection before it has sent them: what a client that does not read costs there."""
_LOOK_S = 0.02


@dataclass(slots=True)
class Listener:
    """Serves one listening socket."""

    reception: Reception
    bounds: Bounds
    _servers: list[asyncio.Server] = field(default_factory=list)

    async def start(self, listening: socket.socket) -> None:
        """Begin to accept."""
        # Accepted connections inherit both.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES_MAX)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
        loop = asyncio.get_running_loop()
        self._servers = [
            await loop.create_server(self._connection, sock=one, backlog=2048)
            for one in (listening, *(listening.dup() for _ in range(ACCEPTED_AT_ONCE - 1)))
        ]

    def _connection(self) -> asyncio.Protocol:
        return cast(asyncio.Protocol, Connection(self.reception, self.bounds))

    async def stop(self) -> None:
        """Accept no more, let requests under way end, close everything."""
        for server in self._servers:
            server.close()
        for one in list(self.bounds.open):
            one.finish()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_GRACE_S
        while self.bounds.open and loop.time() < deadline:  # noqa: ASYNC110 - many to wait for
            await asyncio.sleep(_LOOK_S)
        for one in list(self.bounds.open):
            one.transport.abort()
        await asyncio.sleep(0)
