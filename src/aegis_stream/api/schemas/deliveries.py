"""Replays and attempts: JSON shapes."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aegis_stream.control.one_delivery import SentRequest

from .base import Moment, Strict


class ReplayWrite(Strict):
    """A range by time (`from`, `to`) or by sequence (`from_sequence`, `to_sequence`); without an end up to the newest event."""

    from_: Moment | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Moment | None | UnsetType = UNSET
    from_sequence: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    to_sequence: Annotated[int, Meta(ge=1)] | None | UnsetType = UNSET


class ReplayAccepted(msgspec.Struct, omit_defaults=True):
    """How many events the replay covers, and its id, to follow or cancel it; a preview has no id, and says how long it would take."""

    events: int
    replay_id: str | None
    eta_seconds: float | None | UnsetType = UNSET


class ReplayBody(msgspec.Struct):
    """A replay and its progress.

    `rate` is in events a second since it began; `rate` and `eta_seconds` are null before the first event, and `eta_seconds` at the end.
    """

    id: str
    from_sequence: int
    to_sequence: int
    done_through: int
    events_total: int
    events_done: int
    rate: float | None
    eta_seconds: float | None
    state: Literal["running", "done", "cancelled"]
    created_at: str
    finished_at: str | None


class ReplayList(msgspec.Struct):
    """Replays of a destination, newest first."""

    data: list[ReplayBody]
    next_cursor: str | None


class DeliveryBody(msgspec.Struct):
    """One attempt to deliver one event."""

    id: str
    destination_id: str
    event_id: str | None
    sequence: int
    attempt: int
    state: Literal["delivered", "failed"]
    status_code: int | None
    error: str | None
    latency_ms: float
    at: str


class Scanned(msgspec.Struct):
    """How far a search came that ended before its page was full: rows of the attempt log, and the time of the oldest one."""

    rows: int
    back_to: str


class DeliveryList(msgspec.Struct, omit_defaults=True):
    """Attempts, newest first. With `scanned` there may be more although the page is not full: go on with next_cursor."""

    data: list[DeliveryBody]
    next_cursor: str | None
    scanned: Scanned | UnsetType = UNSET


class HeaderBody(msgspec.Struct):
    """A header; secret values are masked."""

    name: str
    value: str


class RequestBody(msgspec.Struct):
    """The request of an attempt, made again from the stored events.

    `exact`: it is what was sent; else `note` says what may differ. `body` is as it is before compression.
    """

    method: str
    url: str
    headers: list[HeaderBody]
    body: str | None
    compression: str
    exact: bool
    note: str


def request_body(sent: SentRequest) -> RequestBody:
    """Show a request; its secret values are masked already."""
    return RequestBody(
        sent.method,
        sent.url,
        [HeaderBody(*one) for one in sent.headers],
        sent.body.decode("utf-8", "replace") if sent.body is not None else None,
        sent.compression,
        sent.exact,
        sent.note,
    )


class TimingBody(msgspec.Struct):
    """Times of an attempt. `is_mean`: the latency is the mean of a run of attempts that were stored together."""

    recorded_at: str | None
    began_at: str
    ended_at: str
    waited_ms: float | None
    latency_ms: float
    is_mean: bool


class DeliveryDetail(DeliveryBody):
    """One attempt in full; `attempts` are all those of this event at the destination, newest first.

    The answer is kept of the first of many failures alike: it came at `response_at`, which is before `at` where it is that of
    another attempt. Without one `response_at` is null.
    """

    attempts_max: int
    request: RequestBody
    response_at: str | None
    response_headers: list[HeaderBody]
    response_excerpt: str | None
    timing: TimingBody
    attempts: list[DeliveryBody]
