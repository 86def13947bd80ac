"""What a settlement stores."""

import json

import pytest

from aegis_stream.domain.attempt import Failure, FailureScope, RetryPolicy
from aegis_stream.domain.delivery import (
    AttemptRun,
    DeadRow,
    DestinationKey,
    DueRetry,
    Outstanding,
    RetryRow,
)
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Unavailable
from support.clock import T0
from support.stores import DOWN, POISON, SECOND, add_destination, append_to, events, serve, settle, settlement


async def test_the_cursor_never_goes_back(store, org):
    """A settlement with a lower watermark leaves the cursor where it is, and counts what it found all the same."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    lease = await serve(store)

    await settle(store, settlement(lease, org, 7, delivered=7))
    await settle(store, settlement(lease, org, 4, delivered=1))
    progress = await store.directory.progress(destination)

    assert (progress.cursor, progress.delivered) == (7, 8)


async def test_a_settlement_is_all_or_nothing(backend, store, org):
    """When the commit fails, neither cursor nor rows nor counts have moved, and the same settlement can be made again."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    found = settlement(
        lease,
        org,
        3,
        runs=[AttemptRun(1, 2, 1, "delivered", 202, None, 5, T0)],
        retries=[RetryRow(3, 1, T0, DOWN)],
        delivered=2,
        failed_attempts=1,
    )
    backend.fail_next_commit(store)

    with pytest.raises(Unavailable):
        await settle(store, found)
    before = await store.directory.progress(destination), store.count("attempts"), store.count("retries")
    await settle(store, found)
    after = await store.directory.progress(destination), store.count("attempts"), store.count("retries")

    assert (before[0].cursor, before[0].delivered, before[0].retrying, *before[1:]) == (0, 0, 0, 0, 0)
    assert (after[0].cursor, after[0].delivered, after[0].retrying, *after[1:]) == (3, 2, 1, 1, 1)


async def test_a_retry_lives_from_failure_to_outcome(store, org):
    """A failed event is due when it was said, has its attempts counted up, and is gone when delivered or dead."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    no = lease.destination_no

    await settle(
        store,
        settlement(
            lease,
            org,
            3,
            retries=[RetryRow(n, 1, Micros(T0 + n * 10), DOWN) for n in (1, 2, 3)],
            failed_attempts=3,
        ),
    )
    first_look = await store.ledger.due(DestinationKey(org, no), Micros(T0 + 20), 10)
    await settle(
        store,
        settlement(
            lease,
            org,
            3,
            retries=[RetryRow(1, 2, Micros(T0 + 50), DOWN)],
            resolved=[2],
            failed_attempts=1,
            delivered=1,
        ),
    )
    await settle(
        store, settlement(lease, org, 3, dead=[DeadRow(3, 3, Micros(T0 + 60), POISON)], failed_attempts=1)
    )
    second_look = await store.ledger.due(DestinationKey(org, no), Micros(T0 + 30), 10)
    state = await store.directory.retry_of(destination, 1)
    progress = await store.directory.progress(destination)

    assert first_look == (
        [DueRetry(n, 1, json.dumps({"event": {"id": f"e{n}"}}).encode(), 500) for n in (1, 2)],
        T0 + 30,
    )
    assert second_look == ([], T0 + 50)
    assert state == (2, T0 + 50, 500, "answered 500")
    assert (progress.retrying, progress.dead_letters, progress.delivered, progress.failed_attempts) == (
        1,
        1,
        1,
        5,
    )
    assert (store.count("retries"), store.count("dead_letters")) == (1, 1)


async def test_due_retries_come_oldest_first_and_no_more_than_asked(store, org):
    """What has waited longest comes first; what lies beyond the limit is still there the next time."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 5), T0)
    lease = await serve(store)
    rows = [RetryRow(n, 1, Micros(T0 + 100 - n), None) for n in range(1, 6)]
    await settle(store, settlement(lease, org, 5, retries=rows))

    due, following = await store.ledger.due(DestinationKey(org, lease.destination_no), Micros(T0 + 200), 2)

    assert [one.sequence for one in due] == [5, 4]
    assert following is None


async def test_settling_the_same_outcome_twice_counts_rows_once(store, org):
    """Counts of retries and dead letters follow the rows, so a repeated outcome moves neither."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 2), T0)
    lease = await serve(store)
    for _ in range(2):  # under two numbers: a settlement that is repeated under its own is not stored at all
        one = settlement(
            lease, org, 2, retries=[RetryRow(1, 1, T0, DOWN)], dead=[DeadRow(2, 3, T0, DOWN)], resolved=[]
        )
        await settle(store, one)
    twice = await store.directory.progress(destination)
    assert (twice.retrying, twice.dead_letters) == (1, 1)
    await settle(store, settlement(lease, org, 2, resolved=[1, 1, 2]))
    progress = await store.directory.progress(destination)

    assert (progress.retrying, progress.dead_letters) == (0, 1)
    assert (store.count("retries"), store.count("dead_letters")) == (0, 1)


async def test_a_worker_reads_what_its_destination_still_has(store, org):
    """A worker that takes a destination over learns its retries, dead letters and health as they are stored."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 6), T0)
    lease = await serve(store)
    health = Health(failures_in_row=2, window_size=3.0, last_error_at=T0, last_error_status=503)
    retries = [RetryRow(sequence, 1, T0, DOWN) for sequence in (1, 2)]
    dead = [DeadRow(sequence, 3, T0, DOWN) for sequence in (3, 4, 5)]
    await settle(store, settlement(lease, org, 6, retries=retries, dead=dead, health=health))

    found = await store.ledger.outstanding(DestinationKey(org, lease.destination_no))

    assert (found.retrying, found.dead_letters, found.health) == (2, 3, health)


async def test_a_destination_that_is_gone_has_nothing_outstanding(store, org):
    """A worker that asks for a destination whose rows are removed learns of no retry, dead letter or replay."""
    found = await store.ledger.outstanding(DestinationKey(org, 7))

    assert found == Outstanding([], 0, 0, Health())


async def test_damaged_events_are_counted(store, org):
    """Each event that was found damaged counts once, and other dead letters do not."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    damaged = Failure(FailureScope.EVENT, "the event is damaged", damaged=True)
    dead = [DeadRow(1, 1, T0, damaged), DeadRow(2, 1, T0, POISON), DeadRow(3, 1, T0, damaged)]

    await settle(store, settlement(lease, org, 3, dead=dead))

    assert (await store.directory.totals())[-1] == 2


async def test_attempts_are_kept_as_runs(store, org):
    """Alike successes stand in one row; an event's attempts are found within runs, newest first, by state."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    lease = await serve(store)
    runs = [
        AttemptRun(1, 6, 1, "delivered", 202, None, 50, T0),
        AttemptRun(7, 7, 1, "failed", 500, "answered 500", 60, Micros(T0 + 1)),
        AttemptRun(7, 7, 2, "delivered", 202, None, 70, Micros(T0 + 2)),
    ]
    await settle(store, settlement(lease, org, 9, runs=runs, delivered=7, failed_attempts=1))
    everything = {"state": None, "sequence": None, "before": 2**60, "limit": 10}

    newest_first = await store.directory.attempts(destination, **everything)
    of_seven = await store.directory.attempts(destination, **everything | {"sequence": 7})
    of_three = await store.directory.attempts(destination, **everything | {"sequence": 3})
    of_eight = await store.directory.attempts(destination, **everything | {"sequence": 8})
    failed = await store.directory.attempts(destination, **everything | {"state": "failed"})
    page = await store.directory.attempts(
        destination, **everything | {"before": newest_first[0].attempt_no - 1, "limit": 1}
    )

    assert [AttemptRun(*one[1:]) for one in newest_first] == runs[::-1]
    assert [(one.attempt, one.state) for one in of_seven] == [(2, "delivered"), (1, "failed")]
    assert [(one.first, one.last) for one in of_three] == [(1, 6)]
    assert of_eight == []
    assert [one.message for one in failed] == ["answered 500"]
    assert page == newest_first[1:2]


async def test_a_long_explanation_is_cut(store, org):
    """A receiver's talk does not fill the store: explanations are stored up to a length."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 1), T0)
    lease = await serve(store)
    endless = Failure(FailureScope.DESTINATION, "x" * 5000, 500)

    await settle(
        store,
        settlement(
            lease, org, 1, dead=[DeadRow(1, 3, T0, endless)], health=Health(last_error_message="y" * 5000)
        ),
    )
    [letter] = await store.directory.dead_letters(destination, 0, 10)
    progress = await store.directory.progress(destination)

    assert letter.message == "x" * 1000
    assert progress.health.last_error_message == "y" * 1000


async def test_retries_that_are_too_far_away_are_brought_forward(store, org):
    """Each retry is due no later than its policy allows from now; what Retry-After or an open attempt lengthened, than an hour."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 6), T0)
    lease = await serve(store)
    far, near = Micros(T0 + 400 * 86_400 * SECOND), Micros(T0 + 30 * SECOND)
    silent = Failure(FailureScope.DESTINATION, "no answer within 10 s", overload=True)
    asked = Failure(FailureScope.DESTINATION, "answered 429", 429, overload=True)
    rows = [(1, 1, far, DOWN), (2, 2, far, silent), (3, 1, near, DOWN), (4, 1, far, asked), (5, 1, far, None)]
    await settle(store, settlement(lease, org, 6, retries=[RetryRow(*row) for row in rows]))
    key = DestinationKey(org, destination.no)
    policy = RetryPolicy(base_seconds=60.0, multiplier=2.0, jitter=0.1)

    await store.ledger.bring_forward(key, policy, T0)
    await store.ledger.bring_forward(key, policy, T0)

    due = []
    for seconds in (30, 66, 132, 3600):
        found, _ = await store.ledger.due(key, Micros(T0 + seconds * SECOND), 10)
        due.append([one.sequence for one in found])
    assert due == [[3], [3, 1], [3, 1, 2], [3, 1, 2, 4, 5]]
