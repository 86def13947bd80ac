"""Which stretch of the log a replay covers: promises of pipeline/redrive.py."""

import pytest

from aegis_stream.domain.ids import Micros, OrganizationNo
from aegis_stream.errors import Invalid
from aegis_stream.pipeline.redrive import range_by_sequence, range_by_time

ORG = OrganizationNo(1)


class Times:
    """A log with one event a second: sequence n was received at n seconds, and three share the fifth."""

    received = (1, 2, 3, 4, 5, 5, 5, 8, 9)

    async def sequence_at(self, organization_no, at, oldest, head):
        found = (n for n in range(oldest, head + 1) if self.received[n - 1] >= at)
        return next(found, head + 1)

    async def last_until(self, organization_no, at, oldest, head):
        found = (n for n in range(head, oldest - 1, -1) if self.received[n - 1] <= at)
        return next(found, oldest - 1)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (1, 9, (1, 9)),
        (5, 5, (5, 7)),
        (6, None, (8, 9)),
        (6, 7, (8, 7)),
        (0, 100, (1, 9)),
        (10, None, (10, 9)),
    ],
)
async def test_a_time_range_includes_both_ends(since, until, expected):
    """From the first event at or after the one time to the last at or before the other; empty where there is none."""
    assert await range_by_time(Times(), ORG, (1, 9), Micros(since), until and Micros(until)) == expected


async def test_a_time_range_ends_at_what_was_removed():
    """What retention has removed is no part of it."""
    assert await range_by_time(Times(), ORG, (4, 9), Micros(0), None) == (4, 9)


async def test_a_time_range_runs_forwards():
    """A range that ends before it begins is a mistake, named by its field."""
    with pytest.raises(Invalid) as refused:
        await range_by_time(Times(), ORG, (1, 9), Micros(5), Micros(4))

    assert [problem.field for problem in refused.value.problems] == ["to"]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (1, None, (3, 9)),
        (5, 7, (5, 7)),
        (5, 5, (5, 5)),
        (8, 100, (8, 9)),
        (20, None, (20, 9)),
        (1, 2, (3, 2)),
    ],
)
def test_a_sequence_range_is_cut_to_the_log(first, last, expected):
    """Only what is in the log is sent once more; a range outside it is empty."""
    assert range_by_sequence((3, 9), first, last) == expected


def test_a_sequence_range_runs_forwards():
    """A range that ends before it begins is a mistake, named by its field."""
    with pytest.raises(Invalid) as refused:
        range_by_sequence((1, 9), 5, 4)

    assert [problem.field for problem in refused.value.problems] == ["to_sequence"]
