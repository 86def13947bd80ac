"""The reconciliation at the end of every run: compares what was acknowledged with what was received.

Counts come from the measured run: nginx counts requests and bytes of bodies, and the service counts deliveries. To check ids
and bodies during the run would make the receiver slower than what is measured. So they are compared afterwards: a replay
delivers events of the measured run again, to a receiver that reads them.
"""

import hashlib
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .checking import checking_receiver
from .events import ORG_ID, RUN_CHARACTERS, Sent
from .processes import wait_until
from .service import Service

CHECKED_MAX = 20_000
"""Default of the most events that are compared: it takes seconds, whatever the length of the run."""
STRETCHES = 8
"""Most concurrent replays of one destination."""
STALL_S = 60.0
BATCHED = {"format": "ndjson", "batch": {"max_events": 500, "max_bytes": 1_000_000, "max_wait_ms": 50}}
_KEY = re.compile(rb'"id": ?"pflt_(.{16})"')


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The counts of one run.

    Args:
        acknowledged: events acknowledged during the run; for the peer, which does not acknowledge, events sent.
        received: arrivals at the receiver, of all destinations.
        destinations: how often each event had to arrive.
        duplicates: arrivals beyond that.
        body_bytes: bytes of all received bodies; None if the receiver did not count them.
        ids_compared, checksums_compared: deliveries whose id, and whose SHA-256 of the body, were compared with what was sent.
    """

    acknowledged: int
    received: int
    destinations: int = 1
    duplicates: int = 0
    body_bytes: int | None = None
    ids_compared: int = 0
    checksums_compared: int = 0

    @property
    def missing(self) -> int:
        """Deliveries that did not arrive."""
        return max(0, self.acknowledged * self.destinations - self.received)

    def line(self) -> str:
        """Return the counts as a line for people."""
        times = f" × {self.destinations}" if self.destinations > 1 else ""
        size = "" if self.body_bytes is None else f", {self.body_bytes:,} bytes"
        counts = f"{times}, {self.received:,} received{size}, {self.duplicates:,} duplicates"
        if not self.ids_compared:
            return f"counted: {self.acknowledged:,} handed over{counts}, {self.missing:,} missing"
        return (
            f"reconciled: {self.acknowledged:,} acknowledged{counts}; "
            f"{self.ids_compared:,} ids and {self.checksums_compared:,} checksums compared, all equal"
        )


def together(parts: Sequence[Reconciliation]) -> Reconciliation:
    """Return the sum over parts of one run, all with the same number of destinations."""
    sizes = [one.body_bytes for one in parts]
    return Reconciliation(
        acknowledged=sum(one.acknowledged for one in parts),
        received=sum(one.received for one in parts),
        destinations=parts[0].destinations,
        duplicates=sum(one.duplicates for one in parts),
        body_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
        ids_compared=sum(one.ids_compared for one in parts),
        checksums_compared=sum(one.checksums_compared for one in parts),
    )


class Contents:
    """Compares bodies that arrive with what was sent, with one byte of memory per event.

    Args:
        sent: all runs that may arrive.
    """

    def __init__(self, sent: Sequence[Sent]) -> None:
        self._runs = {one.name: (one, bytearray(one.count)) for one in sent}
        self._lock = threading.Lock()
        self.received = self.known = self.twice = self.foreign = self.changed = 0

    def take(self, bodies: Sequence[bytes]) -> None:
        """Compare more bodies; may be called from several threads."""
        with self._lock:
            for body in bodies:
                found = _KEY.search(body)
                self.take_one(found.group(1) if found else b"", hashlib.sha256(body).digest())

    def take_one(self, key: bytes, digest: bytes) -> None:
        """Compare one body by its id (the 16 characters after `pflt_`) and the SHA-256 of its body."""
        self.received += 1
        sent, arrived = self._runs.get(key[:RUN_CHARACTERS], (None, b""))
        index = sent.index(key) if sent is not None else None
        if sent is None or index is None:
            self.foreign += 1
            return
        assert isinstance(arrived, bytearray)
        if arrived[index]:
            self.twice += 1
        else:
            arrived[index] = 1
            self.known += 1
        self.changed += digest != sent.digest(index)

    def check(self, wanted: int) -> None:
        """Check that `wanted` different events have arrived, each once and unchanged. Raises: RuntimeError."""
        if self.known == self.received == wanted and not self.changed:
            return
        raise RuntimeError(
            f"reconciliation failed: of {wanted:,} events {wanted - self.known:,} are missing, {self.twice:,} arrived more than once, "
            f"{self.changed:,} have a changed body, and {self.foreign:,} have an id that was not acknowledged"
        )


def stretches(first: int, last: int, events_max: int) -> list[tuple[int, int]]:
    """Return which sequences from `first` to `last`, both included, are compared: all of them, or evenly spaced parts.

    If there are more than `events_max`, they are eight ranges of equal length; the first begins with `first`, the last ends
    with `last`.
    """
    total = last - first + 1
    if total <= events_max:
        return [(first, last)]
    length = max(1, events_max // STRETCHES)
    starts = [first + (total - length) * number // (STRETCHES - 1) for number in range(STRETCHES)]
    return [(start, start + length - 1) for start in starts]


def check_contents(service: Service, sent: Sequence[Sent], first: int, events_max: int) -> int:
    """Replay events and compare their ids and bodies with what was sent.

    Args:
        sent: runs that are adjacent in the log; the order within a run does not matter.
        first: sequence of their first event.
        events_max: most events to compare.
    Returns: how many were compared.
    Raises: RuntimeError on any difference, TimeoutError when no more events arrive.
    """
    contents = Contents(sent)
    ranges = stretches(first, first + sum(one.count for one in sent) - 1, events_max)
    wanted = sum(high - low + 1 for low, high in ranges)

    def take(bodies: Sequence[bytes]) -> None:
        contents.take([body.replace(service.org_id.encode(), ORG_ID.encode()) for body in bodies])

    with checking_receiver(take) as url:
        path = f"/api/orgs/{service.org_id}/forwarding-destinations/{service.add_destination(url, **BATCHED)}"
        for low, high in ranges:
            body = {"from_sequence": low, "to_sequence": high}
            found = service.call("POST", path + "/replay", body)["events"]
            if found != high - low + 1:
                raise RuntimeError(
                    f"reconciliation failed: the log holds {found} events from {low} to {high}"
                )
        _wait_for_replays(service, path, contents)
    contents.check(wanted)
    return wanted


def _wait_for_replays(service: Service, path: str, contents: Contents) -> None:
    """Wait until all replays of a destination are done. Raises: TimeoutError when nothing arrives for a minute."""
    seen, since_s = -1, time.monotonic()
    while any(one["state"] == "running" for one in service.call("GET", path + "/replays")["data"]):
        if contents.received != seen:
            seen, since_s = contents.received, time.monotonic()
        elif time.monotonic() - since_s > STALL_S:
            raise TimeoutError(f"the replay stopped after {seen} events")
        time.sleep(0.05)


def check_counters(service: Service, ids: Sequence[str], events: int) -> None:
    """Check that the counters of the service equal what was received.

    Raises: TimeoutError when they do not reach it, RuntimeError when attempts failed.
    """
    for destination_id in ids:
        wait_until(
            f"stats.delivered = {events} of {destination_id}",
            lambda one=destination_id: service.stats(one)["delivered"] == events,
            10,
        )
        stats = service.stats(destination_id)
        if stats["failed_attempts"] or stats["backlog"] or stats["retrying"]:
            raise RuntimeError(f"not everything was delivered at the first attempt: {stats}")


def check_head(service: Service, events: int) -> None:
    """Check that the log ends with event number `events`. Raises: RuntimeError."""
    path = f"/api/orgs/{service.org_id}/events?after_sequence={events - 1}&limit=2"
    found = service.call("GET", path)["data"]
    if [one["sequence"] for one in found] != [events]:
        raise RuntimeError(f"{events} events were acknowledged, and the log ends with {found}")
