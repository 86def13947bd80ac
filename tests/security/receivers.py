"""Receivers on loopback with scripted connections, and a sender to post to them.

    async with receiving(script) as receiver, posting(receiver.port) as channel:
        answer = await channel.post(REQUEST)

A script is a coroutine function of one Peer: it reads requests, and answers them or does worse. Nothing of the sender is
used but what `ports` promises.
"""

import asyncio
import contextlib
import fcntl
import ssl
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aegis_stream.domain.attempt import Request
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.ports import Channel
from aegis_stream.sender import AsyncSender, Guard, TrustStore

REQUEST = Request(b'{"event":{"id":"evt_1"}}')
SECRET = "Bearer c4n4ry-of-the-receivers"
LOOPBACK = NetGuard(parse_networks("127.0.0.0/8"))


@dataclass
class Peer:
    """One connection, seen from the receiver.

    Args:
        number: of the connection, from 1.
        taken: (connection, head, body) of every request of all connections, in order.
    """

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    taken: list[tuple[int, bytes, bytes]]

    async def take(self) -> bytes:
        """Read one request whole; returns its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        body = await self.reader.readexactly(length)
        self.taken.append((self.number, head, body))
        return body

    async def give(self, data: bytes) -> None:
        """Write, and wait until there is room for more."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_arrived(self) -> None:
        """Wait until the other end's kernel has all that was written, or the connection is closed."""
        transport = self.writer.transport
        while not transport.is_closing():
            unsent = bytearray(4)
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, unsent)
            if not any(unsent) and not transport.get_write_buffer_size():
                return
            await asyncio.sleep(0)

    async def give_for_ever(self, piece: bytes) -> None:
        """Write the same bytes again and again until the connection is closed, which ends the script."""
        while True:
            await self.give(piece)
            await asyncio.sleep(0)  # drain() by itself never lets anybody else run while there is room


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Receiver:
    """A listening script.

    Args:
        connections: how many there have been.
        ended: how many of them are over.
        names: the name that each TLS client asked for (SNI).
    """

    script: Script
    port: int = 0
    connections: int = 0
    ended: int = 0
    taken: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    tasks: set["asyncio.Task[None] | None"] = field(default_factory=set)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all requests, in order."""
        return [body for _, _, body in self.taken]

    async def until_ended(self, connections: int) -> None:
        """Wait until so many connections are over; without a timeout, since tests move the clock."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.ended >= connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run the script on one connection."""
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        peer = Peer(self.connections, reader, writer, self.taken)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.script(peer)
        finally:
            # After what was written has gone out: an abort would take answers back.
            writer.close()
            self.ended += 1
            async with self.changed:
                self.changed.notify_all()


@contextlib.asynccontextmanager
async def receiving(
    script: Script, *, address: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Listen on loopback; every connection runs the script."""
    receiver = Receiver(script)
    if context is not None:
        context.sni_callback = lambda _socket, name, _context: receiver.names.append(name)
        # What fails in a handshake is what we are after; asyncio would log it.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    listener = await asyncio.start_server(receiver.serve, address, port, ssl=context)
    receiver.port = listener.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        listener.close()
        for task in receiver.tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(one for one in receiver.tasks if one is not None), return_exceptions=True)
        for _ in range(5):
            await asyncio.sleep(0)  # for the loop to drop the sockets


class Names:
    """A resolver that gives the answers of a table one after the other, and then repeats the last one.

    Args:
        answers: the answers to the look-ups, whatever the name.
    """

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        """Give the next answer."""
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def make_route(
    port: int,
    *,
    host: str = "127.0.0.1",
    scheme: str = "http",
    secret: str = SECRET,
    ca: str | None = None,
    timeout_s: float = 10.0,
) -> Route:
    """Build a route like that of a destination."""
    endpoint = Endpoint(scheme, host, port, "/in?token=c4n4ry", is_address=host[0].isdigit())
    return Route(endpoint, (("Authorization", secret),), ca, timeout_s)


@contextlib.asynccontextmanager
async def posting(
    port: int,
    *,
    guard: Guard = LOOPBACK,
    names: Names | None = None,
    trust: TrustStore | None = None,
    **route: object,
) -> AsyncIterator[Channel]:
    """Open a channel of a new sender; a host name resolves to loopback unless `names` says otherwise."""
    sender = AsyncSender(
        user_agent="Aegis/1", guard=guard, resolver=names or Names(["127.0.0.1"]), trust=trust or TrustStore()
    )
    channel = sender.open(make_route(port, **route))  # type: ignore[arg-type]
    try:
        yield channel
    finally:
        channel.close()
        sender.close()
        await asyncio.sleep(0)


class Skipper:
    """Advances the event loop's clock, so that a deadline passes without waiting."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._real = self._loop.time
        self._ahead_s = 0.0
        self._loop.time = self.time  # type: ignore[method-assign]

    def time(self) -> float:
        """Return the loop's time."""
        return self._real() + self._ahead_s

    def skip(self, seconds: float) -> None:
        """Advance the time at once; due callbacks run in the next iterations of the loop."""
        self._ahead_s += seconds
