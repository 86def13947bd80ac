"""Dead letters, their groups, and jobs on them: JSON shapes."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aegis_stream.domain.dead_letters import DeadLetter, DeadLetterGroup, DeadLetterJob
from aegis_stream.domain.times import to_text

from .base import Moment, Strict, time_text

About = Literal["destination", "event"]


class DeadLetterBody(msgspec.Struct):
    """An event that used up its attempts."""

    event_id: str
    sequence: int
    attempts: int
    last_status_code: int | None
    last_error: str
    about: About
    dead_at: str


class DeadLetterList(msgspec.Struct):
    """Dead letters in log order. With a filter there may be fewer than `limit` although more follow: go on with `next_cursor`."""

    data: list[DeadLetterBody]
    next_cursor: str | None


class DeadLetterGroupBody(msgspec.Struct):
    """Dead letters with one cause: errors that differ only in words with digits, such as ids, numbers and addresses, are one.

    `error` is the newest one; `share` is of all dead letters of the destination, from 0 to 1.
    """

    id: str
    about: About
    status_code: int | None
    error: str
    count: int
    share: float
    first_at: str
    last_at: str


class DeadLetterGroupList(msgspec.Struct):
    """Groups of a destination's dead letters, the largest first."""

    data: list[DeadLetterGroupBody]
    total: int


class RedriveWrite(Strict):
    """Which dead letters to redrive: these events, or all that match; all when everything is omitted."""

    event_ids: Annotated[list[str], Meta(max_length=10_000)] | UnsetType = UNSET
    about: About | UnsetType = UNSET
    error: str | UnsetType = UNSET
    before: Moment | UnsetType = UNSET


class Redriven(msgspec.Struct, omit_defaults=True):
    """How many dead letters were redriven at once; or the job that does it in small parts, and how many it may concern.

    A preview says how many match, and about how many seconds it takes to send them, null where nobody knows.
    """

    redriven: int
    job_id: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    matching: int | UnsetType = UNSET
    eta_seconds: float | None | UnsetType = UNSET


class Purged(msgspec.Struct, omit_defaults=True):
    """How many dead letters were deleted at once; or the job that does it in small parts, and how many it may concern."""

    purged: int
    job_id: str | UnsetType = UNSET
    total: int | UnsetType = UNSET


class DeadLetterJobBody(msgspec.Struct):
    """A redrive or purge of many dead letters, and its progress."""

    id: str
    action: Literal["redrive", "purge"]
    state: Literal["running", "done", "cancelled"]
    about: About | None
    error: str | None
    before: str | None
    total: int
    done: int
    eta_seconds: float | None
    started_at: str
    finished_at: str | None


class DeadLetterJobList(msgspec.Struct):
    """Jobs on dead letters of a destination, newest first."""

    data: list[DeadLetterJobBody]
    next_cursor: str | None


def about_of(scope: str) -> About:
    """Return what a failure is about, as answers name it."""
    return "event" if scope == "event" else "destination"


def letter_body(one: DeadLetter) -> DeadLetterBody:
    """Show a dead letter."""
    return DeadLetterBody(
        one.event_id,
        one.sequence,
        one.attempts,
        one.status_code,
        one.message,
        about_of(one.scope),
        to_text(one.dead_at),
    )


def group_body(one: DeadLetterGroup, total: int) -> DeadLetterGroupBody:
    """Show a group.

    Args:
        total: dead letters of all groups.
    """
    share = round(one.letters / total, 4) if total else 0.0
    times = to_text(one.first_at), to_text(one.last_at)
    return DeadLetterGroupBody(
        one.group_id, about_of(one.scope), one.status_code, one.message, one.letters, share, *times
    )


def job_body(job: DeadLetterJob) -> DeadLetterJobBody:
    """Show a job."""
    which, eta = job.which, job.eta_seconds
    return DeadLetterJobBody(
        job.job_id,
        job.action,
        job.state,
        about_of(which.about) if which.about else None,
        which.error or None,
        time_text(which.before),
        job.total,
        job.done,
        round(eta, 1) if eta is not None else None,
        to_text(job.started_at),
        time_text(job.finished_at),
    )
