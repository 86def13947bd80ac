"""A load at a fixed rate, one event per request; a separate program: `python -m bench.paced_load PORT KEY RUN RATE SECONDS OUT`.

It is an open loop: it sends on schedule whether or not earlier answers have arrived, so a slow service cannot reduce its
own load. For each event it writes the number, and CLOCK_MONOTONIC in nanoseconds when it was sent and acknowledged.
"""

import asyncio
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import cast

import uvloop

from .events import event_body
from .load import ingest_request

NOTE = struct.Struct("<iqq")
TICK_S = 0.001
CONNECTIONS_MAX = 256
ANSWERS_S = 30.0


class Connection(asyncio.Protocol):
    """One connection to the service; one request at a time."""

    def __init__(self, load: "PacedLoad") -> None:
        self._load = load
        self._number = -1
        self._sent_ns = 0
        self._answer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from it

    def send(self, number: int, request: bytes) -> None:
        """Start a request."""
        assert self._transport is not None
        self._number, self._sent_ns = number, time.monotonic_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Record the ack when it is complete."""
        now_ns = time.monotonic_ns()
        self._answer += data
        if not self._answer.endswith(b'"rejected":[]}'):
            return
        if not self._answer.startswith(b"HTTP/1.1 202 ") or b'"accepted":1,' not in self._answer:
            self._load.failed = self._answer
        self._answer = b""
        self._load.notes += NOTE.pack(self._number, self._sent_ns, now_ns)
        self._load.answered += 1
        self._load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the service closes as failed."""
        self._load.failed = f"connection closed: {exc} {self._answer!r}".encode()


class PacedLoad:
    """The load and its records."""

    def __init__(self) -> None:
        self.notes = bytearray()
        self.answered = 0
        self.idle: deque[Connection] = deque()
        self.failed = b""
        self._made = 0

    async def run(self, port: int, key: str, run: str, *, rate: float, seconds: float) -> None:
        """Send `rate` events per second for `seconds`, then wait for the last answers.

        Raises: RuntimeError when an answer is not the expected ack.
        """
        marker = event_body(run, 0)
        head, _, middle, tail = pieces(ingest_request(port, key, [marker]))
        for _ in range(16):
            await self._connect(port)
        loop = asyncio.get_running_loop()
        began_s, number, count = loop.time(), 0, int(rate * seconds)
        while number < count:
            due = min(count, int((loop.time() - began_s) * rate) + 1)
            while number < due:
                if not self.idle:
                    await self._connect(port)
                digits = b"%012d" % number
                self.idle.popleft().send(number, head + digits + middle + digits + tail)
                number += 1
            if self.failed:
                break
            await asyncio.sleep(TICK_S)
        deadline = loop.time() + ANSWERS_S
        while self.answered < number and not self.failed and loop.time() < deadline:
            await asyncio.sleep(0.01)
        if self.failed or self.answered < number:
            raise RuntimeError(f"{self.answered} of {number} answered; {self.failed[:300]!r}")

    async def _connect(self, port: int) -> None:
        if self._made == CONNECTIONS_MAX:
            while not self.idle and not self.failed:
                await asyncio.sleep(TICK_S)
            return
        self._made += 1
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        self.idle.append(connection)


def pieces(request: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Split a request at the digits of the event's number, which are in two places."""
    zeros = b"0" * 12 + b'"'
    first = request.index(zeros)
    second = request.index(zeros, first + 12)
    return request[:first], zeros, request[first + 12 : second], request[second + 12 :]


async def main(arguments: list[str]) -> None:
    """Run the load and write the records."""
    port, key, run, rate, seconds, out = arguments
    load = PacedLoad()
    await load.run(int(port), key, run, rate=float(rate), seconds=float(seconds))
    Path(out).write_bytes(load.notes)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
