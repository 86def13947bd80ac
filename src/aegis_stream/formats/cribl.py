"""Cribl Stream and Edge, HTTP Bulk API source, `/cribl/_bulk`: an event a line, with `_time` beside its members.

Cribl reads the time of an event only from `_time`, in seconds; `@timestamp` stays a field.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType

from aegis_stream.domain.attempt import Accepted, Answer, Request, Verdict

from .answers import USUAL_SUCCESSES, is_success, rejected, unexpected
from .fields import one_line, seconds_of, splice
from .format import Format
from .status import is_page


class _Event(msgspec.Struct, gc=False):
    time: Raw | UnsetType = msgspec.field(name="_time", default=UNSET)


_read = msgspec.json.Decoder(_Event).decode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send events as lines; an event with its own `_time` keeps it."""
    return Request(b"".join([_line_of(body) + b"\n" for body in bodies]), "application/x-ndjson")


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status; a web page is not an answer from Cribl."""
    if not is_success(answer):
        return rejected(answer, count)
    if answer.status not in USUAL_SUCCESSES or is_page(answer.body):
        return unexpected(answer, "Cribl")
    return Accepted(answer.status)


def _line_of(body: bytes) -> bytes:
    line = one_line(body)
    return splice(b'"_time":' + seconds_of(body).encode(), line) if _read(body).time is UNSET else line


CRIBL = Format(
    "cribl",
    encode,
    interpret,
    batches=True,
    frame_bytes=26,
    body_bytes_max=2_000_000,
)
