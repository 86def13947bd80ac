"""The front door without sockets: a transport that remembers, a reception that answers with what it was sent."""

import asyncio
from dataclasses import dataclass, field

import h11
import httpx

from aegis_stream.front.answer import Answer, make_answer
from aegis_stream.front.connection import Connection
from aegis_stream.front.contract import Admitted, Bounds
from aegis_stream.front.head import Head, Refusal
from aegis_stream.front.shares import Shares


class FakeTransport(asyncio.Transport):
    """Remembers what is written, and whether it is closed."""

    def __init__(self, address: str = "192.0.2.1") -> None:
        super().__init__()
        self.address = address
        self.written = bytearray()
        self.ended = self.closed = self.reading_paused = False
        self.unread = 0

    def get_extra_info(self, name, default=None):
        return (self.address, 4711) if name == "peername" else default

    def write(self, data):
        assert not self.ended, "nothing is written behind the end"
        self.written += data

    def write_eof(self):
        self.ended = True

    def close(self):
        self.closed = True

    def abort(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.reading_paused = True

    def resume_reading(self):
        self.reading_paused = False

    def set_write_buffer_limits(self, high=None, low=None):
        assert high == 0, "everything that is not written at once is counted"


class FakeDeadlines:
    """Knows whom to look at."""

    def __init__(self) -> None:
        self.watched = set()

    def add(self, watched):
        self.watched.add(watched)

    def discard(self, watched):
        self.watched.discard(watched)


@dataclass
class EchoReception:
    """Admits everything, remembers it, and answers at once (or when told, if `later`)."""

    shares: Shares
    body_max: int = 1_000_000
    later: bool = False
    requests: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    owed: list[Connection] = field(default_factory=list)

    def admit(self, head: Head, connection: Connection):
        def serve(body: bytes, one: Connection) -> None:
            self.requests.append((head.method, head.raw_path, body))
            if self.later:
                self.owed.append(one)
            else:
                one.answer(make_answer(200, [], b"%d" % len(body)))

        return Admitted("org", self.body_max, serve)

    def refuse(self, refusal: Refusal) -> Answer:
        self.refusals.append(refusal)
        return make_answer(refusal.status, [], refusal.detail.encode())


def make_bounds(**changes) -> Bounds:
    """Return bounds for a test."""
    values = {
        "shares": Shares(changes.pop("connections_max", 64), changes.pop("bytes_max", 1_000_000)),
        "deadlines": FakeDeadlines(),
        "network_of": str,
        "header_bytes_max": 8192,
        "headers_max": 32,
        "header_timeout_s": 10.0,
        "body_timeout_s": 30.0,
        "keep_alive_s": 75.0,
    }
    return Bounds(**(values | changes))


def connect(reception=None, bounds=None, address="192.0.2.1"):
    """Return a connection, its transport and its reception."""
    bounds = bounds or make_bounds()
    reception = reception or EchoReception(bounds.shares)
    connection, transport = Connection(reception, bounds), FakeTransport(address)
    connection.connection_made(transport)
    return connection, transport, reception


class FrontTransport(httpx.AsyncBaseTransport):
    """Sends requests through the front door, without a socket; the client is at 127.0.0.1."""

    def __init__(self, reception, bounds: Bounds) -> None:
        self.reception, self.bounds = reception, bounds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one request on a connection of its own."""
        body = await request.aread()
        lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
        lines += [b"%b: %b" % one for one in request.headers.raw if one[0].lower() != b"transfer-encoding"]
        if body and "content-length" not in request.headers:
            lines.append(b"content-length: %d" % len(body))
        answers = h11.Connection(h11.CLIENT)
        answers.send(h11.Request(method=request.method, target="/", headers=[("host", "x")]))
        answers.send(h11.EndOfMessage())
        connection = Connection(self.reception, self.bounds)
        transport = _Answering("127.0.0.1")
        connection.connection_made(transport)
        connection.data_received(b"\r\n".join([*lines, b"", b""]) + body)
        status, headers, content = 0, [], b""
        while True:
            event = answers.next_event()
            if event is h11.NEED_DATA:
                answers.receive_data(await transport.next_bytes())
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers.raw_items())
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        connection.connection_lost(None)
        return httpx.Response(status, headers=headers, content=content, request=request)


class _Answering(FakeTransport):
    """Hands on what is written as it comes."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._more = asyncio.Event()

    def write(self, data):
        super().write(data)
        self._more.set()

    async def next_bytes(self) -> bytes:
        """Wait for bytes, and take them."""
        await self._more.wait()
        self._more.clear()
        taken, self.written = bytes(self.written), bytearray()
        return taken
