"""The receiving side of the demonstration: the reference receiver in a thread, and what it gets.

What is shown and compared comes from the receiver's own output, so it is what any receiver would see.
"""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any, NamedTuple

from aegis_stream.domain.envelope import has_only_dotted
from aegis_stream.receiver.handler import Counts
from aegis_stream.receiver.options import ReceiverOptions
from aegis_stream.receiver.output import event_line, notice_line
from aegis_stream.receiver.server import Ready, serve

from .demo_copy import ReceivedCopy
from .screen import Screen

SHOWN_AT_ONCE = 25
"""Events of a burst that are shown one by one; further ones are counted."""
PAUSE_S = 1.0
"""Silence that ends a burst, and time between two lines of progress, seconds."""
START_S = 10.0


class Fingerprint(NamedTuple):
    """A short digest of an event: tells whether two events are equal."""

    timestamp: str | None
    digest: bytes


def fingerprint_of(event: dict[str, Any], org_id: str) -> Fingerprint:
    """Return the fingerprint of an event as the service stores it, with its organization filled in."""
    stored = {name: value for name, value in event.items() if name != "@timestamp"}
    if has_only_dotted(stored, "organization"):
        stored["organization.id"] = org_id
    else:
        organization = stored.get("organization")
        stored["organization"] = {"id": org_id} | (organization if isinstance(organization, dict) else {})
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"))
    return Fingerprint(event.get("@timestamp"), hashlib.sha256(text.encode()).digest()[:16])


class Arrivals(TextIOBase):
    """Reads the receiver's output: shows the first events of a burst, counts the rest, keeps the fingerprint of each.

    Args:
        org_id: organization of the events.
        now_s: monotonic clock, seconds.
        name: of the receiver, in front of each line.
        fingerprints: of what has arrived, shared by several receivers.
    """

    def __init__(
        self,
        screen: Screen,
        org_id: str,
        now_s: Callable[[], float],
        *,
        name: str = "receiver",
        fingerprints: dict[str, Fingerprint] | None = None,
    ) -> None:
        super().__init__()
        self.fingerprints = {} if fingerprints is None else fingerprints
        self.last_s = now_s()
        self._screen = screen
        self._org_id = org_id
        self._now_s = now_s
        self._name = name
        self._in_burst = 0
        self._said_s = self.last_s
        self._unsaid = False

    def write(self, text: str, /) -> int:
        """Read lines of the receiver."""
        for line in text.splitlines():
            self._take(json.loads(line))
        return len(text)

    def settle(self) -> None:
        """Show how many events came once a burst has ended; called regularly."""
        if self._unsaid and self._now_s() - self.last_s > PAUSE_S:
            self._progress()

    def start_new_burst(self) -> None:
        """Start a new burst, without showing the count of the old one."""
        self._in_burst, self._unsaid = 0, False

    def _take(self, line: dict[str, Any]) -> None:
        now_s = self._now_s()
        if now_s - self.last_s > PAUSE_S:
            self.settle()
            self._in_burst = 0
        self.last_s = now_s
        self._in_burst += 1
        if "event" in line and not line["test"]:
            self.fingerprints.setdefault(str(line["id"]), fingerprint_of(line["event"], self._org_id))
        if self._in_burst <= SHOWN_AT_ONCE:
            self._said_s = now_s
            self._screen.say(f"   {self._name}  {_shown(line)}")
        else:
            self._unsaid = True
            if now_s - self._said_s > PAUSE_S:
                self._progress()

    def _progress(self) -> None:
        self._said_s, self._unsaid = self._now_s(), False
        self._screen.say(f"   {self._name}  … {len(self.fingerprints):,} events so far")


def _shown(line: dict[str, Any]) -> str:
    if "event" in line:
        mark = "duplicate" if line["duplicate"] else "test" if line["test"] else "event"
        return event_line(line["event"], line["at"], mark)
    mark = "failed" if "failed" in line else "refused"
    return notice_line(line["at"], mark, str(line.get(mark, "")))


@dataclass(slots=True)
class Receiving:
    """A running receiver: its URL, the certificate of its authority, and its counts."""

    url: str
    ca_certificate: Path
    counts: Counts
    thread: threading.Thread


@contextmanager
def receiving(
    arrivals: Arrivals, *, bearer: str, folder: Path, fails: Callable[[], bool], copy: ReceivedCopy
) -> Iterator[Receiving]:
    """Run the reference receiver over TLS in a thread until the block ends.

    Args:
        bearer: token that requests must carry.
        folder: directory of its certificate, which is created if it is missing.
        fails: called before each request; while it returns True, requests are answered 500.
        copy: gets each accepted event.
    Raises: OSError when it cannot start.
    """
    options = ReceiverOptions(
        port=0, bearer=bearer, tls=True, tls_dir=folder, json=True, fail=0.5, record=copy
    )
    started = threading.Event()
    found: list[Ready] = []
    faults: list[OSError] = []
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    def on_ready(ready: Ready) -> None:
        found.append(ready)
        started.set()

    async def receive() -> None:
        await serve(
            options,
            stop=stop,
            on_ready=on_ready,
            chance=lambda: 0.0 if fails() else 1.0,
            output=arrivals,
        )

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(receive())
        except OSError as error:
            faults.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="demo-receiver", daemon=True)
    thread.start()
    try:
        started.wait(START_S)
        if not found or found[0].ca_certificate is None:
            raise faults[0] if faults else OSError("the receiver did not start")
        yield Receiving(found[0].url, found[0].ca_certificate, found[0].counts, thread)
    finally:
        with suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join(START_S)
