"""Grafana Loki, `/loki/api/v1/push`: a stream for each dataset, each event a line under its time in nanoseconds.

Labels have few values by design; event.id is in the line. A line is the event as stored, so that the same event sent twice is
the same line, which Loki keeps once. Success is 204 and nothing else.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from aegis_stream.domain.attempt import Accepted, Answer, Failure, Request, Scope, Verdict

from .answers import is_success, refused, unread
from .fields import SOURCE, nanos_of, read_identity
from .format import Format

_STREAM = b'{"stream":{"service_name":"%s"%s},"values":[%s]}'
STATUS_BLOCKED = 260
"""What Loki answers by default to a tenant or stream whose ingestion is blocked."""

_encode = msgspec.json.encode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send a stream for each dataset; within a stream events keep their order."""
    streams: dict[bytes, list[bytes]] = {}
    for body in bodies:
        dataset = read_identity(body).event.dataset
        label = b"" if dataset is UNSET or bytes(dataset)[:1] != b'"' else b',"dataset":' + bytes(dataset)
        entry = b'["%d",%s]' % (nanos_of(body), _encode(body.decode()))
        streams.setdefault(label, []).append(entry)
    written = [_STREAM % (SOURCE.encode(), label, b",".join(entries)) for label, entries in streams.items()]
    return Request(b'{"streams":[%s]}' % b",".join(written))


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status: 204 alone is success, and 260 is Loki's way to say that it blocks what is sent."""
    if not is_success(answer):
        return refused(answer, count)
    if answer.status == 204:
        return Accepted(204)
    if answer.status == STATUS_BLOCKED:
        message = "answered 260: Loki blocks this tenant or stream: its limits say until when"
        return Failure(Scope.DESTINATION, message, status_code=STATUS_BLOCKED, fix_needed=True)
    return unread(answer, "Loki")


LOKI = Format(
    "loki",
    encode,
    interpret,
    batches=True,
    frame_bytes=32,
    growth=1.2,
    events_max=1000,
    body_bytes_max=1_000_000,
)
