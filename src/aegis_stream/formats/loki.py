"""Grafana Loki, `/loki/api/v1/push`: one stream, each event a line under its time in nanoseconds.

All events of a request are in one stream. For a request with several streams, Loki's ingester reports only the error of the
last one, and lines of the others that it rejects are lost behind a 204. So the dataset is no label; it is in the line like all
other fields. It is no structured metadata either: Loki 2.9 and older schemas reject that. A line is the event as stored, so an
event that is sent twice is the same line, which Loki stores once. Only 204 is success.

Source: `instance.Push` and `stream.validateEntries` of Loki 3.7.8's ingester.
"""

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

import msgspec

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Request, Verdict

from .answers import is_success, rejected, unexpected
from .fields import SOURCE, nanos_of
from .format import Format

STATUS_BLOCKED = 260
"""Loki's default status for a tenant or stream whose ingestion is blocked."""

_PUSH = b'{"streams":[{"stream":{"service_name":"%s"},"values":[%s]}]}'
_REFUSED = (
    "answered 400: Loki rejected the line: it is older than reject_old_samples_max_age, more than half of max_chunk_age (an hour) "
    "behind the newest line of its stream, too far ahead, or longer than max_line_size"
)
_encode = msgspec.json.encode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send one stream, the oldest event first: Loki compares every line with the newest one before it."""
    timed = sorted([(nanos_of(body), body) for body in bodies], key=itemgetter(0))
    entries = [b'["%d",%s]' % (nanos, _encode(body.decode())) for nanos, body in timed]
    return Request(_PUSH % (SOURCE.encode(), b",".join(entries)))


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status: only 204 is success, and 260 means that Loki blocks ingestion."""
    if not is_success(answer):
        verdict = rejected(answer, count)
        if isinstance(verdict, Failure) and verdict.status_code == 400:
            return replace(verdict, message=_REFUSED)
        return verdict
    if answer.status == 204:
        return Accepted(204)
    if answer.status == STATUS_BLOCKED:
        message = "answered 260: Loki blocks ingestion for this tenant or stream: check its limits"
        return Failure(FailureScope.DESTINATION, message, status_code=STATUS_BLOCKED, fix_needed=True)
    return unexpected(answer, "Loki")


LOKI = Format(
    "loki",
    encode,
    interpret,
    batches=True,
    frame_bytes=32,
    growth=1.2,
    events_max=1000,
    body_bytes_max=1_000_000,
    in_order=True,
)
