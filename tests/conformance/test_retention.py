"""What the store forgets, and by which clock."""

import pytest

from aegis_stream.domain.delivery import (
    AttemptRun,
    DeadRow,
    DestinationKey,
    RetryRow,
)
from aegis_stream.domain.ids import Micros, OrganizationNo, ReplayId
from aegis_stream.errors import NotFound
from aegis_stream.ports import Appended
from aegis_stream.store import retention
from aegis_stream.store.append import CLOCK_STEP_US
from aegis_stream.store.retention import CHUNK, ORGANIZATIONS_PER_SWEEP, Retention
from support.clock import T0
from support.log import entries
from support.stores import (
    ALICE,
    BOB,
    DOWN,
    LEASE_US,
    SECOND,
    Store,
    add_destination,
    add_organization,
    append_to,
    event,
    events,
    serve,
    settle,
    settlement,
    stored,
)
from support.writers import Watched

# ── retention ──


OLD, HORIZON, NEW = T0, Micros(T0 + 1), Micros(T0 + 2)


async def sweep(store: Store, horizon: Micros = HORIZON) -> list[int]:
    """Take all steps of retention there are; return how many rows each removed."""
    steps = []
    while removed := await store.retention.step(horizon):
        steps.append(removed)
        assert len(steps) < 1000
    return steps


async def test_old_events_go_in_chunks(store, org):
    """Events beyond their time go, no step removes more than a chunk, and newer ones stay."""
    await append_to(store.log, org, events(1, 2 * CHUNK + 500), OLD)
    await append_to(store.log, org, events(9001, 10), NEW)

    steps = await sweep(store)
    _, oldest = await store.directory.organization("org_a")

    assert steps[:2] == [CHUNK, CHUNK]
    assert sum(steps) == 2 * CHUNK + 500
    assert list(await stored(store, org)) == list(range(2 * CHUNK + 501, 2 * CHUNK + 511))
    assert oldest == 2 * CHUNK + 501


async def test_a_step_looks_only_at_what_it_removes(store, org, monkeypatch):
    """No step begins at the start of the log: until the next vacuum PostgreSQL passes every row that was removed there."""
    monkeypatch.setattr(retention, "CHUNK", 10)
    await append_to(store.log, org, events(1, 30), OLD)
    watched = Watched(store.db)

    while await Retention(watched).step(HORIZON):
        pass

    ranges = [values for name, values in watched.calls if name == "delete_events"]
    assert ranges == [(org, 1, 10), (org, 11, 20), (org, 21, 30)]


async def test_an_event_received_at_the_horizon_stays(store, org):
    """What is exactly as old as events may be is kept; what is a microsecond older goes."""
    await append_to(store.log, org, events(1, 3), Micros(HORIZON - 1))
    await append_to(store.log, org, events(4, 3), HORIZON)

    await sweep(store)

    assert list(await stored(store, org)) == [4, 5, 6]


async def test_a_step_removes_a_chunk_however_many_logs_it_comes_from(store):
    """The old events of several organizations go together, and all of them are no more than a chunk."""
    sizes = [CHUNK // 2 + 100, CHUNK // 2 + 100, CHUNK, 5]
    for number, size in enumerate(sizes):
        organization = await add_organization(store, f"org_{number}")
        await append_to(store.log, organization, events(1, size), OLD)

    steps = await sweep(store)

    assert steps == [CHUNK, CHUNK, 205]
    assert store.count("events") == 0


async def test_a_step_removes_a_chunk_however_many_organizations_have_old_events(store, org):
    """A chunk of the first log ends the step, even where as many logs as are read at once have old events."""
    await append_to(store.log, org, events(1, 2 * CHUNK), OLD)
    for number in range(ORGANIZATIONS_PER_SWEEP):
        organization = await add_organization(store, f"org_{number}")
        await append_to(store.log, organization, events(1, 1), OLD)

    assert await sweep(store) == [CHUNK, CHUNK, ORGANIZATIONS_PER_SWEEP]


async def test_a_removed_log_goes_on_where_it_was(store, org):
    """When every event has gone, the next one still has the next sequence, and an id that has gone is new again."""
    await append_to(store.log, org, events(1, 5), OLD)
    await sweep(store)

    appended = await append_to(store.log, org, events(1, 1), NEW)

    assert appended == Appended(6, 1, 6)


async def test_what_a_cursor_still_needs_stays(store, org):
    """Not an event goes that the slowest destination has still to send; when it has, they go."""
    await add_destination(store, org)
    await append_to(store.log, org, events(1, 1500), OLD)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 1200))

    await sweep(store)
    held = await stored(store, org)
    await settle(store, settlement(lease, org, 1500))
    await sweep(store)

    assert list(held) == list(range(1201, 1501))
    assert await stored(store, org) == {}


async def test_the_slowest_of_several_destinations_decides(store, org):
    """What one destination has already sent stays while another one has still to send it."""
    await add_destination(store, org, 1)
    await add_destination(store, org, 2)
    await append_to(store.log, org, events(1, 10), OLD)
    await store.ledger.enlist(ALICE, LEASE_US)
    positions, _ = await store.ledger.claim(ALICE)
    one, two = sorted((claimed.lease for claimed in positions), key=lambda lease: lease.destination_no)
    await settle(store, settlement(one, org, 10))
    await settle(store, settlement(two, org, 4))

    await sweep(store)

    assert list(await stored(store, org)) == list(range(5, 11))


async def test_the_furthest_behind_of_several_replays_decides(store, org):
    """Of two replays of a destination the one that is further behind holds the log."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 20), OLD)
    lease = await serve(store)
    for name in ("rpl_1", "rpl_2"):
        await store.directory.add_replay(destination, ReplayId(name), 1, 20, T0)
    await settle(store, settlement(lease, org, 20, replays=[(ReplayId("rpl_1"), 15), (ReplayId("rpl_2"), 5)]))

    await sweep(store)

    assert list(await stored(store, org)) == list(range(6, 21))


async def test_what_only_a_deleted_destination_needed_goes(store, org):
    """The cursor and the replay of a deleted destination hold nothing, while others of its organization are served."""
    kept, deleted = await add_destination(store, org, 1), await add_destination(store, org, 2)
    await append_to(store.log, org, events(1, 20), OLD)
    await store.directory.add_replay(deleted, ReplayId("rpl_1"), 1, 20, T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    lease = next(one.lease for one in claimed if one.lease.destination_no == kept.no)
    await settle(store, settlement(lease, org, 15))
    await store.directory.delete_destination(org, deleted.dst_id, T0)

    await store.retention.step(HORIZON)

    assert list(await stored(store, org)) == list(range(16, 21))


async def test_each_organization_s_log_is_held_by_its_own_destinations(store, org):
    """A cursor or a replay of one organization holds no event of another one."""
    other = await add_organization(store, "org_b")
    for no in (org, other):
        await append_to(store.log, no, events(1, 20), OLD)
    lags = await add_destination(store, other)
    await store.directory.add_replay(lags, ReplayId("rpl_1"), 1, 20, T0)
    await add_destination(store, org)

    await sweep(store)

    assert await stored(store, org) == {}
    assert len(await stored(store, other)) == 20


async def test_what_a_replay_still_needs_stays(store, org):
    """A replay under way holds its range; once it is over, the range goes."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 100), OLD)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 100))
    await store.directory.add_replay(destination, ReplayId("rpl_1"), 41, 60, T0)

    await sweep(store)
    held = await stored(store, org)
    await settle(store, settlement(lease, org, 100, replays=[(ReplayId("rpl_1"), 60)]))
    await sweep(store)

    assert list(held) == list(range(41, 101))
    assert await stored(store, org) == {}


async def test_what_retries_and_dead_letters_stand_on_stays(store, org):
    """The event of a retry or dead letter outlives its neighbours, so that it can be sent; afterwards it goes as well."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 50), OLD)
    lease = await serve(store)
    await settle(
        store,
        settlement(lease, org, 50, retries=[RetryRow(10, 1, T0, DOWN)], dead=[DeadRow(20, 3, T0, DOWN)]),
    )

    await sweep(store)
    held = await stored(store, org)
    due, _ = await store.ledger.due(DestinationKey(org, lease.destination_no), T0, 10)
    await settle(store, settlement(lease, org, 50, resolved=[10]))
    await store.directory.purge(destination, None)
    await append_to(store.log, org, events(51, 5), OLD)
    await settle(store, settlement(lease, org, 55))
    await sweep(store)

    assert held == {10: "e10", 20: "e20"}
    assert [one.sequence for one in due] == [10]
    assert await stored(store, org) == {}


@pytest.mark.parametrize("sequence", [1, 10])
@pytest.mark.parametrize("kind", ["retries", "dead"])
async def test_the_first_and_the_last_event_that_may_go_stay_for_a_failure(store, org, kind, sequence):
    """An event that failed stays at both edges of those that retention looks at, and others' failures keep nothing."""
    other = await add_organization(store, "org_b")
    for no in (org, other):
        await append_to(store.log, no, events(1, 10), OLD)
    await add_destination(store, org)
    lease = await serve(store)
    rows = {"retries": [RetryRow(sequence, 1, T0, DOWN)], "dead": [DeadRow(sequence, 3, T0, DOWN)]}
    await settle(store, settlement(lease, org, 10, **{kind: rows[kind]}))

    await sweep(store)

    assert list(await stored(store, org)) == [sequence]
    assert await stored(store, other) == {}


async def test_organizations_whose_log_is_held_do_not_keep_others_from_being_swept(store, org):
    """However many logs wait for a slow destination, the old events of the others go all the same."""
    await add_destination(store, org)
    held = [org] + [
        await add_organization(store, f"org_{number}") for number in range(ORGANIZATIONS_PER_SWEEP)
    ]
    for one in held[1:]:
        await add_destination(store, one)
    free = await add_organization(store, "org_free")
    for one in (*held, free):
        await append_to(store.log, one, events(1, 1), OLD)

    await sweep(store)

    assert await stored(store, held[0]) == {1: "e1"}
    assert await stored(store, free) == {}


async def test_old_attempts_go(store, org):
    """The attempt log forgets what is beyond its time, in chunks, and keeps the rest."""
    destination = await add_destination(store, org)
    lease = await serve(store)
    runs = [AttemptRun(n, n, 1, "delivered", 202, None, 1, OLD) for n in range(CHUNK + 10)]
    await settle(store, settlement(lease, org, runs=[*runs, runs[0]._replace(at=NEW)]))

    steps = await sweep(store)
    left = await store.directory.attempts(destination, state=None, sequence=None, before=2**60, limit=10)

    assert steps == [CHUNK, 10]
    assert [one.at for one in left] == [NEW]


async def test_an_attempt_at_the_horizon_stays_and_the_oldest_go_first(store, org):
    """A step removes the oldest attempts, and one that is exactly as old as attempts may be is kept."""
    destination = await add_destination(store, org)
    lease = await serve(store)
    times = [Micros(OLD - n) for n in range(CHUNK + 10)] + [HORIZON]
    runs = [AttemptRun(n, n, 1, "delivered", 202, None, 1, at) for n, at in enumerate(times)]
    await settle(store, settlement(lease, org, runs=runs))

    async def left() -> list[int]:
        found = await store.directory.attempts(
            destination, state=None, sequence=None, before=2**60, limit=CHUNK
        )
        return [one.at for one in found]

    await store.retention.step(HORIZON)
    after_a_step = await left()
    await sweep(store)

    assert after_a_step == [HORIZON, *times[9::-1]]
    assert await left() == [HORIZON]


async def test_a_deleted_destination_leaves_nothing_behind(store, org):
    """Its worker can settle nothing any more, people do not find it, and bit by bit all of its rows go; others' stay."""
    gone, other = await add_destination(store, org, 1), await add_destination(store, org, 2)
    await append_to(store.log, org, events(1, 3), NEW)
    await store.ledger.enlist(ALICE, LEASE_US)
    (one, two), _ = await store.ledger.claim(ALICE)
    runs = [AttemptRun(n, n, 1, "delivered", 202, None, 1, NEW) for n in range(CHUNK + 10)]
    for claimed in (one, two):
        found = settlement(
            claimed.lease, org, 3, runs=runs[: CHUNK + 10 if claimed is one else 1],
            retries=[RetryRow(1, 1, T0, DOWN)], dead=[DeadRow(2, 3, T0, DOWN)],
        )  # fmt: skip
        assert await settle(store, found)
    await store.directory.add_replay(gone, ReplayId("rpl_1"), 1, 3, T0)

    await store.directory.delete_destination(org, gone.dst_id, T0)
    passed = await settle(store, settlement(one.lease, org, 3))
    served, _ = await store.ledger.claim(ALICE)
    steps = await sweep(store)

    assert not passed
    assert [claimed.lease for claimed in served] == [two.lease]
    with pytest.raises(NotFound):
        await store.directory.destination_of(org, gone.dst_id)
    assert steps == [CHUNK, 10 + 5], (
        "attempts; then a retry, a dead letter, a replay, the cursor, the destination"
    )
    tables = ("destinations", "cursors", "retries", "dead_letters", "attempts", "replays")
    assert [store.count(table) for table in tables] == [1, 1, 1, 1, 1, 0]
    assert (await store.directory.progress(other)).retrying == 1


async def test_the_rows_of_several_deleted_destinations_are_counted_together(store, org):
    """A step returns how many rows it removed, of all deleted destinations."""
    deleted = [await add_destination(store, org, number) for number in range(3)]
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    run = AttemptRun(1, 1, 1, "delivered", 202, None, 1, NEW)
    for one in claimed:
        assert await settle(store, settlement(one.lease, org, runs=[run] * 5))
    for one in deleted:
        await store.directory.delete_destination(org, one.dst_id, T0)

    assert await sweep(store) == [3 * (5 + 2)], "five attempts, the cursor and the destination, three times"


# ── clocks that are wrong ──


MINUTE_US, DAY_US = 60 * SECOND, 86_400 * SECOND
YEAR_US = 365 * DAY_US


async def test_retention_s_clock_follows_the_wall_clock_only_as_fast_as_time_passes(store, org):
    """A wall clock a year ahead, or a year back, moves it by the time that passed and a tenth, and no further."""
    await store.ledger.enlist(ALICE, YEAR_US)
    start = await store.retention.advance(ALICE, T0, 0)

    right = await store.retention.advance(ALICE, Micros(T0 + MINUTE_US), MINUTE_US)
    ahead = await store.retention.advance(ALICE, Micros(T0 + YEAR_US), MINUTE_US)
    back = await store.retention.advance(ALICE, Micros(T0 - YEAR_US), MINUTE_US)

    assert (start, right) == (T0, T0 + MINUTE_US)
    assert ahead == right + MINUTE_US * 11 // 10
    assert back == right


async def test_retention_s_clock_counts_whole_microseconds(store, org):
    """A time that ten does not divide moves the clock by whole microseconds."""
    await store.ledger.enlist(ALICE, YEAR_US)
    await store.retention.advance(ALICE, T0, 0)

    assert await store.retention.advance(ALICE, Micros(T0 + YEAR_US), 19) == T0 + 20


async def test_one_worker_keeps_retention_s_clock(backend, store):
    """While that worker is registered another one moves nothing; afterwards it goes on where the clock stands."""
    other = backend.open()
    await store.ledger.enlist(ALICE, LEASE_US)
    await store.retention.advance(ALICE, T0, 0)

    kept = await other.retention.advance(BOB, Micros(T0 + DAY_US), DAY_US)
    await store.ledger.retire(ALICE)
    taken = await other.retention.advance(BOB, Micros(T0 + DAY_US), DAY_US)
    moved = await other.retention.advance(BOB, Micros(T0 + DAY_US), MINUTE_US)

    assert (kept, taken) == (None, T0), "what passed while another kept it is counted by that one alone"
    assert moved == T0 + MINUTE_US * 11 // 10


async def test_retention_s_clock_begins_no_later_than_the_newest_event(store, org):
    """A wall clock that is ahead at the first start finds events that were recorded before, and does not outrun them."""
    for name, at in (("org_b", T0 - DAY_US), ("org_c", T0), ("org_d", T0 - YEAR_US)):
        await append_to(store.log, await add_organization(store, name), events(1, 1), Micros(at))

    assert await store.retention.advance(ALICE, Micros(T0 + YEAR_US), 0) == T0


async def clock_that_was_ahead(store: Store, org: OrganizationNo) -> None:
    """Record 1 to 5 at the right time, 6 to 10 with the clock a year ahead, 11 to 15 a minute after the first."""
    await store.retention.advance(ALICE, T0, 0)
    for first, at in ((1, T0), (6, T0 + YEAR_US), (11, T0 + MINUTE_US)):
        await append_to(store.log, org, events(first, 5), Micros(at))


async def test_events_get_the_right_time_when_the_clock_is_right_again(store, org):
    """After a clock that was a year ahead the next event has the time of the clock, not that of the event before."""
    await clock_that_was_ahead(store, org)
    await append_to(store.log, org, [event("e1"), event("e16")], Micros(T0 + 2 * MINUTE_US))

    times = [one.received_at - T0 for one in await entries(store.log, org, 0, 99, 99)]

    assert times == [0] * 5 + [YEAR_US] * 5 + [MINUTE_US] * 5 + [2 * MINUTE_US]


async def test_times_do_not_go_back_with_a_clock_that_is_wrong_now(store, org):
    """A clock a year back gives events the time of the one before: only retention's clock can confirm that it is right."""
    await store.retention.advance(ALICE, T0, 0)
    await append_to(store.log, org, events(1, 1), T0)
    await append_to(store.log, org, events(2, 1), Micros(T0 - YEAR_US))

    assert [one.received_at for one in await entries(store.log, org, 0, 9, 9)] == [T0, T0]


async def test_a_range_by_time_holds_all_events_of_that_time(store, org):
    """Where times go back, a range by time is the smallest range of the log that misses none."""
    await clock_that_was_ahead(store, org)

    async def by_time(since: int, until: int) -> tuple[int, int]:
        first = await store.log.sequence_at(org, Micros(T0 + since), 1, 15)
        return first, await store.log.last_until(org, Micros(T0 + until), 1, 15)

    assert await by_time(0, 0) == (1, 5)
    assert await by_time(0, MINUTE_US) == (1, 15)
    assert await by_time(1, MINUTE_US) == (6, 15)
    assert await by_time(1, MINUTE_US - 1) == (6, 5), "none"
    assert await by_time(2 * MINUTE_US, YEAR_US) == (6, 15)
    assert await by_time(YEAR_US + 1, 2 * YEAR_US) == (16, 15), "none"


async def test_ranges_by_time_are_those_of_one_log_however_often_its_times_go_back(store, org):
    """Each log is searched by its own times and its own steps back, the newest event among them."""
    other = await add_organization(store, "org_b")
    logs = {
        org: [0, YEAR_US, MINUTE_US, MINUTE_US, YEAR_US, 2 * MINUTE_US],
        other: [MINUTE_US, 3 * MINUTE_US, YEAR_US, 4 * MINUTE_US],
    }
    await store.retention.advance(ALICE, T0, 0)
    for no, times in logs.items():
        for number, at in enumerate(times, 1):
            await append_to(store.log, no, events(number, 1), Micros(T0 + at))

    for no, times in logs.items():
        numbered = [*enumerate(times, 1)]
        for first, last in ((1, len(times)), (2, len(times) - 1), (4, len(times))):
            part = numbered[first - 1 : last]
            for at in {at + by for at in [*logs[org], *logs[other]] for by in (-1, 0, 1)}:
                since = next((n for n, one in part if one >= at), last + 1)
                until = next((n for n, one in reversed(part) if one <= at), first - 1)
                assert await store.log.sequence_at(no, Micros(T0 + at), first, last) == since
                assert await store.log.last_until(no, Micros(T0 + at), first, last) == until


TENTH_US, STEP_US = 10 * CLOCK_STEP_US, CLOCK_STEP_US


@pytest.mark.parametrize(
    ("ahead", "confirmed_by", "goes_back"),
    [
        (STEP_US, 0, False),
        (STEP_US + 1, 0, True),
        (STEP_US + 1, STEP_US, True),
        (STEP_US + 1, STEP_US + 1, False),
        (5 * TENTH_US, 5 * STEP_US, True),
        (5 * TENTH_US, 5 * STEP_US + 1, False),
        (100 * DAY_US, DAY_US, True),
        (100 * DAY_US, DAY_US + 1, False),
    ],
)
@pytest.mark.parametrize("beside", [[], ["e1"]], ids=["new", "beside a repeated one"])
async def test_times_go_back_only_where_the_clock_was_certainly_wrong(
    store, org, ahead, confirmed_by, goes_back, beside
):
    """The newest time must be ahead by more than a limit, and retention's clock by no more than it may have been misled."""
    await store.retention.advance(ALICE, Micros(T0 + confirmed_by), 0)
    await append_to(store.log, org, events(1, 1), Micros(T0 + ahead))
    await append_to(store.log, org, [*map(event, beside), event("e2")], T0)

    first, second = [one.received_at - T0 for one in await entries(store.log, org, 0, 9, 9)]

    assert (first, second) == (ahead, 0 if goes_back else ahead)
    assert store.count("clock_steps") == goes_back


async def test_events_of_a_clock_that_was_ahead_go_with_those_around_them(store, org):
    """An event is over its time when a later one is: a wrong time keeps neither itself nor what follows."""
    await clock_that_was_ahead(store, org)

    removed = [sum(await sweep(store, Micros(T0 + after))) for after in (1, MINUTE_US, MINUTE_US + 1)]
    _, oldest = await store.directory.organization("org_a")
    await append_to(store.log, org, events(16, 1), Micros(T0 + 2 * MINUTE_US))

    assert removed == [5, 0, 10]
    assert oldest == 16
    assert store.count("clock_steps") == 0
    assert list(await stored(store, org)) == [16]


async def test_events_of_a_clock_that_was_ahead_go_although_later_ones_are_needed(store, org):
    """They are over their time with the event after them, also where a destination has still to send that one."""
    await add_destination(store, org)
    lease = await serve(store)
    await store.retention.advance(ALICE, T0, 0)
    await append_to(store.log, org, events(1, 10), Micros(T0 + YEAR_US))
    await append_to(store.log, org, events(11, 5), Micros(T0 + MINUTE_US))
    left = []
    for cursor in (8, 10, 15):
        await settle(store, settlement(lease, org, cursor))
        await sweep(store, Micros(T0 + MINUTE_US + 1))
        left.append((list(await stored(store, org)), store.count("clock_steps")))

    assert left == [(list(range(9, 16)), 1), (list(range(11, 16)), 0), ([], 0)]


async def test_only_what_a_later_event_proves_old_goes_with_it(store, org):
    """An event after the one at which times went back stays until its own time is over, also as the last one that may go."""
    await add_destination(store, org)
    lease = await serve(store)
    await store.retention.advance(ALICE, T0, 0)
    await append_to(store.log, org, events(1, 10), Micros(T0 + YEAR_US))
    for number, at in ((11, MINUTE_US), (12, 2 * MINUTE_US), (13, 3 * MINUTE_US)):
        await append_to(store.log, org, events(number, 1), Micros(T0 + at))
    await settle(store, settlement(lease, org, 12))

    await sweep(store, Micros(T0 + MINUTE_US + 1))

    assert list(await stored(store, org)) == [12, 13]


async def test_events_of_a_clock_that_was_ahead_stay_until_the_time_of_the_next_one(store, org):
    """Events before a step back stay while the event after it is exactly as old as events may be, though older ones go."""
    await clock_that_was_ahead(store, org)

    removed = sum(await sweep(store, Micros(T0 + MINUTE_US)))

    assert removed == 5
    assert list(await stored(store, org)) == list(range(6, 16))


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
async def test_the_steps_back_of_each_log_are_its_own(store, org, first):
    """What one log's step back proves old, and what is forgotten with it, is of that log alone, whichever is swept first."""
    other = await add_organization(store, "org_b")
    old, newer = (org, other) if first else (other, org)
    await clock_that_was_ahead(store, old)
    for number, at in ((1, T0), (6, T0 + YEAR_US), (8, T0 + 5 * MINUTE_US)):
        await append_to(store.log, newer, events(number, 2), Micros(at))

    await sweep(store, Micros(T0 + MINUTE_US + 1))

    assert await stored(store, old) == {}
    assert list(await stored(store, newer)) == [3, 4, 5, 6]
    assert store.count("clock_steps") == 1


async def test_of_several_steps_back_the_newest_old_one_counts(store, org):
    """Where times went back twice, all events before the second step go, up to the one that a destination needs."""
    await add_destination(store, org)
    lease = await serve(store)
    await store.retention.advance(ALICE, T0, 0)
    for first, at in ((1, 0), (3, YEAR_US), (5, MINUTE_US), (7, YEAR_US), (9, 2 * MINUTE_US)):
        await append_to(store.log, org, events(first, 2), Micros(T0 + at))
    await settle(store, settlement(lease, org, 7))

    await store.retention.step(Micros(T0 + 2 * MINUTE_US + 1))

    assert list(await stored(store, org)) == [8, 9, 10]


async def test_a_step_back_is_forgotten_with_the_event_before_it_only(store, org):
    """After the events before a single one of a clock that was ahead have gone, that one goes with the event after it."""
    await store.retention.advance(ALICE, T0, 0)
    for first, count, at in ((1, 5, 0), (6, 1, YEAR_US), (7, 5, MINUTE_US)):
        await append_to(store.log, org, events(first, count), Micros(T0 + at))

    removed = [sum(await sweep(store, Micros(T0 + after))) for after in (1, MINUTE_US + 1)]

    assert removed == [5, 6]
    assert store.count("clock_steps") == 0
