"""Events and preflight decisions: JSON shapes."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aegis_stream.domain.preflight import Preflight

from .base import Moment, Strict

Decision = Literal["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"]


class EventBody(msgspec.Struct):
    """An event as stored, with its sequence and time of receipt."""

    sequence: int
    received_at: str
    event: msgspec.Raw


class EventsScanned(msgspec.Struct):
    """How far a search came that ended before its page was full: how many events it looked at, and the last of them."""

    events: int
    sequence: int
    received_at: str


class EventList(msgspec.Struct, omit_defaults=True):
    """Events. With `scanned` there may be more although the page is not full: go on with next_cursor."""

    data: list[EventBody]
    next_cursor: str | None
    scanned: EventsScanned | UnsetType = UNSET


class EventGroup(msgspec.Struct):
    """One kind of events."""

    dataset: str
    decision: str | None
    events: int


class EventBucket(msgspec.Struct):
    """The events of one step of time, from `at` on."""

    at: str
    events: int
    sampled: int
    groups: list[EventGroup]


class EventHistogram(msgspec.Struct):
    """Events over time."""

    step_seconds: int
    events_total: int
    data: list[EventBucket]


class EventDelivery(msgspec.Struct):
    """The delivery state of an event at one destination."""

    destination_id: str
    state: Literal["pending", "retrying", "delivered", "dead_letter", "filtered"]
    attempts: int
    last_status_code: int | None
    last_error: str | None
    next_attempt_at: str | None


class EventDetail(msgspec.Struct):
    """An event and its delivery state at every destination."""

    sequence: int
    received_at: str
    event: msgspec.Raw
    deliveries: list[EventDelivery]


class PreflightWrite(Preflight, forbid_unknown_fields=True):
    """A preflight decision; the service turns it into an event. Counts of findings, never their values."""

    timestamp: Moment | UnsetType = UNSET


class PreflightRecorded(msgspec.Struct):
    """The decision's event and its place in the log."""

    event_id: str
    sequence: int


class SendWrite(Strict):
    """Where to send an event again."""

    destination_ids: Annotated[list[str], Meta(min_length=1, max_length=100)]


class SentTo(msgspec.Struct):
    """One destination of an event that is sent again; `waiting` when it waits there for its first attempt already."""

    destination_id: str
    state: Literal["queued", "waiting"]


class SentAgain(msgspec.Struct):
    """What was done at each destination."""

    data: list[SentTo]
