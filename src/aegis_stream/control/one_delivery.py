"""One attempt in full: the request as it was sent, what is known of the answer, its times, and the event's other attempts there.

No request is stored. It is made again from the stored events by the destination's format, which is pure, so it is what was
sent wherever the events of the request are known and the destination was not changed since. `SentRequest.note` says where not.
"""

from dataclasses import dataclass
from typing import NamedTuple

from aegis_stream import PRODUCT, __version__
from aegis_stream.domain.attempt import Failure, Request
from aegis_stream.domain.delivery import DestinationKey, KeptAnswer
from aegis_stream.domain.destination import MASK, Compression, Destination, DestinationSpec, mask_url
from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Invalid, NotFound
from aegis_stream.pipeline.attempt import format_of, request_of
from aegis_stream.pipeline.compress import compressed
from aegis_stream.pipeline.route import route_of
from aegis_stream.store import answers, attempt_lists, attempts, destinations, log
from aegis_stream.store.attempt_lists import AttemptFilter
from aegis_stream.store.attempts import AttemptRow
from aegis_stream.store.database import Unit

from .caller import Caller
from .deliveries import START, Delivery
from .deps import ControlDeps

BODY_BYTES_MAX = 1024 * 1024
"""Largest request body that is shown."""
ALONE = "shown as a request of this event alone: which others were sent with it is not kept"
CHANGED = "the destination was changed since: shown as it would be sent now"
GONE = "the event is no longer in the log: its body cannot be shown"
DAMAGED = "the stored credential cannot be decrypted: the request cannot be shown"
TOO_LARGE = f"the body is larger than {BODY_BYTES_MAX} bytes: it is not shown"


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request, as far as it is known.

    Args:
        url: with the part masked that may be a credential; "" where it is not known.
        headers: in the order in which they are sent; secret values are masked.
        secrets: names of the headers whose value is masked.
        body: as it is before compression; None where it cannot be shown.
        exact: body and headers are those that were sent.
        note: why they may not be, "" where they are.
    """

    url: str
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    body: bytes | None = None
    compression: Compression = "none"
    exact: bool = False
    note: str = ""


class Timing(NamedTuple):
    """What is known of the times of an attempt.

    Args:
        recorded_at: when the event was recorded; None when it is no longer in the log.
        began_at, ended_at: from the first byte of the request, or the beginning of its connection, to the end of the answer.
        is_mean: the latency is the mean of a run of attempts that were stored together, and the times are near it.
    """

    recorded_at: Micros | None
    began_at: Micros
    ended_at: Micros
    is_mean: bool


class FullDelivery(NamedTuple):
    """One attempt in full.

    Args:
        answer: what it was answered, or a failed attempt like it before; None where none is kept.
        attempts_max: after so many attempts an event becomes a dead letter there.
        attempts: all attempts of the event at this destination, newest first.
    """

    delivery: Delivery
    request: SentRequest
    timing: Timing
    attempts_max: int
    attempts: list[Delivery]
    answer: KeptAnswer | None


class _Found(NamedTuple):
    destination: Destination
    row: AttemptRow
    event_id: str | None
    recorded_at: Micros | None
    others: list[AttemptRow]
    answer: KeptAnswer | None


async def read(deps: ControlDeps, caller: Caller, dst_id: str, delivery_id: str) -> FullDelivery:
    """Return one attempt at a destination. Raises: NotFound, Unavailable."""
    attempt_no, sequence = _parse(delivery_id)
    no = caller.organization_no

    def work(unit: Unit) -> _Found:
        found = destinations.find(unit, deps.sealer, no, dst_id, damaged_too=True)
        row = attempts.find(unit, found, attempt_no)
        if row is None or not row.first <= sequence <= row.last:
            raise _not_found(delivery_id)
        names = unit.rows("event_ids", (no, sequence, sequence))
        key = DestinationKey(no, found.no)
        others = attempt_lists.of_event(unit, [key], AttemptFilter(), sequence, START[0])
        recorded_at = log.received_at(unit, no, sequence)
        answer = answers.find(unit, found, row, sequence)
        rows = [one for _, one in others]
        return _Found(found, row, names[0][1] if names else None, recorded_at, rows, answer)

    found = await deps.db.read(work)
    row, spec = found.row, found.destination.spec
    deliveries = [Delivery(one, sequence, found.event_id, dst_id) for one in found.others]
    timing = Timing(
        found.recorded_at,
        Micros(row.at - row.latency_us),
        row.at,
        is_mean=row.state == "delivered" and row.attempt == 1,
    )
    request = await _request(deps, caller, found, sequence)
    delivery = Delivery(row, sequence, found.event_id, dst_id)
    return FullDelivery(delivery, request, timing, spec.retry.max_attempts, deliveries, found.answer)


async def _request(deps: ControlDeps, caller: Caller, found: _Found, sequence: int) -> SentRequest:
    """Make the request of an attempt again."""
    destination, row = found.destination, found.row
    if destination.damaged:
        return SentRequest("", note=DAMAGED)
    try:
        route = route_of(destination.spec, deps.settings, destination.org_id)
    except Invalid as error:
        return SentRequest("", note=f"the destination is no longer allowed: {error.message}")
    notes = [CHANGED] if destination.updated_at > row.at - row.latency_us else []
    bodies: list[bytes] = []
    if format_of(destination.spec).batches:
        bodies = await _batch(deps, caller, found)
        notes += [] if bodies else [ALONE]
    if not bodies:
        bodies = await _bodies(deps, caller, [(sequence, sequence)])
    return request_shown(destination.spec, route, bodies, notes)


async def _batch(deps: ControlDeps, caller: Caller, found: _Found) -> list[bytes]:
    """Return the bodies of all events of an attempt's request; none where these are not known, or they are too large."""
    answer = found.answer
    if answer is None or answer.at != found.row.at or not answer.sequences:
        return []
    parts = [part.partition("-") for part in answer.sequences.split(",")]
    return await _bodies(deps, caller, [(int(first), int(last or first)) for first, _, last in parts])


async def _bodies(deps: ControlDeps, caller: Caller, ranges: list[tuple[int, int]]) -> list[bytes]:
    """Return the stored bytes of events; none where they are larger than BODY_BYTES_MAX together, or one is gone."""
    found: list[bytes] = []
    left = BODY_BYTES_MAX
    for first, last in ranges:
        page = await deps.log.page(caller.organization_no, first, last, bytes_max=left, labels=False)
        left -= sum(map(len, page.bodies))
        found += page.bodies
        if len(page.bodies) != last - first + 1 or left < 0:
            return found if len(ranges) == 1 and first == last else []
    return found


def request_shown(spec: DestinationSpec, route: Route, bodies: list[bytes], notes: list[str]) -> SentRequest:
    """Show the request that a destination gets for these events; pure.

    Args:
        notes: why it may differ from the one that was sent; none where it does not.
    """
    request = request_of(format_of(spec), bodies) if bodies and all(bodies) else None
    if isinstance(request, Failure):
        notes, request = [*notes, request.message], None
    elif request is None:
        notes = [*notes, GONE]
    elif len(request.body) > BODY_BYTES_MAX:
        notes, request = [*notes, TOO_LARGE], None
    note = "; ".join(notes)
    shown = request or Request(b"")
    headers, secrets = _headers(spec, route, request)
    return SentRequest(
        url=_url(spec, route, shown.path_suffix),
        headers=headers,
        secrets=secrets,
        body=request.body if request is not None else None,
        compression=spec.compression,
        exact=not notes,
        note=note[:1].upper() + note[1:],
    )


def response_headers(answer: KeptAnswer | None) -> list[tuple[str, str]]:
    """Return the headers of an answer that was kept; pure."""
    return lines_of(answer.headers) if answer is not None else []


def lines_of(headers: str) -> list[tuple[str, str]]:
    """Return headers that stand one on a line as names and values; pure."""
    lines = headers.split("\n")
    parts = [line.partition(": ") for line in lines if line]
    return [(name, value) for name, _, value in parts]


def _url(spec: DestinationSpec, route: Route, suffix: str) -> str:
    """Return the URL of a request, masked as that of its destination is."""
    endpoint = route.endpoint
    path, mark, query = endpoint.target.partition("?")
    url = f"{endpoint.scheme}://{endpoint.host_header}{path}{suffix}{mark}{query}"
    return url if spec.auth_header_value is not None or spec.oauth2 is not None else mask_url(url)


def _headers(
    spec: DestinationSpec, route: Route, request: Request | None
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the headers of a request in the order of the sender, secret ones masked, and the names of these."""
    secrets = [name for name, _ in spec.headers]
    if spec.auth_header_value is not None and spec.auth_header_name is not None:
        secrets.insert(0, spec.auth_header_name)
    if spec.oauth2 is not None:
        secrets.insert(0, "Authorization")
    given = [(name, MASK if name in secrets else value) for name, value in route.headers]
    if spec.oauth2 is not None:
        given.append(("Authorization", MASK))
    names = {name.lower() for name, _ in given}
    own = [("User-Agent", f"{PRODUCT}/{__version__}")]
    if request is not None:
        own.append(("Content-Type", request.content_type))
    headers = [
        ("Host", route.endpoint.host_header),
        *given,
        *(one for one in own if one[0].lower() not in names),
    ]
    if request is not None:
        headers.append(("Content-Length", str(len(compressed(request, spec.compression).body))))
    return tuple(headers), tuple(secrets)


def _parse(delivery_id: str) -> tuple[int, int]:
    """Return the number of the row and the sequence in the id of an attempt. Raises: NotFound."""
    row, _, sequence = delivery_id.partition(".")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in (row, sequence)):
        raise _not_found(delivery_id)
    return int(row), int(sequence)


def _not_found(delivery_id: str) -> NotFound:
    return NotFound(
        f"there is no attempt {delivery_id[:80]!r} at this destination; it may be older than the retention time"
    )
