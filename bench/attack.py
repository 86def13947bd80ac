"""A client that holds what it can of the API; a separate program: `python -m bench.attack KIND PORT SOURCE KEY COUNT`.

It keeps COUNT connections from the address SOURCE, reads no answers, and opens a new connection for each one that is closed.
It prints a line when it has opened all of them for the first time, and ends at SIGTERM.

KIND is what it sends: unread (requests with large answers, no key), heads (heads without an end, no key), kept (a large head and
a whole request, then silence, no key), ahead (many requests in a row, no key), bodies (bodies without their last byte), lists
(requests for large pages of events).
"""

import select
import socket
import sys
import time
from collections.abc import Callable

from .events import ORG_ID

BODY_BYTES = 10 * 1024 * 1024
FIRST_A_SECOND, OPENED_A_SECOND = 1_000, 250
"""Most new connections in a second, until all are open and later: it takes memory and places, and leaves the machine to others."""
BYTES_A_SECOND = 100_000_000
"""Most bytes sent in a second: a line of a gigabit."""
TICK_S = 0.01
PIECE_BYTES = 64 * 1024
OWN_BUFFER = 64 * 1024
"""Send buffer of a connection: with more, the attacker's part of the kernel's memory would be what the others lack."""
HEAD = "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n"


def payload(kind: str, key: str) -> bytes:
    """Return what each connection sends."""
    bearer = f"Authorization: Bearer {key}\r\n"
    padding = "".join(f"X-Padding-{number}: {'x' * 320}\r\n" for number in range(80))
    makers: dict[str, Callable[[], str]] = {
        "unread": lambda: HEAD.format(line="GET /openapi.json", more="") * 40,
        "heads": lambda: HEAD.format(line="GET /healthz", more=padding)[:-2],
        "kept": lambda: HEAD.format(line="GET /healthz", more=padding),
        "ahead": lambda: HEAD.format(line="GET /healthz", more="") * 20_000,
        "bodies": lambda: _body_without_end(bearer),
        "lists": lambda: HEAD.format(line=f"GET /api/orgs/{ORG_ID}/events?limit=1000", more=bearer) * 20,
    }
    return makers[kind]().encode()


def _body_without_end(bearer: str) -> str:
    more = bearer + f"Content-Type: application/json\r\nContent-Length: {BODY_BYTES}\r\n"
    return HEAD.format(line=f"POST /api/orgs/{ORG_ID}/events", more=more) + "[" + " " * (BODY_BYTES - 2)


class Attack:
    """Its connections."""

    def __init__(self, port: int, source: str, data: bytes, count: int) -> None:
        self._port, self._source, self._count = port, source, count
        self._data = memoryview(data)
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, int]] = {}
        self._budget = 0
        self.opened = 0

    def run(self) -> None:
        """Hold the connections for ever."""
        told, next_s = False, time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s >= next_s:
                next_s = now_s + TICK_S
                self._budget = int(BYTES_A_SECOND * TICK_S)
                rate = OPENED_A_SECOND if told else FIRST_A_SECOND
                self._fill(int(rate * TICK_S))
                if not told and self.opened >= self._count:
                    told = True
                    print("holds", flush=True)
            if self._budget <= 0:
                time.sleep(max(0.0, next_s - time.monotonic()))
                continue
            for fd, events in self._poll.poll(TICK_S):
                self._went_on(fd, events)

    def _fill(self, most: int) -> None:
        for _ in range(min(most, self._count - len(self._open))):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, OWN_BUFFER)
            one.setblocking(False)
            one.bind((self._source, 0))
            one.connect_ex(("127.0.0.1", self._port))
            self._open[one.fileno()] = one, 0
            self._poll.register(one, select.EPOLLOUT | select.EPOLLRDHUP)
            self.opened += 1

    def _went_on(self, fd: int, events: int) -> None:
        one, sent = self._open[fd]
        if events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
            self._close(fd)
            return
        try:
            took = one.send(self._data[sent : sent + PIECE_BYTES])
            sent, self._budget = sent + took, self._budget - took
        except BlockingIOError:
            return
        except OSError:
            self._close(fd)
            return
        self._open[fd] = one, sent
        if sent == len(self._data):
            self._poll.modify(fd, select.EPOLLRDHUP)

    def _close(self, fd: int) -> None:
        one, _ = self._open.pop(fd)
        self._poll.unregister(fd)
        one.close()


def main(arguments: list[str]) -> None:
    """Hold connections until SIGTERM."""
    kind, port, source, key, count = arguments
    Attack(int(port), source, payload(kind, key), int(count)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
