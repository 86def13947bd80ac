"""Tests, replays, attempts and dead letters: JSON shapes."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .base import Moment, Strict


class TestBody(msgspec.Struct, omit_defaults=True):
    """The result of a test event."""

    ok: bool
    status_code: int | None
    latency_ms: float
    error: str | UnsetType = UNSET
    response_excerpt: str | UnsetType = UNSET


class ReplayWrite(Strict):
    """A range by time (`from`, `to`) or by sequence (`from_sequence`, `to_sequence`); without an end up to the newest event."""

    from_: Moment | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Moment | None | UnsetType = UNSET
    from_sequence: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    to_sequence: Annotated[int, Meta(ge=1)] | None | UnsetType = UNSET


class ReplayAccepted(msgspec.Struct):
    """How many events the replay covers, and its id, to follow or cancel it."""

    events: int
    replay_id: str | None


class ReplayBody(msgspec.Struct):
    """A replay and its progress."""

    id: str
    from_sequence: int
    to_sequence: int
    done_through: int
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
    event_id: str | None
    sequence: int
    attempt: int
    state: Literal["delivered", "failed"]
    status_code: int | None
    error: str | None
    latency_ms: float
    at: str


class DeliveryList(msgspec.Struct):
    """Attempts, newest first."""

    data: list[DeliveryBody]
    next_cursor: str | None


class DeadLetterBody(msgspec.Struct):
    """An event that used up its attempts."""

    event_id: str
    sequence: int
    attempts: int
    last_status_code: int | None
    last_error: str
    about: Literal["destination", "event"]
    dead_at: str


class DeadLetterList(msgspec.Struct):
    """Dead letters in log order."""

    data: list[DeadLetterBody]
    next_cursor: str | None


class RedriveWrite(Strict):
    """Which dead letters to redrive; all when `event_ids` is omitted."""

    event_ids: Annotated[list[str], Meta(max_length=10_000)] | UnsetType = UNSET


class Redriven(msgspec.Struct):
    """How many dead letters were redriven."""

    redriven: int


class Purged(msgspec.Struct):
    """How many dead letters were deleted."""

    purged: int
