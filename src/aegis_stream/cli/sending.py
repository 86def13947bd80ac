"""Sends a file of events as ingest requests, for `aegis event send` and the demonstration.

Every request can be repeated safely: each line has an event.id before it is sent for the first time, and the service stores
an id once.
"""

import io
import select
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, NamedTuple

import msgspec
from msgspec import Raw

from aegis_stream.domain.envelope import add_id
from aegis_stream.errors import AegisError

from .client import Client, Refused, Unreachable, printable
from .input_advice import unsendable

BATCH_EVENTS_MAX = 500
BATCH_BYTES_MAX = 4_000_000
LINE_BYTES_MAX = 1_000_000
"""Longer lines are truncated: no service accepts an event of this size, so the line is rejected either way."""
REJECTIONS_KEPT_MAX = 1000
"""Rejected lines that are kept; further ones are only counted."""
PROBLEMS_LISTED = 100
"""Most problems that the service lists in one answer."""
WARNINGS_SHOWN = 3
"""Most warnings of one answer that are shown."""
PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.5, 10.0
"""Pause before a request is repeated, seconds: doubles from the first to the longest."""
RETRY_AFTER_S_MAX = 60.0
IDLE_S = 0.2
"""A batch that is not full is sent when the input has been silent for this long, seconds."""

_CHUNK_BYTES = 65_536
_RETRIED = frozenset({429, 502, 503, 504})
_OF_ONE_EVENT = frozenset({400, 413})

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


class UnreadableInput(AegisError):
    """The input is no text, or no list of events, so nothing of it was sent."""

    code = "unreadable-input"


class Line(NamedTuple):
    """One event of the input: its line number, from 1, and its JSON."""

    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that the service rejected, and why."""

    line: int
    event_id: str | None
    error: str


@dataclass(slots=True)
class Summary:
    """What happened to the lines; `rejected` holds the first REJECTIONS_KEPT_MAX."""

    accepted: int = 0
    duplicates: int = 0
    rejected_total: int = 0
    rejected: list[RejectedLine] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """How many lines the service has answered."""
        return self.accepted + self.duplicates + self.rejected_total

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """Sends lines in batches and counts what happens to them.

    Args:
        retry_for_s: how long one request is repeated, seconds.
        make_id: returns a new event.id, for lines without one.
        now_s: monotonic clock, seconds.
        sleep: waits for a number of seconds.
        note: called with one line that says why it waits, or what the service warns about.
        on_stored: called with the lines that the service has stored.
    """

    client: Client
    retry_for_s: float
    make_id: Callable[[], str]
    now_s: Callable[[], float]
    sleep: Callable[[float], None]
    note: Callable[[str], None]
    on_stored: Callable[[list[Line]], None] = lambda _lines: None
    summary: Summary = field(default_factory=Summary)

    def send(self, batch: list[Line]) -> None:
        """Send one batch, repeatedly until it is answered, and add every line to the summary.

        Raises: Refused when the key or the organization is wrong. Unreachable when the time is over; the lines of this
            batch may then be stored or not, and it is safe to send them again.
        """
        lines = [line._replace(body=with_id(line.body, self.make_id)) for line in batch]
        try:
            answer = self._post(b"\n".join(line.body for line in lines))
        except Refused as error:
            if error.status != 422 and not (error.status in _OF_ONE_EVENT and len(lines) == 1):
                raise
            if len(lines) > PROBLEMS_LISTED:
                # The answer does not name every line; for smaller batches it does.
                for start in range(0, len(lines), PROBLEMS_LISTED):
                    self.send(lines[start : start + PROBLEMS_LISTED])
                return
            self._reject(lines, _refusals(error, len(lines)))
            return
        refused = {one["index"]: (one["event_id"], one["error"]) for one in answer["rejected"]}
        self.summary.accepted += answer["accepted"]
        self.summary.duplicates += answer["duplicates"]
        self._reject(lines, refused)
        for one in answer.get("warnings", [])[:WARNINGS_SHOWN]:
            self.note(f"line {lines[one['index']].number}: {printable(one['message'])}")
        self.on_stored([line for index, line in enumerate(lines) if index not in refused])

    def _reject(self, lines: list[Line], refused: dict[int, tuple[str | None, str]]) -> None:
        self.summary.rejected_total += len(refused)
        for index, (event_id, error) in sorted(refused.items()):
            if len(self.summary.rejected) < REJECTIONS_KEPT_MAX:
                self.summary.rejected.append(RejectedLine(lines[index].number, event_id, printable(error)))

    def _post(self, body: bytes) -> Any:
        path = self.client.org_path("events")
        give_up_s, pause_s = self.now_s() + self.retry_for_s, PAUSE_FIRST_S
        while True:
            try:
                return self.client.post_lines(path, body)
            except (Refused, Unreachable) as error:
                if isinstance(error, Refused) and error.status not in _RETRIED:
                    raise
                wait_s = max(pause_s, _asked_s(error))
                if self.now_s() + wait_s > give_up_s:
                    raise
                self.note(f"{error.message.partition(': ')[0]}: retrying in {wait_s:g} s")
                self.sleep(wait_s)
                pause_s = min(pause_s * 2, PAUSE_LONGEST_S)


def read_batches(stream: BinaryIO) -> Iterator[list[Line]]:
    """Yield batches of lines; a batch that is not full is yielded when the input falls silent.

    Raises: UnreadableInput when the first line is no text, because the input is compressed, UTF-16 or the like, or is an action of a bulk
        request.
    """
    batch: list[Line] = []
    size, seen = 0, False
    for line in _read_lines(stream):
        if line is not None and not seen:
            seen = True
            if (advice := unsendable(line.body)) is not None:
                raise UnreadableInput(advice)
        full = line is not None and (
            len(batch) == BATCH_EVENTS_MAX or size + len(line.body) + 1 > BATCH_BYTES_MAX
        )
        if batch and (line is None or full):
            yield batch
            batch, size = [], 0
        if line is not None:
            batch.append(line)
            size += len(line.body) + 1
    if batch:
        yield batch


def with_id(body: bytes, make_id: Callable[[], str]) -> bytes:
    """Return an event with an event.id; all other values keep their spelling, and text that is not an event is unchanged."""
    try:
        members = _decode_members(body)
        event = _decode_members(members["event"]) if "event" in members else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    if "id" in event or "event.id" in members:
        return body
    add_id(members, "event", make_id())
    return _encode(members)


def _read_lines(stream: BinaryIO) -> Iterator[Line | None]:
    """Yield lines that are not blank, and None when the input falls silent."""
    read = stream.read1 if isinstance(stream, io.BufferedReader | io.BytesIO) else stream.read
    number, pending = 0, b""
    while chunk := read(_CHUNK_BYTES):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            number += 1
            yield from _line(number, pending + end)
            pending = b""
        pending = (pending + rest)[:LINE_BYTES_MAX]
        if not _more_is_ready(stream):
            yield None
    yield from _line(number + 1, pending)


def _line(number: int, text: bytes) -> Iterator[Line]:
    body = text[:LINE_BYTES_MAX].strip()
    if number == 1:
        body = body.removeprefix(b"\xef\xbb\xbf")  # Windows editors put it there
    if body:
        yield Line(number, body)


def _more_is_ready(stream: BinaryIO) -> bool:
    try:
        return bool(select.select([stream], [], [], IDLE_S)[0])
    except (OSError, ValueError):  # not a file of the operating system, or a system that cannot tell
        return True


def _asked_s(error: AegisError) -> float:
    asked_s = error.retry_after_s if isinstance(error, Refused) else None
    return min(asked_s or 0.0, RETRY_AFTER_S_MAX)


def _refusals(error: Refused, count: int) -> dict[int, tuple[str | None, str]]:
    """Return what is wrong with each line of a request that was rejected as a whole."""
    refused: dict[int, tuple[str | None, str]] = dict.fromkeys(range(count), (None, error.detail))
    if count == 1:
        return refused
    for problem in error.problems:
        place, _, name = problem.field.removeprefix("[").partition("]")
        if place.isdecimal() and int(place) < count:
            refused[int(place)] = (None, f"{name.removeprefix('.')} {problem.message}".lstrip())
    return refused
