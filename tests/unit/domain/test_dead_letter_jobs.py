"""Promises about what a job on dead letters shows of itself."""

import pytest

from aegis_stream.domain.dead_letters import EVERY, DeadLetterJob
from aegis_stream.domain.ids import SECOND

STARTED = 1_780_000_000 * SECOND


def job(done, seconds, *, ended=False):
    """Return a job on 1,000 dead letters that has done some in so many seconds."""
    moved = STARTED + int(seconds * SECOND)
    return DeadLetterJob(
        "job_1", "redrive", EVERY, 1000, done, 7, STARTED, moved, moved if ended else None, False, "{}"
    )


@pytest.mark.parametrize(
    "one, eta",
    [
        (job(250, 5), 15.0),
        (job(1000, 5), 0.0),
        (job(1001, 5), 0.0),
        (job(0, 5), None),
        (job(250, 0), None),
        (job(250, 5, ended=True), None),
    ],
)
def test_the_time_left_follows_from_the_rate_so_far(one, eta):
    """A job that runs tells how long it will take, as soon as it has done something."""
    assert one.eta_seconds == eta
