"""What the reference receiver does with a request: it accepts, counts, prints and records events, or fails on purpose."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from . import elastic
from .body import BODY_BYTES_MAX, Event
from .connection import Request
from .inbox import Inbox, event_id, is_test
from .intake import Intake, Reply, accepted, refused, reply_with
from .options import ReceiverOptions
from .output import LineWriter, event_line, notice_line, record_line

REMEMBER_MAX = 500_000
"""Event ids that are remembered to mark duplicates; about 100 MB when full."""


@dataclass(slots=True)
class Counts:
    """What arrived so far.

    Args:
        received: events acknowledged with 202, including repetitions.
        unique: different events among them, by event.id, as far as the receiver remembers.
        duplicates: received - unique.
        test: test events among the unique ones.
        refused: requests answered 4xx.
        failed: requests answered 500 on purpose.
    """

    received: int = 0
    unique: int = 0
    duplicates: int = 0
    test: int = 0
    refused: int = 0
    failed: int = 0

    def line(self) -> str:
        """Return the counts as one clause for a person."""
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items())


class Handler:
    """Answers requests: accepts, prints, counts and records events."""

    def __init__(
        self,
        options: ReceiverOptions,
        *,
        chance: Callable[[], float],
        now: Callable[[], dt.datetime],
        lines: LineWriter,
        record: LineWriter | None,
    ) -> None:
        self.counts = Counts()
        self.body_bytes_max = BODY_BYTES_MAX
        self.latency_s = options.latency_s
        self._options = options
        self._intake = Intake(options.verifier(), Inbox(remember_max=REMEMBER_MAX))
        self._chance = chance
        self._now = now
        self._lines = lines
        self._record = record

    def answer(self, request: Request) -> Reply:
        """Return the reply to a request."""
        path = request.target.partition("?")[0]
        if request.method in {"GET", "HEAD"} and path == "/":
            return reply_with(200, asdict(self.counts))
        if request.method in {"GET", "HEAD"} and path == "/healthz":
            return reply_with(200, {"status": "ok"})
        at = self._stamp()
        reply = self._take(request, at)
        if self._record:
            # Written before the answer goes out: whoever has a 202 finds the request in the record.
            self._record.add(record_line(at, request.target, request.headers, request.body, reply.status))
            self._record.flush()
        return reply

    def refuse_body(self) -> Reply:
        """Return the reply to a body that exceeds the limit."""
        return self._refuse(self._intake.too_large(), self._stamp())

    def _stamp(self) -> str:
        if self._options.quiet and not self._record:
            return ""  # it is not shown
        return self._now().isoformat(timespec="milliseconds")

    def _take(self, request: Request, at: str) -> Reply:
        reply = self._intake.refuse_early(request.method, request.headers.get("content-length"))
        if reply:
            return self._refuse(reply, at)
        events = self._intake.open(request.headers, request.body)
        if isinstance(events, Reply):
            return self._refuse(events, at)
        if self._options.fail and self._chance() < self._options.fail:
            self.counts.failed += 1
            self._show_notice(at, "failed", f"500 on purpose, {len(events)} event(s)")
            return refused(500, "failed on purpose (--fail)")
        path = request.target.partition("?")[0]
        is_bulk = elastic.is_bulk(path)
        events = elastic.documents(events) if is_bulk else events
        fresh = sum(self._count(event, at) for event in events)
        if is_bulk:
            return elastic.bulk_created(len(events))
        return elastic.created() if elastic.is_document(path) else accepted(fresh, len(events) - fresh)

    def _count(self, event: Event, at: str) -> bool:
        with self._intake.inbox.once(event) as first_time:
            test = is_test(event)
            self.counts.received += 1
            self.counts.unique += first_time
            self.counts.duplicates += not first_time
            self.counts.test += first_time and test
            if not self._options.quiet:
                self._lines.add(self._describe(event, at, test=test, first_time=first_time))
        return first_time

    def _describe(self, event: Event, at: str, *, test: bool, first_time: bool) -> str:
        if self._options.json:
            marks = {"at": at, "id": event_id(event), "test": test, "duplicate": not first_time}
            return json.dumps({**marks, "event": event})
        return event_line(
            event, at, "test" if test and first_time else "event" if first_time else "duplicate"
        )

    def _refuse(self, reply: Reply, at: str) -> Reply:
        self.counts.refused += 1
        self._show_notice(at, "refused", f"{reply.status} {reply.error}")
        return reply

    def _show_notice(self, at: str, mark: str, notice: str) -> None:
        if not self._options.quiet:
            line = {"at": at, mark: notice}
            self._lines.add(json.dumps(line) if self._options.json else notice_line(at, mark, notice))
