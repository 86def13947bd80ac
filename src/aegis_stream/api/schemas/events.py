"""Events and preflight decisions: JSON shapes."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from aegis_stream.domain.preflight import Preflight

from .base import Moment

Decision = Literal["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"]


class EventBody(msgspec.Struct):
    """An event as stored, with its sequence and time of receipt."""

    sequence: int
    received_at: str
    event: msgspec.Raw


class EventList(msgspec.Struct):
    """Events in log order."""

    data: list[EventBody]
    next_cursor: str | None


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
