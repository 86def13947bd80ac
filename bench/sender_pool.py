"""Many senders on fewer connections; a separate program: `python -m bench.sender_pool PORT KEY RUN SENDERS CONNECTIONS PAGE OUT`.

Each sender has one event outstanding: it takes a free connection, sends the event, and begins with the next one when it is
acknowledged. PAGE is the harness's control page (see control.py); at its stop the senders end, and OUT gets the microseconds
from each sender's wish to send to the acknowledgement, as 4-byte integers.
"""

import array
import asyncio
import sys
import time
from collections import deque
from pathlib import Path
from typing import cast

import uvloop

from .control import ACKED, ANSWERS, BACKLOG_MAX, BAD, FIRST_SLOT, RECEIVED, SENT, STOP, Control, open_page
from .events import event_body
from .load import ingest_request
from .paced_load import pieces

WAIT_S = 0.01
"""Pause of a sender while too many events are in flight, seconds."""
ENDING = b'"rejected":[]}'
ONE_ACCEPTED = b'{"accepted":1,"duplicates":0,"rejected":[]}'


class Pool:
    """Senders that wait for a connection, connections that wait for a sender, and what they count."""

    def __init__(self, page: Control, request: tuple[bytes, bytes, bytes]) -> None:
        self._page, self._request = page, request
        self._free: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._number = self._answers = 0
        self.micros = array.array("I")
        self._loop = asyncio.get_running_loop()

    @property
    def idle(self) -> bool:
        """Whether every event that was sent is answered."""
        return self._answers == self._number

    def wish(self) -> None:
        """Begin to wait for a connection: a sender has an event."""
        if self._page.get(STOP):
            return
        if self._number - self._page.get(RECEIVED) > self._page.get(BACKLOG_MAX):
            self._loop.call_later(WAIT_S, self.wish)
            return
        self._waiting.append(time.monotonic_ns())
        self._go()

    def free(self, connection: "Connection") -> None:
        """Take a connection back."""
        self._free.append(connection)
        self._go()

    def answered(self, wished_ns: int, answer: bytes) -> None:
        """Count an answer; its sender goes on with the next event."""
        self.micros.append(min(0xFFFFFFFF, (time.monotonic_ns() - wished_ns) // 1000))
        self._answers += 1
        good = answer.startswith(b"HTTP/1.1 202 ") and answer.endswith(ONE_ACCEPTED)
        if not good:
            print(answer[:300], file=sys.stderr, flush=True)
        self._add(ACKED if good else BAD)
        self._page.set(FIRST_SLOT + ANSWERS, self._answers)
        self.wish()

    def _go(self) -> None:
        if self._free and self._waiting and not self._page.get(STOP):
            self._number += 1
            self._page.set(FIRST_SLOT + SENT, self._number)
            digits = b"%012d" % self._number
            head, middle, tail = self._request
            connection = self._free.popleft()
            connection.send(self._waiting.popleft(), head + digits + middle + digits + tail)

    def _add(self, place: int) -> None:
        self._page.set(FIRST_SLOT + place, self._page.get(FIRST_SLOT + place) + 1)


class Connection(asyncio.Protocol):
    """One connection to the service; one request at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._wished_ns = 0
        self._answer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from it

    def send(self, wished_ns: int, request: bytes) -> None:
        """Send a sender's event."""
        assert self._transport is not None
        self._wished_ns = wished_ns
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Hand a complete answer on, and the connection back."""
        self._answer += data
        if self._answer.endswith(ENDING):
            answer, self._answer = self._answer, b""
            self._pool.answered(self._wished_ns, answer)
            self._pool.free(self)


async def main(arguments: list[str]) -> None:
    """Send until the control page says stop."""
    port, key, run, senders, connections, path, out = arguments
    with open_page(Path(path)) as page:
        head, _, middle, tail = pieces(ingest_request(int(port), key, [event_body(run, 0)]))
        pool = Pool(page, (head, middle, tail))
        loop = asyncio.get_running_loop()
        for _ in range(int(connections)):
            _, made = await loop.create_connection(lambda: Connection(pool), "127.0.0.1", int(port))
            pool.free(made)
        for _ in range(int(senders)):
            pool.wish()
        while not (page.get(STOP) and pool.idle):
            await asyncio.sleep(WAIT_S)
        partial = Path(out).with_suffix(".partial")
        partial.write_bytes(pool.micros.tobytes())
        partial.replace(out)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
