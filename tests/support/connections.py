"""The front door on loopback, with a small application behind it, and clients that send bytes by hand."""

import asyncio
import contextlib
import socket

from aegis_stream.api.reception import ApiReception
from aegis_stream.front.answer import make_answer
from aegis_stream.front.gateway import Gateway
from aegis_stream.front.listener import Listener
from aegis_stream.front.shares import Shares
from aegis_stream.serving.http import bounds_of
from aegis_stream.settings import Settings
from support.settings import make_settings

SMALL = make_settings(
    connections_max=16,
    header_bytes_max=4096,
    headers_max=16,
    header_timeout_seconds=60,
    body_timeout_seconds=60,
    keep_alive_seconds=60,
)
LARGE_ANSWER = 64 * 1024 * 1024


class Peer:
    """One connection to the server, for raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send bytes; ignore a server that has already closed."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def ended(self) -> bytes:
        """Wait for the end of the connection; return the bytes until then."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


class Server:
    """A small application behind the front door, on loopback."""

    def __init__(self, settings: Settings):
        self.calls: list[tuple[str, int]] = []
        self.bodies: list[tuple[str, str, bytes]] = []
        self.scopes: list[dict] = []
        self.gate = asyncio.Event()
        self.shares = Shares(settings.api.connections_max, settings.api.bytes_under_way_max)
        self.bounds = bounds_of(settings.api, self.shares)
        self.gateway = Gateway(self.app, lambda path, error: make_answer(500, [], b""))
        self.reception = ApiReception(None, self.gateway, (), 64 * 1024 * 1024)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.address = self.listening.getsockname()
        self.front = Listener(self.reception, self.bounds)
        self.peers: list[Peer] = []

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self.bounds.open)

    async def app(self, scope, receive, send) -> None:
        """Read the whole body and answer with its length; /early answers before, /wait on demand, /large with a large body."""
        self.scopes.append(scope)
        if scope["path"] == "/wait":
            await self.gate.wait()
        body = b""
        while scope["path"] != "/early":
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.calls.append((scope["path"], len(body)))
        self.bodies.append((scope["method"], scope["path"], body))
        answer = b"x" * LARGE_ANSWER if scope["path"] == "/large" else b"%d" % len(body)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def connect(self) -> Peer:
        """Open a connection."""
        peer = Peer(*await asyncio.open_connection(*self.address))
        self.peers.append(peer)
        return peer


@contextlib.asynccontextmanager
async def serving(settings: Settings = SMALL):
    """Run a server."""
    server = Server(settings)
    await server.front.start(server.listening)
    try:
        yield server
    finally:
        server.gate.set()
        for peer in server.peers:
            peer.writer.close()
        await server.front.stop()


async def until(holds) -> None:
    """Run the server until a condition is true."""
    while not holds():
        await asyncio.sleep(0)
