"""Distance: a separate program that passes bytes on after a while: `python -m bench.relay PORT DELAY`.

It prints its own port, connects each client to PORT, and passes on what comes, both ways, DELAY seconds later, without a limit
of throughput. To connect takes no time: only bytes are delayed.
"""

import asyncio
import sys
from collections import deque
from typing import cast

import uvloop


class Half(asyncio.Protocol):
    """One end of a relayed connection; what arrives is written to the other end later."""

    def __init__(self, delay_s: float) -> None:
        self.other: Half | None = None
        self.transport: asyncio.Transport | None = None
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._held: deque[bytes] = deque()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Hold what came, for a while."""
        self._held.append(data)
        self._loop.call_later(self._delay_s, self._pass_on)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other end too, after what is held."""
        del exc
        self._ended = True
        self._loop.call_later(self._delay_s, self._close_other)

    def _pass_on(self) -> None:
        data = self._held.popleft()
        if self.other is not None and self.other.transport is not None:
            if not self.other.transport.is_closing():
                self.other.transport.write(data)
        elif not self._ended:
            self._held.appendleft(data)  # the other end is not connected yet
            self._loop.call_later(0.001, self._pass_on)

    def _close_other(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Near(Half):
    """The client's end, which connects the other one."""

    def __init__(self, port: int, delay_s: float) -> None:
        super().__init__(delay_s)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the target."""
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        far = Half(self._delay_s)
        far.other = self
        await self._loop.create_connection(lambda: far, "127.0.0.1", self._port)
        self.other = far


async def main(arguments: list[str]) -> None:
    """Relay until SIGTERM."""
    port, delay_s = int(arguments[0]), float(arguments[1])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Near(port, delay_s), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
