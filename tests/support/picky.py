"""A receiver whose answer depends on the event, and can be changed while it runs.

    with picky_receiver(lambda event_id: 422 if event_id.endswith("7") else 202) as receiver:
        …
        receiver.judge = lambda event_id: 202

It takes one event in a request (format `json`), on loopback, and counts what it accepted by event id.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Judge = Callable[[str], int]


@dataclass
class PickyReceiver:
    """What it answers and what it has accepted.

    Args:
        judge: event id → status.
        delay_s: how long it takes for an answer, seconds.
    """

    judge: Judge
    delay_s: float = 0.0
    port: int = 0
    accepted: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                event_id = json.loads(await reader.readexactly(length))["event"]["id"]
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                status = self.judge(event_id)
                if status < 300:
                    self.accepted[event_id] += 1
                writer.write(b"HTTP/1.1 %d Told\r\nContent-Length: 0\r\n\r\n" % status)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


@contextmanager
def picky_receiver(judge: Judge, delay_s: float = 0.0) -> Iterator[PickyReceiver]:
    """Run a receiver until the block ends."""
    receiver, ready = PickyReceiver(judge, delay_s), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
        receiver.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0.05)  # a closed transport gives up its socket in a later turn of the loop

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(run())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
