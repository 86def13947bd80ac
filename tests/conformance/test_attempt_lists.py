"""Promises of the lists of attempts: filters, several destinations at once, and how far a search looks."""

from itertools import pairwise

import pytest

from aegis_stream.domain.delivery import AttemptRun, DestinationKey, Lease
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.store import attempt_lists
from aegis_stream.store.attempt_lists import AttemptFilter, Found
from support.stores import ALICE, LEASE_US, T0, add_destination, append_to, events, settle, settlement

EVERYTHING = AttemptFilter()
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


async def test_the_attempts_of_one_event_are_found_everywhere(store, keys):
    """The attempts of an event at all destinations are listed, by the same filters."""

    def of_two(wanted: AttemptFilter):
        return store.db.read(lambda unit: attempt_lists.of_event(unit, keys, wanted, 2, 2**62))

    assert [row.first for _, row in await of_two(AttemptFilter())] == [2] * 10
    assert [row.status_code for _, row in await of_two(AttemptFilter(status_class="429"))] == [429, 429]
