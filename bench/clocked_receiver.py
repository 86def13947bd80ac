"""A receiver that records when each event arrives; a separate program: `python -m bench.clocked_receiver OUT`.

It expects one event per request, prints its port, and writes its records at SIGTERM: for each request the destination's
number, the 16 characters of the event's id after `pflt_`, CLOCK_MONOTONIC in nanoseconds, which all processes of a machine
share, and the SHA-256 of the body (it takes a microsecond, after the clock is read). The path selects the behaviour:
/ok/N answers 202, /hang/N never answers, /slow/N answers after five seconds.
"""

import asyncio
import hashlib
import re
import signal
import struct
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

NOTE = struct.Struct("<i16sq32s")
SLOW_S = 5.0
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
_KEY = re.compile(rb'"id": ?"pflt_(.{16})"')


class Connection(asyncio.Protocol):
    """One connection from a sender."""

    def __init__(self, notes: bytearray) -> None:
        self._notes = notes
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Record complete requests, and answer them."""
        now_ns = time.monotonic_ns()
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._unread, 0, end + 2)
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._unread) < whole:
                return
            request, self._unread = self._unread[:whole], self._unread[whole:]
            self._take(request, end + 4, now_ns)

    def _take(self, request: bytes, head_bytes: int, now_ns: int) -> None:
        assert self._transport is not None
        kind, _, destination = request.split(b" ", 2)[1].decode().strip("/").partition("/")
        key, body = _KEY.search(request), request[head_bytes:]
        digest = hashlib.sha256(body).digest()
        self._notes += NOTE.pack(int(destination), key.group(1) if key else b"", now_ns, digest)
        if kind == "ok":
            self._transport.write(ANSWER)
        elif kind == "slow":
            asyncio.get_running_loop().call_later(SLOW_S, self._answer)

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ANSWER)


async def receive(out: Path) -> None:
    """Receive until SIGTERM; then write the records."""
    loop, stop, notes = asyncio.get_running_loop(), asyncio.Event(), bytearray()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(notes), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()
    partial = out.with_suffix(".partial")
    partial.write_bytes(notes)
    partial.replace(out)


if __name__ == "__main__":
    uvloop.run(receive(Path(sys.argv[1])))
