"""A name server on loopback that answers by script, and may be silent."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

A, AAAA = 1, 28
NO_SUCH_NAME = 3


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP, and over TCP when an answer is too long for UDP.

    Args:
        script: name → its addresses of both families; None for silence, an empty list for "no such name".

    Attributes:
        asked: how often each name was asked for, of both families together.
        port: of both UDP and TCP.
    """

    UDP_BYTES_MAX = 1200

    def __init__(self, script: Callable[[str], list[str] | None]) -> None:
        self.script = script
        self.asked: Counter[str] = Counter()
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        answer = self.answer(data)
        if answer is None:
            return
        if len(answer) > self.UDP_BYTES_MAX:
            answer = data[:2] + b"\x83\x80" + data[4:6] + bytes(6) + data[12 : data.index(b"\0", 12) + 5]
        self._transport.sendto(answer, addr)

    async def serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer over TCP."""
        try:
            while True:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                answer = self.answer(await reader.readexactly(length))
                if answer is not None:
                    writer.write(struct.pack(">H", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, query: bytes) -> bytes | None:
        """Return the answer to a query."""
        end = query.index(b"\0", 12) + 5
        name, kind = _name_of(query), struct.unpack(">H", query[end - 4 : end - 2])[0]
        self.asked[name] += 1
        addresses = self.script(name)
        if addresses is None:
            return None
        version = 4 if kind == A else 6
        packed = [one.packed for one in map(ip_address, addresses) if one.version == version]
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(one)) + one for one in packed)
        code = 0 if addresses else NO_SUCH_NAME
        counts = struct.pack(">HHHH", 1, len(packed), 0, 0)
        return query[:2] + bytes([0x81, 0x80 | code]) + counts + query[12:end] + records


def _name_of(query: bytes) -> str:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels).lower()


@asynccontextmanager
async def serving_names(script: Callable[[str], list[str] | None]) -> AsyncIterator[NameServer]:
    """Serve names on loopback, over UDP and TCP at the same port."""
    loop, server = asyncio.get_running_loop(), NameServer(script)
    stream = await asyncio.start_server(server.serve_stream, "127.0.0.1", 0)
    server.port = stream.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(lambda: server, ("127.0.0.1", server.port))
    try:
        yield server
    finally:
        transport.close()
        stream.close()
