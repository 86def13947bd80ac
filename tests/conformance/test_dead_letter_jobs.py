"""Redrives and purges of many dead letters: worked off part by part, once, by one worker at a time."""

import json

import pytest

from aegis_stream.domain.audit import ADMIN_DATASET, COMMAND_LINE
from aegis_stream.domain.dead_letters import EVERY, DeadLetterFilter, group_id_of
from aegis_stream.domain.delivery import DeadRow, DestinationKey
from aegis_stream.domain.ids import Micros, WorkerId
from aegis_stream.errors import Conflict, NotFound
from aegis_stream.store import dead_letter_jobs
from aegis_stream.store.dead_letter_jobs import OPEN_MAX, DeadLetterWork, NewJob
from aegis_stream.store.records import key_of
from aegis_stream.wiring.process import SystemRandom
from support.clock import T0
from support.stores import (
    ALICE,
    BOB,
    DOWN,
    LEASE_US,
    POISON,
    add_destination,
    append_to,
    bury,
    events,
    serve,
    settle,
    settlement,
)

POISONED = DeadLetterFilter(error=group_id_of("event", 400, "answered 400"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Let a part of a job have few dead letters."""
    monkeypatch.setattr(dead_letter_jobs, "PART", 3)


def work_of(store, *, audit_actions=False):
    """Return what a worker works with."""
    return DeadLetterWork(store.db, store.clock, SystemRandom(), audit_actions)


async def begin(store, destination, action="redrive", which=EVERY, job_id="job_1", total=0):
    """Start a job."""
    job = NewJob(job_id, action, which, total)
    await store.db.write(lambda unit: dead_letter_jobs.add(unit, destination, job, COMMAND_LINE))


async def job_of(store, destination, job_id="job_1"):
    """Return a job."""
    return await store.db.read(lambda unit: dead_letter_jobs.find(unit, key_of(destination), job_id))


async def finish(store, worker=ALICE):
    """Work until there is nothing to do; returns how many parts there were."""
    parts = 0
    while await work_of(store).step(worker):
        parts += 1
    return parts


async def counts(store, destination):
    """Return how many retries and dead letters a destination has."""
    progress = await store.directory.progress(destination)
    return progress.retrying, progress.dead_letters


async def test_a_redrive_goes_through_all_in_parts(store, org):
    """Each part moves some, the counts say so after each, and at the end all are pending once, with no attempt made."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 7), T0)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, 8))
    revision = (await store.directory.destination(lease.destination_no)).revision
    await begin(store, destination, total=7)
    seen = []

    while await work_of(store).step(ALICE):
        job = await job_of(store, destination)
        seen.append((job.done, job.state, await counts(store, destination)))
    due, _ = await store.ledger.due(DestinationKey(org, lease.destination_no), Micros(T0 + 5), 10)

    assert seen == [(3, "running", (3, 4)), (6, "running", (6, 1)), (7, "done", (7, 0))]
    assert [(one.sequence, one.attempts) for one in due] == [(number, 0) for number in range(1, 8)]
    assert await store.directory.changed_since(revision), "the worker of the destination notices"


async def test_a_purge_deletes_what_matches_and_nothing_else(store, org):
    """A purge of one cause leaves the others, and makes nothing pending."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 10), T0)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, 10, 2))
    await bury(store, org, lease, *range(2, 11, 2), failure=POISON)
    await begin(store, destination, "purge", POISONED, total=5)

    await finish(store)

    assert (await job_of(store, destination)).done == 5
    assert await counts(store, destination) == (0, 5)
    left = await store.directory.dead_letters(destination, 0, 20)
    assert [one.sequence for one in left] == list(range(1, 10, 2))


async def test_what_dies_after_the_start_is_left(store, org):
    """A job takes what had died when it was started; one that a clock set back since has put into the future is taken."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 6), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2)
    store.clock.at = T0 + 10
    await begin(store, destination)
    younger = [DeadRow(3, 3, Micros(T0 + 11), DOWN), DeadRow(4, 3, Micros(T0 + 99), DOWN)]
    await settle(store, settlement(lease, org, 6, dead=younger), now=T0 + 20)

    await finish(store)

    left = await store.directory.dead_letters(destination, 0, 20)
    assert [one.sequence for one in left] == [3]


async def test_a_redriven_event_that_dies_again_is_not_taken_again(store, org):
    """A job takes each event once, however often it dies while the job runs."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 5), T0)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, 6))
    await begin(store, destination, total=5)

    await work_of(store).step(ALICE)
    again = [DeadRow(1, 3, Micros(T0 + 30), DOWN)]
    await settle(store, settlement(lease, org, 5, dead=again), now=T0 + 40)
    await finish(store)

    assert (await job_of(store, destination)).done == 5
    assert await counts(store, destination) == (4, 1)


async def test_a_cancelled_job_stops_where_it_is(store, org):
    """What it has done stays done; nothing more is taken; cancelling again, or a job that is done, is refused."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 5), T0)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, 6))
    await begin(store, destination, total=5)
    key = key_of(destination)

    await work_of(store).step(ALICE)
    await store.db.write(lambda unit: dead_letter_jobs.cancel(unit, key, "job_1"))
    parts = await finish(store)

    assert parts == 0
    assert (await job_of(store, destination)).state == "cancelled"
    assert await counts(store, destination) == (3, 2)
    with pytest.raises(Conflict, match="has ended already"):
        await store.db.write(lambda unit: dead_letter_jobs.cancel(unit, key, "job_1"))
    with pytest.raises(NotFound):
        await store.db.write(lambda unit: dead_letter_jobs.cancel(unit, key, "job_none"))


async def test_a_part_that_is_repeated_is_done_once(store, org):
    """A process killed after a part was stored, and before it knew, does not do it twice: the next part goes on from there."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 5), T0)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, 6))
    await begin(store, destination, total=5)

    await work_of(store).step(ALICE)  # and nobody hears of it
    await finish(store)

    assert (await job_of(store, destination)).done == 5
    assert await counts(store, destination) == (5, 0)


async def test_one_worker_works_on_jobs_until_it_is_gone(store, org):
    """Another worker leaves the work to the first one, and takes over when that one is not registered any more."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    lease = await serve(store)
    await store.ledger.enlist(BOB, LEASE_US)
    await bury(store, org, lease, *range(1, 10))
    await begin(store, destination, total=9)

    first = await work_of(store).step(ALICE)
    left_alone = await work_of(store).step(BOB)
    await store.ledger.retire(ALICE)
    taken_over = await work_of(store).step(BOB)

    assert (first, left_alone, taken_over) == (True, False, True)
    assert (await job_of(store, destination)).done == 6


async def test_jobs_of_several_destinations_take_turns(store, org):
    """A large job does not hold up another one: the one that waited longest is moved on."""
    one = await add_destination(store, org)
    other = await add_destination(store, org, "dst_other")
    await append_to(store.log, org, events(1, 9), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    for found in claimed:
        await bury(store, org, found.lease, *range(1, 10))
    await begin(store, one, total=9)
    await begin(store, other, total=9)

    for number in range(2):
        store.clock.at = T0 + 100 + number
        await work_of(store).step(ALICE)

    assert [(await job_of(store, where)).done for where in (one, other)] == [3, 3]


async def test_too_many_jobs_are_refused_and_old_ones_forgotten(store, org, monkeypatch):
    """So many jobs of a destination run at once, and of those that ended only the newest are kept."""
    monkeypatch.setattr(dead_letter_jobs, "KEPT", 2)
    destination = await add_destination(store, org)
    await serve(store)
    key = key_of(destination)
    for number in range(OPEN_MAX):
        await begin(store, destination, job_id=f"job_{number}")

    with pytest.raises(Conflict, match="wait for one, or cancel one"):
        await begin(store, destination, job_id="job_9")
    await finish(store)
    await begin(store, destination, job_id="job_9")
    kept = await store.db.read(lambda unit: dead_letter_jobs.list_of(unit, key, "~", 20))

    assert [(one.job_id, one.state) for one in kept] == [("job_9", "running"), ("job_7", "done")]


async def test_the_end_of_a_job_is_in_the_audit_trail(store, org):
    """The event of the end names who started the job, the destination, and how many it has done."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 2), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2)
    await begin(store, destination, total=2)

    await work_of(store, audit_actions=True).step(ALICE)
    page = await store.log.page(org, 3, 3, labels=True, bytes_max=100_000)
    [told] = [json.loads(body) for body in page.bodies]

    assert page.labels == [(ADMIN_DATASET, None)]
    assert told["event"]["action"] == "dead_letters_job_end"
    assert told["user"]["id"] == "command_line"
    assert told["aegis"]["audit"] == {
        "target": {"type": "destination", "id": destination.dst_id, "name": destination.spec.name},
        "after": {"job_id": "job_1", "action": "redrive"},
        "count": 2,
    }


async def test_a_worker_without_work_writes_nothing(store, org):
    """Looking for work changes nothing: nobody owns the task until there is something to do."""
    await add_destination(store, org)

    assert await work_of(store).step(WorkerId("wrk_x")) is False
    assert store.count("housekeeping") == 0
