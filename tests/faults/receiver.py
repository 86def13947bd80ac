"""A receiver in the test's own process: cheap to start, and as hard to please as the fault suite needs.

    with careless_receiver(Random(1)) as receiver:
        client.add_destination(receiver.url + "json", format="json")
        ...
        receiver.accepted["/json"]

It takes an event only at the moment it answers 200, and not if the sender is gone by then. So whatever a killed worker had in
flight is lost unless it is sent again.
"""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class CarelessReceiver:
    """What it does, and what it has accepted; both may be read and changed from the test's thread.

    Args:
        fail: share of the requests that are answered `status`.
        latency_s: shortest and longest time until an answer, seconds.
    Attributes:
        accepted: bodies of the requests that were answered 200, in order, by path.
        accepted_s: monotonic time of each of them.
        requests: number of requests by path, whatever the answer.
    """

    random: Random
    fail: float = 0.1
    latency_s: tuple[float, float] = (0.0, 0.04)
    status: int = 500
    url: str = ""
    accepted: dict[str, list[bytes]] = field(default_factory=dict)
    accepted_s: dict[str, list[float]] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)

    def bodies(self, path: str) -> list[bytes]:
        """Return the events that a path accepted, one a line, in order."""
        return [line for body in self.accepted.get(path, []) for line in body.splitlines()]


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: CarelessReceiver) -> None:
        self.receiver = receiver
        self.buffer = b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            found = LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.take(head.split(b" ", 2)[1].decode(), body)

    def take(self, path: str, body: bytes) -> None:
        """Answer a request after a while."""
        receiver = self.receiver
        receiver.requests[path] = receiver.requests.get(path, 0) + 1
        delay_s = receiver.random.uniform(*receiver.latency_s)
        asyncio.get_running_loop().call_later(delay_s, self.answer, path, body)

    def answer(self, path: str, body: bytes) -> None:
        """Accept the body if the sender is still there."""
        if self.transport.is_closing():
            return
        status = 200
        if self.receiver.random.random() < self.receiver.fail:
            status = self.receiver.status
        else:
            self.receiver.accepted.setdefault(path, []).append(body)
            self.receiver.accepted_s.setdefault(path, []).append(time.monotonic())
        self.transport.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)


@contextmanager
def careless_receiver(
    random: Random, *, host: str = "127.0.0.1", **options: Any
) -> Iterator[CarelessReceiver]:
    """Run a receiver on a free port of an address, on a thread of its own."""
    receiver = CarelessReceiver(random, **options)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: _Connection(receiver), host, 0, backlog=1024))
    receiver.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/"
    thread = threading.Thread(target=loop.run_forever, name="receiver", daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        server.close()
        for one in asyncio.all_tasks(loop):
            one.cancel()
        loop.close()
