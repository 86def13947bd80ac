"""Well-behaved clients; a separate program: `python -m bench.clients PORT CLIENTS SECONDS RUN OUT`.

CLIENTS is a file with a line for each client: source address, organization, key. Each sends a single event at a fixed pace,
in turns on a connection that it keeps and on a new one. A kept connection that was closed before the answer began is opened
again and the event is sent again, as HTTP clients do. It writes a JSON list: for each client, the milliseconds of its
answers, and what failed.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

from .events import ORG_ID, event_body

PACE_S = 0.05
ANSWER_S = 10.0
"""Longest wait for an answer, seconds."""
TRIES = 2


@dataclass(slots=True)
class Seen:
    """What one client saw.

    Args:
        ms: milliseconds from the beginning of each request to its answer.
        failed: what went wrong, a text for each event that was not acknowledged.
        again: how often it had to send an event again.
    """

    ms: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    again: int = 0


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """One client of one organization."""

    def __init__(self, port: int, source: str, org_id: str, key: str, run: str) -> None:
        self.seen = Seen()
        self._port, self._source, self._org_id, self._key, self._run = port, source, org_id, key, run
        self._kept: Streams | None = None

    async def send(self, seconds: float, after_s: float) -> None:
        """Send events for a while, beginning a little later than the other clients."""
        loop = asyncio.get_running_loop()
        due_s, number = loop.time() + after_s, 0
        until_s = due_s + seconds
        while due_s < until_s:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await self._send_one(number, keeps=number % 2 == 0)
            number += 1
            due_s = max(due_s + PACE_S, loop.time())
        await self._close(self._kept)

    async def _send_one(self, number: int, *, keeps: bool) -> None:
        body = event_body(self._run, number).replace(ORG_ID.encode(), self._org_id.encode())
        began_s, failure = time.monotonic(), ""
        for _ in range(TRIES):
            try:
                status = await asyncio.wait_for(self._request(body, keeps=keeps), ANSWER_S)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                self._kept = None
                self.seen.again += 1
                failure = f"{type(error).__name__}: {error}"
                continue
            if status == 202:
                self.seen.ms.append(1e3 * (time.monotonic() - began_s))
                return
            failure = f"status {status}"
            break
        self.seen.failed.append(failure)

    async def _request(self, body: bytes, *, keeps: bool) -> int:
        streams = self._kept if keeps and self._kept is not None else await self._connect()
        reader, writer = streams
        ending = "" if keeps else "Connection: close\r\n"
        head = f"POST /api/orgs/{self._org_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\n"
        head += f"Content-Type: application/json\r\n{ending}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        stays = keeps and b"connection: close" not in answer
        self._kept = streams if stays else self._kept
        if not stays:
            await self._close(streams)
        return int(answer.split(b" ", 2)[1])

    async def _connect(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._source, 0))

    async def _close(self, streams: Streams | None) -> None:
        if streams is not None:
            streams[1].close()


async def main(arguments: list[str]) -> None:
    """Run all clients, and write what they saw."""
    port, listed, seconds, run, out = arguments
    lines = [line.split() for line in Path(listed).read_text().splitlines()]
    clients = [Client(int(port), source, org_id, key, run) for source, org_id, key in lines]
    starts = [PACE_S * number / len(clients) for number in range(len(clients))]
    await asyncio.gather(
        *(one.send(float(seconds), after_s) for one, after_s in zip(clients, starts, strict=True))
    )
    Path(out).write_text(json.dumps([asdict(one.seen) for one in clients]))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
