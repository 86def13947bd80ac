"""How many bytes an organization stores, and that it stores no more than its quota."""

import asyncio

import pytest

from aegis_stream.domain.delivery import RetryRow
from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import Micros, OrganizationNo
from aegis_stream.domain.organization import OwnQuotas, Quotas
from aegis_stream.errors import OutOfRoom, Unavailable
from aegis_stream.ports import Appended
from aegis_stream.store import organizations
from aegis_stream.store.append import append_events
from aegis_stream.store.retention import CHUNK
from support.clock import T0
from support.sql import raw
from support.stores import (
    ALICE,
    DOWN,
    LEASE_US,
    Store,
    add_destination,
    add_organization,
    append_to,
    bury,
    event,
    events,
    serve,
    settle,
    settlement,
    stored,
    with_quota,
)

OLD, HORIZON, NEW = T0, Micros(T0 + 1), Micros(T0 + 2)
UNICODE = '{"text":"zwölf 🚲 und ein Ω"}'


def sized(event_id: str, size: int) -> NewEvent:
    """Build an event with a body of so many bytes."""
    return event(event_id, '{"pad":"' + "x" * (size - 10) + '"}')


def counted(store: Store, org_id: str = "org_a") -> int:
    """Return how many bytes the store says that an organization has."""
    return store.db.read_now(lambda unit: organizations.find(unit, org_id)).stored_bytes


def measured(store: Store, org: OrganizationNo) -> int:
    """Return how many bytes an organization's events have, added up."""
    query = f"SELECT coalesce(sum(octet_length(body)), 0) FROM events WHERE org_no = {org}"
    return store.db.read_now(lambda unit: raw(unit).row(query))[0]


async def limit(store: Store, org: OrganizationNo, stored_bytes_max: int | None) -> None:
    """Set an organization's own quota of stored bytes."""
    await store.db.write(lambda unit: organizations.set_quotas(unit, org, OwnQuotas(stored_bytes_max)))


async def sweep(store: Store) -> None:
    """Remove what is old and not needed."""
    while await store.retention.step(HORIZON):
        pass


# ── counting ──


async def test_every_byte_is_counted_and_no_other(store, org):
    """Bodies count in bytes of UTF-8, repeated and conflicting events count once, and each organization for itself."""
    other = await add_organization(store, "org_b")
    await append_to(store.log, org, [event("a", UNICODE), *events(1, 300)], T0)
    await append_to(store.log, org, [event("a", UNICODE), event("b", UNICODE)], T0)
    await append_to(store.log, org, [event("b", '{"other":1}')], T0)
    await append_to(store.log, other, [sized("x", 77)], T0)

    assert counted(store) == measured(store, org) > 300 * 10
    assert counted(store, "org_b") == 77


async def test_a_commit_that_fails_counts_nothing(backend, store, org):
    """What was not stored is not counted, and what is stored afterwards is."""
    await append_to(store.log, org, [sized("a", 100)], T0)
    backend.fail_next_commit(store)
    with pytest.raises(Unavailable):
        await append_to(store.log, org, [sized("b", 1000)], T0)
    await append_to(store.log, org, [sized("c", 50)], T0)

    assert counted(store) == measured(store, org) == 150


async def test_another_process_and_the_next_start_count_on(backend, store, org):
    """All processes count together, and a store that is opened again has the same number."""
    beside = backend.open()
    await append_to(store.log, org, [sized("a", 100)], T0)
    await append_to(beside.log, org, [sized("b", 200)], T0)
    store.db.close()
    backend.opened.remove(store)

    assert counted(backend.open()) == 300


async def test_what_retention_removes_is_counted_off(store, org):
    """After retention the number is that of what is left, exactly, in one chunk or several."""
    await append_to(store.log, org, [event(f"u{n}", f'{{"n":"ü{n}"}}') for n in range(2500)], OLD)
    await append_to(store.log, org, [event("new", UNICODE)], NEW)

    await sweep(store)

    assert len(await stored(store, org)) == 1
    assert counted(store) == measured(store, org) == len(UNICODE.encode())


async def test_events_of_dead_letters_count_until_they_are_purged(store, org):
    """What retention keeps for retries and dead letters counts; once these are gone the events go, though nothing else is old."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, [sized(f"e{n}", 100) for n in range(1, 51)], OLD)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 50, retries=[RetryRow(10, 1, T0, DOWN)]))
    await bury(store, org, lease, 20, 30, 50)
    await sweep(store)
    kept = counted(store)
    await settle(store, settlement(lease, org, 50, resolved=[10]))
    await store.directory.purge(destination, None)
    await sweep(store)

    assert kept == 400
    assert counted(store) == measured(store, org) == 0


async def test_the_events_kept_for_retries_and_dead_letters_are_counted(store, org):
    """A log knows how many events it keeps before its beginning: a step that removes others need not look at these again."""
    await add_destination(store, org)
    await append_to(store.log, org, [sized(f"e{n}", 20) for n in range(1, 51)], OLD)
    lease = await serve(store)
    await bury(store, org, lease, 10, 20, 30)

    removed = await store.retention.step(HORIZON)

    kept = store.db.read_now(lambda unit: raw(unit).row("SELECT oldest, kept FROM organizations"))
    assert (removed, kept) == (30, (31, 3))


async def test_what_is_left_goes_although_others_have_failed(store, org):
    """Events of retries and dead letters that are gone are removed; those of others stay, in the same log and in another one."""
    numbers = (org, await add_organization(store, "org_b"))
    destinations = [await add_destination(store, one) for one in numbers]
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    for one in claimed:
        no = one.organization_no
        await append_to(store.log, no, [sized(f"e{n}", 20) for n in range(1, 11)], OLD)
        retries = [RetryRow(sequence, 1, T0, DOWN) for sequence in (3, 4)]
        await settle(store, settlement(one.lease, no, 10, retries=retries))
        await bury(store, no, one.lease, 5, 10)
    await sweep(store)
    lease = next(one.lease for one in claimed if one.organization_no == org)

    await settle(store, settlement(lease, org, 10, resolved=[3]))
    await store.directory.purge(destinations[0], "e5")
    await sweep(store)

    assert [list(await stored(store, no)) for no in numbers] == [[4, 10], [3, 4, 5, 10]]
    assert [counted(store, org_id) for org_id in ("org_a", "org_b")] == [40, 80]
    kept = "SELECT kept FROM organizations ORDER BY org_no"
    assert store.db.read_now(lambda unit: raw(unit).rows(kept)) == [(2,), (4,)]


async def test_many_purged_dead_letters_go_in_chunks(store, org):
    """The events of thousands of purged dead letters go in steps of bounded size."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, [sized(f"e{n}", 20) for n in range(1, 2501)], OLD)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, 2501))
    await sweep(store)
    await store.directory.purge(destination, None)
    steps = []
    while removed := await store.retention.step(HORIZON):
        steps.append(removed)

    assert sum(steps) == 2500
    assert max(steps) == CHUNK
    assert counted(store) == 0


async def test_purged_dead_letters_of_several_organizations_go_in_chunks(store, org):
    """A step that removes the events of purged dead letters removes a chunk at most, from however many logs."""
    numbers = (org, await add_organization(store, "org_b"))
    destinations = [await add_destination(store, one) for one in numbers]
    await store.ledger.enlist(ALICE, LEASE_US)
    for claimed in (await store.ledger.claim(ALICE))[0]:
        no = claimed.organization_no
        await append_to(store.log, no, [sized(f"e{n}", 20) for n in range(1, 701)], OLD)
        await bury(store, no, claimed.lease, *range(1, 701))
    await sweep(store)
    for one in destinations:
        await store.directory.purge(one, None)
    steps = []
    while removed := await store.retention.step(HORIZON):
        steps.append(removed)

    assert steps == [CHUNK, 400]
    assert (counted(store), counted(store, "org_b")) == (0, 0)


async def test_dead_letters_of_others_keep_what_they_need(store, org):
    """An event of two dead letters stays until both are gone."""
    one, two = await add_destination(store, org, 1), await add_destination(store, org, 2)
    await append_to(store.log, org, [sized(f"e{n}", 100) for n in range(1, 4)], OLD)
    await store.ledger.enlist("wrk_alice", 2**40)
    claimed, _ = await store.ledger.claim("wrk_alice")
    for each in claimed:
        await bury(store, org, each.lease, 1, 2, 3)
    await sweep(store)
    await store.directory.purge(one, None)
    await sweep(store)
    half = counted(store)
    await store.directory.purge(two, None)
    await sweep(store)

    assert (half, counted(store)) == (300, 0)


# ── the quota ──


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
@pytest.mark.parametrize("own", [True, False])
async def test_the_quota_is_exact(store, org, size, fits, own):
    """A log holds the bytes of its quota and no more, whether the quota is its own or everybody's; nothing of the rest is stored."""
    if own:
        await limit(store, org, 300)
    log = with_quota(store.log, stored_bytes_max=1 if own else 300)
    await append_to(log, org, [sized("a", 200)], T0)

    if fits:
        assert await append_to(log, org, [sized("b", size)], T0) == Appended(2, 1, 2)
    else:
        with pytest.raises(OutOfRoom) as refused:
            await append_to(log, org, [sized("b", size)], T0)
        assert (refused.value.size, refused.value.stored_bytes, refused.value.room) == (size, 200, 100)
        assert list((await stored(store, org)).values()) == ["a"]
    assert counted(store) == measured(store, org)


async def test_a_log_without_a_limit_takes_everything(store, org):
    """An own quota of 0 is no limit, whatever the default is."""
    await limit(store, org, 0)

    await append_to(with_quota(store.log, stored_bytes_max=10), org, events(1, 10), T0)

    assert len(await stored(store, org)) == 10


async def test_one_that_fits_not_keeps_no_other_waiting(store, org):
    """Of requests that are stored together those are stored that fit, in order, and other organizations feel nothing."""
    other = await add_organization(store, "org_b")
    log = with_quota(store.log, stored_bytes_max=1000)
    await append_to(log, org, [sized("a", 600)], T0)
    calls = [
        append_to(log, org, [sized("b", 300)], T0),
        append_to(log, org, [sized("c1", 100), sized("c2", 101)], T0),
        append_to(log, other, [sized("x", 1000)], T0),
        append_to(log, org, [sized("d", 100)], T0),
        append_to(log, org, [sized("e", 10)], T0),
    ]

    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in results] == [Appended, OutOfRoom, Appended, Appended, OutOfRoom]
    assert list((await stored(store, org)).values()) == ["a", "b", "d"]
    assert counted(store) == 1000


async def test_each_organization_has_room_of_its_own(store, org):
    """Of requests that are stored together those fit that their own organization has room for, however full another one is."""
    other = await add_organization(store, "org_b")
    await limit(store, org, 100)
    log = with_quota(store.log, stored_bytes_max=1000)
    await append_to(log, org, [sized("a", 100)], T0)
    await append_to(log, other, [sized("a", 500)], T0)

    calls = [append_to(log, other, [sized(name, size)], T0) for name, size in (("b", 501), ("c", 400))]
    refused, stored_one = await asyncio.gather(*calls, return_exceptions=True)

    assert (refused.size, refused.stored_bytes, refused.room) == (501, 500, 500)
    assert stored_one == Appended(2, 1, 2)


@pytest.mark.parametrize(("sizes", "fits"), [((50, 50), True), ((50, 51), False)])
@pytest.mark.parametrize("own", [True, False])
async def test_the_new_ones_beside_repeated_events_keep_to_the_quota(store, org, sizes, fits, own):
    """Repeated events need no room, and the new ones beside them need theirs, to the byte."""
    if own:
        await limit(store, org, 300)
    log = with_quota(store.log, stored_bytes_max=1 if own else 300)
    await append_to(log, org, [sized("a", 200)], T0)
    batch = [sized("a", 200), *[sized(f"b{n}", size) for n, size in enumerate(sizes)]]

    if fits:
        assert await append_to(log, org, batch, T0) == Appended(2, 2, 3, {0: 1})
    else:
        with pytest.raises(OutOfRoom) as refused:
            await append_to(log, org, batch, T0)
        assert (refused.value.size, refused.value.stored_bytes, refused.value.room) == (101, 200, 100)
    assert counted(store) == measured(store, org) == (300 if fits else 200)


async def test_what_is_stored_already_needs_no_room(store, org):
    """A repeated event is a duplicate although the quota is used up."""
    log = with_quota(store.log, stored_bytes_max=200)
    await append_to(log, org, [sized("a", 200)], T0)

    again = await append_to(log, org, [sized("a", 200)], T0)

    assert (again.added, again.duplicates) == (0, {0: 1})


async def test_processes_share_one_quota(backend, store, org):
    """Two processes together store no more than the quota, and neither has to know of the other."""
    beside = backend.open()
    await limit(store, org, 500)
    logs = [store.log, beside.log]

    results = await asyncio.gather(
        *[append_to(logs[n % 2], org, [sized(f"e{n}", 100)], T0) for n in range(10)], return_exceptions=True
    )

    assert [type(one) for one in results].count(Appended) == 5
    assert counted(store) == measured(store, org) == 500


async def test_administrative_events_are_stored_all_the_same(store, org):
    """Events of administrative actions are appended although the quota is used up, and they count."""
    await limit(store, org, 100)
    await append_to(store.log, org, [sized("a", 100)], T0)
    values = ("adm_1", "aegis.audit_stream.admin", None, "{}", 1)

    await store.db.write(lambda unit: append_events(unit, org, values, 2, T0))

    assert counted(store) == 102


async def test_room_that_retention_makes_is_room(store, org):
    """When old events are gone, new ones are stored."""
    await limit(store, org, 100)
    await append_to(store.log, org, [sized("a", 100)], OLD)
    with pytest.raises(OutOfRoom):
        await append_to(store.log, org, [sized("b", 100)], NEW)

    await sweep(store)

    assert (await append_to(store.log, org, [sized("b", 100)], NEW)).added == 1


async def test_totals_count_those_that_are_near(store, org):
    """The sums for metrics have all bytes, and the organizations at four fifths of their quota or beyond."""
    other = await add_organization(store, "org_b")
    await append_to(store.log, org, [sized("a", 80)], T0)
    await append_to(store.log, other, [sized("a", 79)], T0)

    def totals(default: int) -> tuple[int, int]:
        return store.db.read_now(lambda unit: organizations.storage_totals(unit, Quotas(default)))

    assert (totals(0), totals(100), totals(98)) == ((159, 0), (159, 1), (159, 2))
    await limit(store, org, 0)
    assert totals(98) == (159, 1)
