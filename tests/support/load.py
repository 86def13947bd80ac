"""A load on a running service: threads that record small batches and keep account of what was sent and acknowledged.

load = Load(client, make_events, random)
... faults ...
load.stop()
assert set(load.acked) <= stored
"""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

from support.processes import Client

ANSWER_S = 20.0
"""Longest wait for an answer, seconds."""
PAUSE_S = 0.02
"""Pause after a batch that was not acknowledged, seconds."""
GIVE_UP = 0.3
"""Share of the batches without an answer that are not sent again: whether they were stored, nobody knows."""


def one_line_events(org_id: str, first: int, count: int) -> dict[str, bytes]:
    """Return complete events by id, each one line of JSON, so that batches deliver the same bytes too."""
    events = {}
    for number in range(first, first + count):
        event_id = f"evt_{number:07d}"
        event = {
            "@timestamp": "2026-05-15T10:33:21.456789+00:00",
            "event": {"id": event_id, "dataset": "app.login"},
            "organization": {"id": org_id},
            "message": f"Grüße № {number} " + "x" * (number % 7 * 100),
        }
        events[event_id] = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return events


@dataclass
class Load:
    """Records batches of events until it is stopped.

    A batch that is rejected for now, or whose answer does not come, is sent again with the same ids, or given up by chance.

    Args:
        make: (organization, first number, count) → events by id.
        batch: fewest and most events of a batch.
        pause_s: between two batches of a thread, seconds.
        first: number of the first event.
    Attributes:
        sent: all events by id; each thread adds its own.
        acked: those that were answered 202.
        acks_s: monotonic time of each 202.
        refused: answers other than 202, by status.
    """

    client: Client
    random: Random
    make: Callable[[str, int, int], dict[str, bytes]] = one_line_events
    threads: int = 2
    batch: tuple[int, int] = (1, 20)
    pause_s: float = 0.0
    first: int = 1
    sent: dict[str, bytes] = field(default_factory=dict)
    acked: dict[str, bytes] = field(default_factory=dict)
    acks_s: list[float] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._next = self.first
        self._threads = [
            threading.Thread(target=self._run, args=(Random(self.random.random()),), daemon=True)
            for _ in range(self.threads)
        ]
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """Begin no further batches."""
        self._goes_on.clear()

    def resume(self) -> None:
        """Record again after a pause."""
        self._goes_on.set()

    def stop(self) -> None:
        """Stop, and wait until no answer is outstanding."""
        self._stopped.set()
        self._goes_on.set()
        for thread in self._threads:
            thread.join(ANSWER_S + 5)
            assert not thread.is_alive()
        assert self.faults == []

    def _run(self, random: Random) -> None:
        line = _Line(self.client)
        try:
            while self._goes_on.wait() and not self._stopped.wait(self.pause_s):
                events = self._take(random)
                while not self._stopped.is_set() and not self._send(line, events):
                    if random.random() < GIVE_UP:
                        break
                    self._stopped.wait(PAUSE_S)
        except Exception as error:  # `stop` reports it to the test
            self.faults.append(repr(error))
        finally:
            line.close()

    def _take(self, random: Random) -> dict[str, bytes]:
        count = random.randint(*self.batch)
        with self._lock:
            events = self.make(self.client.organization.org_id, self._next, count)
            self._next += count
            self.sent.update(events)
        return events

    def _send(self, line: "_Line", events: dict[str, bytes]) -> bool:
        """Send a batch once; return whether it was acknowledged."""
        status = line.post(b"[" + b",".join(events.values()) + b"]")
        with self._lock:
            if status == 202:
                self.acked.update(events)
                self.acks_s.append(time.monotonic())
            elif status:
                self.refused[status] = self.refused.get(status, 0) + 1
        assert status in (0, 202, 429) or status >= 500, f"answered {status}"
        return status == 202


class _Line:
    """A connection that is opened again when it breaks."""

    def __init__(self, client: Client) -> None:
        parts = urlsplit(client.url)
        self._path = f"/api/orgs/{client.organization.org_id}/events"
        self._headers = {
            "Authorization": f"Bearer {client.organization.key}",
            "Content-Type": "application/json",
        }
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=ANSWER_S
        )

    def post(self, body: bytes) -> int:
        """Send a body; return the status, or 0 if there was no whole answer."""
        try:
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0
        return answer.status

    def close(self) -> None:
        self._connection.close()
