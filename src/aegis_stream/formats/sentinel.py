"""Microsoft Sentinel, Logs Ingestion API, `/dataCollectionRules/<rule>/streams/<stream>`: an array of rows with few, fixed columns.

Sentinel answers 204 to a body that is not an array, and stores nothing. It drops columns that the rule does not declare, and
truncates a field above 64 KB, both silently. So all rows have the same columns, and an event that is too long for a column is
sent in pieces.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw

from aegis_stream.domain.attempt import Accepted, Answer, Request, Verdict
from aegis_stream.domain.envelope import ROOTS, Ambiguity, has_dotted_names, is_dotted, nest
from aegis_stream.domain.times import to_text

from .answers import is_success, rejected, unexpected
from .fields import micros_of, read_all
from .format import Format

COLUMN_BYTES_MAX = 64_000
"""Most bytes of a column; a longer field is truncated behind the 204."""
COLUMNS = ("event", "organization", "aegis")
"""Members with a column of the type dynamic; `message` has one of the type string."""
TIME = "timestamp"
"""The column for `@timestamp` as recorded. Azure replaces a TimeGenerated that is too old by its own time."""
AGE_MAX_S = 48 * 3600
"""Azure keeps the TimeGenerated of events up to this age, seconds."""
MORE = "more"
"""The column for all other members, whose names the rule cannot know."""

_read_members = msgspec.json.Decoder(dict[str, Raw]).decode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send an array of rows, also for a single event."""
    return Request(b"[" + b",".join([_row_of(body) for body in bodies]) + b"]")


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status: only 204 is success."""
    if not is_success(answer):
        return rejected(answer, count)
    return Accepted(204) if answer.status == 204 else unexpected(answer, "the Logs Ingestion API")


def _row_of(body: bytes) -> bytes:
    row: dict[str, Raw | str | dict[str, Raw]] = {"TimeGenerated": to_text(micros_of(body))}
    more: dict[str, Raw] = {}
    for name, value in _columns(body).items():
        if name in COLUMNS or (name == "message" and bytes(value)[:1] == b'"'):
            row[name] = value
        elif name == "@timestamp":
            row[TIME] = value
        else:
            more[name] = value
    if more:
        row[MORE] = Raw(msgspec.json.encode(more))
    long = [name for name, value in row.items() if isinstance(value, Raw) and len(value) > COLUMN_BYTES_MAX]
    for name in long:
        del row[name]
    if long:
        row |= {f"text_{number}": piece for number, piece in enumerate(_pieces(body), 1)}
    return msgspec.json.encode(row)


def _columns(body: bytes) -> dict[str, Raw]:
    """Return the event's members; those with dotted names of the envelope are in its objects, because these are the columns."""
    members = _read_members(body)
    if not has_dotted_names(read_all(body)):
        return members
    nested = nest(members)
    if isinstance(nested, Ambiguity):
        return members  # stored by version 0.1, which accepted a field in two spellings
    others = {name: value for name, value in members.items() if name not in ROOTS and not is_dotted(name)}
    return {name: Raw(msgspec.json.encode(value)) for name, value in nested.items()} | others


def _pieces(body: bytes) -> Iterator[str]:
    """Split the event as stored, between characters, into texts that fit a column."""
    place = 0
    while place < len(body):
        end = min(place + COLUMN_BYTES_MAX, len(body))
        while end < len(body) and body[end] & 0xC0 == 0x80:
            end -= 1
        yield body[place:end].decode()
        place = end


SENTINEL = Format(
    "sentinel",
    encode,
    interpret,
    batches=True,
    frame_bytes=96,
    events_max=1000,
    body_bytes_max=900_000,
    query=(("api-version", "2023-01-01"),),
    age_max_s=AGE_MAX_S,
    age_effect="store with the time of their arrival in TimeGenerated: use the column timestamp",
)
