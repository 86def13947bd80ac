"""Promises of the lists of attempts: filters, several destinations at once, and how far a search looks."""

import itertools
from itertools import pairwise

import pytest

from aegis_stream.domain.delivery import RUN_LENGTH_MAX, AttemptRun, DestinationKey, Lease
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.store import attempt_lists, attempts
from aegis_stream.store.attempt_lists import STATUS_CLASSES, AttemptFilter, Found
from aegis_stream.store.attempts import AttemptQuery, AttemptRow
from aegis_stream.store.records import key_of
from support.sql import raw
from support.stores import (
    ALICE,
    LEASE_US,
    T0,
    add_destination,
    add_organization,
    append_to,
    events,
    serve,
    settle,
    settlement,
)

EVERYTHING = AttemptFilter()
COLUMNS = (
    *("attempt_no", "first_sequence", "last_sequence", "attempt", "state", "status_code"),
    *("message", "latency_us", "at"),
)
FAILURES = [
    (500, "answered 500: look into its log"),
    (429, "answered 429"),
    (401, "answered 401"),
    (None, "Timeout"),
]


def runs_of(sequence: int, second: int) -> list[AttemptRun]:
    """Return a failure of one event of each kind, and its delivery at last."""
    at = [Micros(T0 + (second + number) * SECOND) for number in range(5)]
    failed = [
        AttemptRun(sequence, sequence, number + 1, "failed", status, message, 7, at[number])
        for number, (status, message) in enumerate(FAILURES)
    ]
    return [*failed, AttemptRun(sequence, sequence, 5, "delivered", 202, None, 9, at[4])]


async def leases_of(store) -> list[Lease]:
    """Return the leases of the one worker, which serves all destinations."""
    claimed, _ = await store.ledger.claim(ALICE)
    return [one.lease for one in claimed]


@pytest.fixture
async def keys(store, org):
    """Two destinations with the attempts of three events each, stored in turns."""
    found = [await add_destination(store, org, number) for number in (1, 2)]
    await append_to(store.log, org, events(1, 3), T0)
    store.clock.at = T0
    await store.ledger.enlist(ALICE, LEASE_US)
    leases = await leases_of(store)
    for sequence in (1, 2, 3):
        for lease in leases:
            await settle(store, settlement(lease, org, sequence, runs=runs_of(sequence, 10 * sequence)))
    return [DestinationKey(org, one.no) for one in found]


async def search(store, keys, wanted=EVERYTHING, before=2**62, **limits) -> Found:
    """Search with a limit that nothing reaches, unless another one is given."""
    limits = {"limit": 100} | limits
    return await store.db.read(lambda unit: attempt_lists.search(unit, keys, wanted, before, **limits))


@pytest.mark.parametrize(
    ("wanted", "statuses"),
    [
        ({}, {500, 429, 401, None, 202}),
        ({"state": "failed"}, {500, 429, 401, None}),
        ({"state": "delivered"}, {202}),
        ({"status_class": "2xx"}, {202}),
        ({"status_class": "3xx"}, set()),
        ({"status_class": "4xx"}, {401}),
        ({"status_class": "429"}, {429}),
        ({"status_class": "5xx"}, {500}),
        ({"status_class": "network"}, {None}),
        ({"error": "LOOK into"}, {500}),
        ({"error": "timeout"}, {None}),
        ({"error": "answered"}, {500, 429, 401}),
        ({"error": "%"}, set()),
        ({"error": "answered_500"}, set()),
    ],
    ids=lambda one: " ".join(map(str, one.values())) if isinstance(one, dict) else "",
)
async def test_a_filter_chooses_by_result(store, keys, wanted, statuses):
    """A list has exactly the attempts that its filter means, of all destinations asked for."""
    found = await search(store, keys, AttemptFilter(**wanted))

    assert {row.status_code for _, row in found.rows} == statuses
    assert len(found.rows) == 6 * len(statuses)
    assert found.following is found.looked is None


async def test_attempts_of_several_destinations_are_merged(store, keys):
    """The attempts of several destinations are one list, newest first."""
    found = await search(store, keys)
    alone = await search(store, keys[:1])

    numbers = [row.attempt_no for _, row in found.rows]
    assert all(newer > older for newer, older in pairwise(numbers))
    assert {no for no, _ in found.rows} == {one.destination_no for one in keys}
    assert [row for no, row in found.rows if no == keys[0].destination_no] == [row for _, row in alone.rows]


async def test_times_bound_a_list(store, keys):
    """Both bounds belong to the span; rows outside are neither listed nor paged through."""
    found = await search(
        store, keys, AttemptFilter(since=Micros(T0 + 20 * SECOND), until=Micros(T0 + 30 * SECOND))
    )
    earlier = await search(store, keys, AttemptFilter(until=Micros(T0 - 400 * SECOND)))

    assert {(row.at - T0) // SECOND for _, row in found.rows} == {20, 21, 22, 23, 24, 30}
    assert earlier == Found([], None, None)


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_pages_of_a_search_lose_and_repeat_nothing(store, keys, limit):
    """Whatever the size of a page, and however little a search may look at, going on lists each row once."""
    wanted, before, seen = AttemptFilter(state="failed"), 2**62, []
    for _ in range(100):
        found = await search(store, keys, wanted, before, limit=limit, rows_max=1)
        seen += found.rows[:limit]
        if len(found.rows) >= limit:
            before = found.rows[limit - 1][1].attempt_no - 1
        elif found.following is None:
            break
        else:
            before = found.following

    assert seen == (await search(store, keys, wanted)).rows
    assert len(seen) == 24


async def test_a_search_that_finds_nothing_ends(store, keys):
    """A search that looked at its share ends, tells how far it came, and goes on there."""
    runs = [
        AttemptRun(1, 1, 1, "delivered", 202, None, 9, Micros(T0 + 100 * SECOND + number))
        for number in range(500)
    ]
    [lease] = [one for one in await leases_of(store) if one.destination_no == keys[0].destination_no]
    await settle(store, settlement(lease, keys[0].organization_no, 3, runs=runs))

    first = await search(store, keys, AttemptFilter(state="failed"), rows_max=300)
    rest = await search(store, keys, AttemptFilter(state="failed"), first.following, rows_max=5000)

    assert first.rows == []
    assert first.looked is not None
    assert first.looked.rows == 300
    assert len(rest.rows) == 24
    assert rest.looked is None


async def test_a_search_in_many_steps_lists_each_row_once(store, org):
    """A list that needs several reads of the log has every row that is meant, and none of them twice."""
    await add_destination(store, org)
    lease = await serve(store)
    runs = [
        AttemptRun(number, number, 1, "delivered", 202, None, 9, Micros(T0 + number))
        for number in range(1, 301)
    ]
    await settle(store, settlement(lease, org, 0, runs=runs))

    found = await search(
        store, [DestinationKey(org, lease.destination_no)], AttemptFilter(state="delivered"), limit=1000
    )

    assert [row.first for _, row in found.rows] == [*range(300, 0, -1)]


async def test_of_very_many_attempts_of_an_event_the_newest_are_listed(store, org):
    """An event that was tried for ages has a list of a bounded length."""
    await add_destination(store, org)
    lease = await serve(store)
    runs = [
        AttemptRun(1, 1, number, "failed", 500, "answered 500", 9, Micros(T0 + number))
        for number in range(1, 301)
    ]
    await settle(store, settlement(lease, org, 0, runs=runs))

    found = await store.db.read(
        lambda unit: attempt_lists.of_event(
            unit, [DestinationKey(org, lease.destination_no)], EVERYTHING, 1, 2**62
        )
    )

    assert [row.attempt for _, row in found] == [*range(300, 100, -1)]


async def test_the_attempts_of_one_event_are_found_everywhere(store, keys):
    """The attempts of an event at all destinations are listed, by the same filters."""

    def of_two(wanted: AttemptFilter):
        return store.db.read(lambda unit: attempt_lists.of_event(unit, keys, wanted, 2, 2**62))

    assert [row.first for _, row in await of_two(AttemptFilter())] == [2] * 10
    assert [row.status_code for _, row in await of_two(AttemptFilter(status_class="429"))] == [429, 429]


# ── each list beside a plain look at all rows ──


@pytest.fixture
async def crowd(store) -> list[Destination]:
    """Two organizations with two destinations each, which have runs of the same events, stored in turns, with other results and times."""
    destinations = []
    for org_id in ("org_a", "org_b"):
        no = await add_organization(store, org_id)
        destinations += [await add_destination(store, no, number) for number in (1, 2)]
        await append_to(store.log, no, events(1, 9), T0)
    store.clock.at = T0
    await store.ledger.enlist(ALICE, LEASE_US)
    leases, owner = await leases_of(store), {one.no: one.organization_no for one in destinations}
    results = [*FAILURES, (202, None), (299, None), (400, "odd"), (499, "odd"), (599, "odd")]
    for number, (status, message) in enumerate(results):
        for place, lease in enumerate(leases):
            first, state = 1 + number // 2, "failed" if message else "delivered"
            last = first if message else first + 2
            at = Micros(T0 + (2 * number + place) * SECOND)
            found = [AttemptRun(first, last, 1 + number % 3, state, status, message, number, at)]
            await settle(store, settlement(lease, owner[lease.destination_no], 9, runs=found))
    return destinations


def all_rows(unit) -> list[tuple[int, AttemptRow]]:
    """Return the attempts of all destinations with their numbers, newest first."""
    query = f"SELECT dst_no, {', '.join(COLUMNS)} FROM attempts ORDER BY attempt_no DESC"
    return [(row[0], AttemptRow(*row[1:])) for row in raw(unit).rows(query)]


def is_meant(row: AttemptRow, wanted: AttemptFilter) -> bool:
    """Tell whether a filter means an attempt, as its documentation says."""
    if wanted.status_class is None:
        of_class = True
    elif wanted.status_class == "network":
        of_class = row.status_code is None
    elif wanted.status_class == "429":
        of_class = row.status_code == 429
    else:
        of_class = (row.status_code or 0) // 100 == int(wanted.status_class[0]) and row.status_code != 429
    return (
        of_class
        and wanted.state in {None, row.state}
        and (wanted.since is None or row.at >= wanted.since)
        and (wanted.until is None or row.at <= wanted.until)
        and (wanted.error is None or wanted.error in (row.message or "").lower())
    )


FILTERS = [
    *(AttemptFilter(state=one) for one in (None, "failed", "delivered")),
    *(AttemptFilter(status_class=one) for one in STATUS_CLASSES),
    *(AttemptFilter(state="failed", status_class=one, error="answered") for one in ("4xx", "5xx")),
    AttemptFilter(state="delivered", since=Micros(T0 + 9 * SECOND), until=Micros(T0 + 12 * SECOND)),
    AttemptFilter(state="failed", error="odd", status_class="4xx", until=Micros(T0 + 14 * SECOND)),
    *(AttemptFilter(since=Micros(T0 + n * SECOND), until=Micros(T0 + n * SECOND)) for n in (0, 9, 16)),
]


async def test_a_filtered_list_is_what_all_rows_say(store, crowd):
    """Whatever is asked for, before whichever row, the list of a destination has its own rows that are meant and no others."""

    def look(unit) -> None:
        rows = all_rows(unit)
        for one, wanted, (_, row) in itertools.product(crowd, FILTERS, rows[::4]):
            before = row.attempt_no
            meant = [row for no, row in rows if no == one.no and is_meant(row, wanted)]
            meant = [row for row in meant if row.attempt_no <= before]
            found = attempt_lists.search(unit, [key_of(one)], wanted, before, limit=100)
            few = attempt_lists.search(unit, [key_of(one)], wanted, before, limit=2)

            assert [row for _, row in found.rows] == meant
            assert [row for _, row in few.rows][:2] == meant[:2]

    await store.db.read(look)


async def test_a_list_of_one_event_is_what_all_rows_say(store, crowd):
    """The attempts of an event are the runs that have it, at their edges too; those of a neighbour's event are not listed."""

    def look(unit) -> None:
        rows = all_rows(unit)
        for one, sequence, wanted in itertools.product(crowd, range(1, 9), FILTERS):
            meant = [(no, row) for no, row in rows if no == one.no and is_meant(row, wanted)]
            meant = [(no, row) for no, row in meant if row.first <= sequence <= row.last]
            newest = meant[0][1].attempt_no if meant else 1
            which = (unit, [key_of(one)], wanted, sequence)

            assert attempt_lists.of_event(*which, 2**62) == meant
            assert attempt_lists.of_event(*which, newest) == meant
            assert attempt_lists.of_event(*which, newest - 1) == meant[1:]

    await store.db.read(look)


async def test_a_page_of_attempts_is_what_all_rows_say(store, crowd):
    """A page has a destination's rows by state and event up to the row asked for, newest first, and not one more than its limit."""

    def look(unit) -> None:
        rows = all_rows(unit)
        asked = itertools.product(crowd, (None, "failed", "delivered"), (None, 1, 2, 5, 6, 7, 8), rows[::3])
        for one, state, sequence, (_, row) in asked:
            before = row.attempt_no
            own = [row for no, row in rows if no == one.no and state in {None, row.state}]
            own = [row for row in own if sequence is None or row.first <= sequence <= row.last]
            own = [row for row in own if row.attempt_no <= before]
            for limit in (1, 2, 100):
                query = AttemptQuery(state, sequence, before, limit)

                assert attempts.list_of(unit, one, query) == own[:limit]

    await store.db.read(look)


async def test_an_attempt_is_found_at_its_own_destination(store, crowd):
    """A row is found by its number where it belongs, and nowhere else."""

    def look(unit) -> None:
        for one, (no, row) in itertools.product(crowd, all_rows(unit)):
            assert attempts.find(unit, one, row.attempt_no) == (row if no == one.no else None)

    await store.db.read(look)


async def test_the_longest_run_has_its_first_event(store, org):
    """A run of as many events as one may have is listed among the attempts of its first and of its last event, not of the next."""
    one = await add_destination(store, org)
    await append_to(store.log, org, events(1, 2), T0)
    lease = await serve(store)
    run = AttemptRun(5, 4 + RUN_LENGTH_MAX, 1, "delivered", 202, None, 9, T0)
    await settle(store, settlement(lease, org, 2, runs=[run]))

    def count(sequence: int) -> tuple[int, int]:
        query = AttemptQuery(None, sequence, 2**62, 10)
        return store.db.read_now(
            lambda unit: (
                len(attempts.list_of(unit, one, query)),
                len(attempt_lists.of_event(unit, [key_of(one)], EVERYTHING, sequence, 2**62)),
            )
        )

    assert [count(n) for n in (4, 5, 4 + RUN_LENGTH_MAX, 5 + RUN_LENGTH_MAX)] == [
        (0, 0),
        (1, 1),
        (1, 1),
        (0, 0),
    ]
