"""Which range of the log a replay covers.

Dead letters become pending again inside one transaction of the store; the worker learns of both by the directory's revision.
"""

from typing import Protocol

from aegis_stream.domain.ids import Micros, OrganizationNo
from aegis_stream.errors import FieldProblem, Invalid


class Times(Protocol):
    """Where a time is looked up in the log."""

    async def sequence_at(self, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
        """Return the sequence of the first event received at or after a time; head + 1 when there is none."""
        ...

    async def last_until(self, organization_no: OrganizationNo, at: Micros, oldest: int, head: int) -> int:
        """Return the sequence of the last event received at or before a time; oldest - 1 when there is none."""
        ...


async def range_by_time(
    log: Times, organization_no: OrganizationNo, stretch: tuple[int, int], since: Micros, until: Micros | None
) -> tuple[int, int]:
    """Return the first and last sequence received in since <= time <= until; empty when last < first.

    Args:
        stretch: oldest and newest sequence in the log.
        until: None for now.
    """
    oldest, head = stretch
    if until is not None and until < since:
        raise Invalid(
            "the range ends before it begins", problems=(FieldProblem("to", "must not lie before from"),)
        )
    first = await log.sequence_at(organization_no, since, oldest, head)
    last = head if until is None else await log.last_until(organization_no, until, oldest, head)
    return first, last


def range_by_sequence(stretch: tuple[int, int], first: int, last: int | None) -> tuple[int, int]:
    """Return the part of first … last that is in the log; empty when last < first.

    Args:
        stretch: oldest and newest sequence in the log.
        last: None for the newest.
    """
    oldest, head = stretch
    if last is not None and last < first:
        raise Invalid(
            "the range ends before it begins",
            problems=(FieldProblem("to_sequence", "must not be less than from_sequence"),),
        )
    return max(first, oldest), head if last is None else min(last, head)
