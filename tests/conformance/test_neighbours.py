"""What belongs to one organization or destination is no other's: neighbours in one store, with equal sequences and ids."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from aegis_stream.domain.attempt import Failure, FailureScope, RetryPolicy
from aegis_stream.domain.delivery import (
    AUTO_REDRIVE_MAX,
    AttemptRun,
    DeadRow,
    DueRetry,
    Lease,
    ReplayRange,
    RetryRow,
)
from aegis_stream.domain.destination import Destination, Health
from aegis_stream.domain.ids import Micros, OrganizationNo, ReplayId
from aegis_stream.errors import NotFound
from aegis_stream.store import attempt_lists, destinations
from aegis_stream.store.event_states import Place, known_about
from aegis_stream.store.ledger import retries_too_far
from aegis_stream.store.records import key_of
from support.clock import T0
from support.sql import raw
from support.stores import (
    ALICE,
    BOB,
    LEASE_US,
    SECOND,
    Store,
    add_destination,
    add_organization,
    append_to,
    bury,
    event,
    events,
    settle,
    settlement,
)

COUNT = 20
"""Events of each log."""
FAR = Micros(T0 + 400 * 86_400 * SECOND)
"""A day that no retry may be due on."""
POLICY = RetryPolicy(base_seconds=60.0, multiplier=2.0, jitter=0.1)
TABLES = ("cursors", "retries", "dead_letters", "replays", "attempts", "destinations")


def far(no: int) -> Micros:
    """Return when the second retry of a destination is due: too far away, and later than those of the ones before it."""
    return Micros(FAR + no)


def failure(no: int, scope: FailureScope = FailureScope.DESTINATION) -> Failure:
    """Return a failure that tells which destination it was of."""
    return Failure(scope, f"failed {no}", 400 + no)


REPLAY = ReplayId("rpl_same")


@dataclass
class Crowd:
    """Three organizations with three destinations each, all of which are served, have failed, and are replayed."""

    store: Store
    destinations: list[Destination] = field(default_factory=list)
    leases: dict[int, Lease] = field(default_factory=dict)

    @property
    def middle(self) -> Destination:
        """The destination with neighbours on all sides."""
        return self.destinations[4]

    def number_of(self, destination: Destination) -> int:
        """Return the number of the last settlement of a destination: the earlier the destination, the higher."""
        return 1000 - 10 * destination.no

    async def fill(self, one: Destination) -> None:
        """Give a destination two retries, two dead letters, two attempts and a replay, each with the marks of its number."""
        no = one.no
        await self.store.directory.add_replay(one, REPLAY, 1, COUNT, Micros(T0 + no))
        found = settlement(
            self.leases[no], one.organization_no, 10, number=self.number_of(one), delivered=10 * no, failed_attempts=no,
            retries=[RetryRow(3, no, Micros(T0 + no * SECOND), failure(no)), RetryRow(4, 20, far(no), failure(no))],
            dead=[DeadRow(5, no, T0, failure(no)), DeadRow(6, no, Micros(T0 + no), failure(no, FailureScope.EVENT))],
            runs=[
                AttemptRun(1, 2, no, "delivered", 200 + no, None, no, T0),
                AttemptRun(3, 3, no, "failed", 400 + no, f"failed {no}", no, T0),
            ],
            replays=[(REPLAY, no)],
            health=Health(no, float(no), last_error_at=Micros(T0 + no), last_error_sequence=no, batch_bytes_max=1000 * no),
        )  # fmt: skip
        assert await settle(self.store, found)

    def rows_of(self, destination: Destination) -> dict[str, list]:
        """Return all rows of a destination, as they are in the store."""
        where = f"org_no = {destination.organization_no} AND dst_no = {destination.no}"

        def look(unit) -> dict[str, list]:
            return {
                table: sorted(map(repr, raw(unit).rows(f"SELECT * FROM {table} WHERE {where}")))
                for table in TABLES
            }

        return self.store.db.read_now(look)

    def rows_of_others(self) -> dict[int, dict[str, list]]:
        """Return all rows of all destinations but the one in the middle."""
        return {one.no: self.rows_of(one) for one in self.destinations if one is not self.middle}


@pytest.fixture
async def crowd(store) -> Crowd:
    """Make a crowd."""
    made = Crowd(store)
    for name in ("org_a", "org_b", "org_c"):
        no = await add_organization(store, name)
        made.destinations += [await add_destination(store, no, number) for number in (1, 2, 3)]
        await append_to(store.log, no, events(1, COUNT), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    made.leases = {one.lease.destination_no: one.lease for one in claimed}
    for one in made.destinations:
        await made.fill(one)
    return made


async def test_each_destination_reads_what_is_its_own(crowd):
    """Retries, dead letters, attempts, replays, counts and health of each destination are those that it was given."""
    for one in crowd.destinations:
        no, key, directory, ledger = one.no, key_of(one), crowd.store.directory, crowd.store.ledger
        due, following = await ledger.due(key, Micros(T0 + 60 * SECOND), 10)
        outstanding = await ledger.outstanding(key)
        progress = await directory.progress(one)
        letters = await directory.dead_letters(one, 0, 10)
        attempts = await directory.attempts(one, state=None, sequence=None, before=2**60, limit=10)
        of_three = await directory.attempts(one, state=None, sequence=3, before=2**60, limit=10)
        [replay] = await directory.replays_of(one, "~", 10)

        assert [(row.sequence, row.attempts, row.status_code) for row in due] == [(3, no, 400 + no)]
        assert following == far(no)
        assert outstanding.replays == [ReplayRange(REPLAY, 1, no, COUNT)]
        assert (outstanding.retrying, outstanding.dead_letters) == (2, 2)
        assert outstanding.health == progress.health
        assert (progress.health.failures_in_row, progress.health.batch_bytes_max) == (no, 1000 * no)
        assert (progress.delivered, progress.failed_attempts) == (10 * no, no)
        assert [(row.sequence, row.event_id, row.attempts, row.message) for row in letters] == [
            (5, "e5", no, f"failed {no}"),
            (6, "e6", no, f"failed {no}"),
        ]
        assert [row.latency_us for row in attempts] == [no, no]
        assert [row.status_code for row in of_three] == [400 + no]
        assert (replay.replay_id, replay.cursor, replay.created_at) == (REPLAY, no, T0 + no)
        assert await directory.replay_cursor(one, 7) == no
        assert (await directory.retry_of(one, 3)).attempts == no
        assert (await directory.retry_of(one, 4)).due_at == far(no)
        assert await directory.retry_of(one, 5) is None
        assert (await directory.dead_letter_of(one, 6)).due_at == T0 + no
        assert await directory.dead_letter_of(one, 3) is None


Deed = Callable[[Crowd], Awaitable[object]]


async def settle_everything(crowd: Crowd) -> None:
    """Settle something of every kind, under a number that its neighbours had long before."""
    one = crowd.middle
    found = settlement(
        crowd.leases[one.no], one.organization_no, 15, number=crowd.number_of(one) + 1, delivered=1, failed_attempts=2,
        resolved=[3], retries=[RetryRow(4, 9, T0, None), RetryRow(7, 1, T0, failure(9))],
        dead=[DeadRow(6, 9, T0, failure(9, FailureScope.EVENT)), DeadRow(8, 9, T0, failure(9))],
        runs=[AttemptRun(3, 3, 2, "delivered", 202, None, 1, T0)], replays=[(REPLAY, COUNT)],
        redrive_died_by=T0, health=Health(9),
    )  # fmt: skip
    assert await settle(crowd.store, found)
    progress = await crowd.store.directory.progress(one)
    assert (progress.cursor, progress.delivered, progress.retrying, progress.dead_letters) == (
        15,
        10 * one.no + 1,
        4,  # 4 and 7, and redriven 5 and 8
        1,
    )


async def delete_and_sweep(crowd: Crowd) -> None:
    """Delete a destination and let retention remove its rows; what it had delivered still counts."""
    one, directory = crowd.middle, crowd.store.directory
    before = (await directory.totals())[1:3]
    await directory.delete_destination(one.organization_no, one.dst_id, T0)
    while await crowd.store.retention.step(Micros(0)):
        pass
    assert not any(crowd.rows_of(one).values())
    assert (await directory.totals())[1:3] == before


async def redrive_all(crowd: Crowd) -> None:
    """Redrive a destination's dead letters, and no others are counted."""
    assert await crowd.store.directory.redrive(crowd.middle, None) == 2
    progress = await crowd.store.directory.progress(crowd.middle)
    assert (progress.retrying, progress.dead_letters) == (4, 0)


DEEDS: dict[str, Deed] = {
    "settle": settle_everything,
    "bring retries forward": lambda crowd: crowd.store.ledger.bring_forward(key_of(crowd.middle), POLICY, T0),
    "redrive all": redrive_all,
    "redrive one": lambda crowd: crowd.store.directory.redrive(crowd.middle, ["e5"]),
    "purge all": lambda crowd: crowd.store.directory.purge(crowd.middle, None),
    "purge one": lambda crowd: crowd.store.directory.purge(crowd.middle, "e6"),
    "cancel a replay": lambda crowd: crowd.store.directory.cancel_replay(crowd.middle, REPLAY, T0),
    "change": lambda crowd: crowd.store.directory.change_destination(
        crowd.middle.organization_no, crowd.middle.dst_id, lambda spec: spec, T0
    ),
    "correct": lambda crowd: crowd.store.directory.change_destination(
        crowd.middle.organization_no, crowd.middle.dst_id, lambda spec: replace(spec, name="new"), T0
    ),
    "release": lambda crowd: crowd.store.ledger.release(ALICE, [crowd.leases[crowd.middle.no]]),
    "delete": delete_and_sweep,
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
async def test_what_is_done_to_one_destination_is_done_to_no_other(crowd, deed):
    """No row of a neighbour changes, in the same organization or in another one, and those of the destination do."""
    before, others = crowd.rows_of(crowd.middle), crowd.rows_of_others()

    await deed(crowd)

    assert crowd.rows_of_others() == others
    assert crowd.rows_of(crowd.middle) != before


async def test_a_destination_is_known_to_its_own_organization(crowd):
    """An organization finds, lists and deletes its own destinations, and none of another one; a worker finds each by its number."""
    store = crowd.store
    for no in {one.organization_no for one in crowd.destinations}:
        own = [one for one in crowd.destinations if one.organization_no == no]
        known = store.db.read_now(lambda unit, no=no: known_about(unit, no, [1, 3, 5]))
        merged = store.db.read_now(lambda unit, no=no: attempt_lists.destinations_of(unit, no))

        assert [one.dst_id for one in await store.directory.destinations_of(no, "", 10)] == [
            one.dst_id for one in own
        ]
        assert known.places == {one.no: Place(0, 10) for one in own}
        assert known.retries == {(one.no, 3): one.no for one in own}
        assert known.dead == {(one.no, 5) for one in own}
        assert merged == {one.no: one.dst_id for one in own}
        for one in crowd.destinations:
            if one in own:
                assert (await store.directory.destination_of(no, one.dst_id)).no == one.no
                continue
            with pytest.raises(NotFound):
                await store.directory.destination_of(no, one.dst_id)
            with pytest.raises(NotFound):
                await store.directory.delete_destination(no, one.dst_id, T0)
    for one in crowd.destinations:
        assert (await store.directory.destination(one.no)).dst_id == one.dst_id


async def test_each_destination_tells_its_own_work_ahead(crowd):
    """The worker that serves a destination and the time of its first retry are those of this destination; none where there is none."""
    served, left = crowd.destinations[3], crowd.middle
    await crowd.store.ledger.release(ALICE, [crowd.leases[left.no]])
    await crowd.store.ledger.enlist(BOB, LEASE_US)

    def ahead(one: Destination) -> tuple[str | None, Micros | None]:
        return crowd.store.db.read_now(lambda unit: destinations.work_ahead(unit, one))

    assert [ahead(one) for one in crowd.destinations if one is not left] == [
        (ALICE, T0 + one.no * SECOND) for one in crowd.destinations if one is not left
    ]
    assert ahead(left) == (None, T0 + left.no * SECOND)
    await settle(
        crowd.store,
        settlement(
            crowd.leases[served.no],
            served.organization_no,
            10,
            number=crowd.number_of(served) + 1,
            resolved=[3, 4],
        ),
    )
    assert ahead(served) == (ALICE, None)


async def test_a_changed_destination_is_told_alone(crowd):
    """Only what was touched is told as changed: a change, a redrive, and a deletion, each with a higher revision than before."""
    directory, [*_, (_, known)] = crowd.store.directory, await crowd.store.directory.changed_since(0)
    first, *_, last = crowd.destinations

    await directory.redrive(crowd.middle, None)
    await directory.change_destination(first.organization_no, first.dst_id, lambda spec: spec, T0)
    await directory.delete_destination(last.organization_no, last.dst_id, T0)

    changes = await directory.changed_since(known)
    assert [no for no, _ in changes] == [crowd.middle.no, first.no, last.no]
    assert await directory.changed_since(changes[0][1]) == changes[1:]


async def test_retries_that_are_too_far_away_are_those_of_one_destination(crowd):
    """Where none of a destination is too far away, nothing is to be written, however far those of its neighbours are."""
    await crowd.store.ledger.bring_forward(key_of(crowd.middle), POLICY, T0)

    found = {
        one.no: crowd.store.db.read_now(lambda unit, one=one: retries_too_far(unit, key_of(one), POLICY, T0))
        for one in crowd.destinations
    }

    assert {no: [row.attempts for row in rows] for no, rows in found.items()} == {
        one.no: [] if one is crowd.middle else [20] for one in crowd.destinations
    }


async def two_of_one(store: Store, org: OrganizationNo, count: int) -> list[tuple[Destination, Lease]]:
    """Make two destinations of an organization with so many events; return each with its lease."""
    destinations = [await add_destination(store, org, number) for number in (1, 2)]
    await append_to(store.log, org, events(1, count), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    leases = {one.lease.destination_no: one.lease for one in claimed}
    return [(one, leases[one.no]) for one in destinations]


async def test_a_redriven_event_counts_although_a_neighbour_retries_it(store, org):
    """The retry that another destination has of the same event does not make the redriven one an old one."""
    (one, lease), (_, beside) = await two_of_one(store, org, 1)
    await bury(store, org, lease, 1)
    await settle(store, settlement(beside, org, 1, retries=[RetryRow(1, 1, T0, failure(1))]))

    await store.directory.redrive(one, None)

    progress = await store.directory.progress(one)
    assert (progress.retrying, progress.dead_letters) == (1, 0)


async def test_an_automatic_redrive_takes_its_own_dead_letters_up_to_the_limit(store, org):
    """However many dead letters a neighbour has, a redrive takes as many of its own as one settlement may."""
    (_, crowded), (one, lease) = await two_of_one(store, org, AUTO_REDRIVE_MAX + 1)
    await bury(store, org, crowded, *range(1, AUTO_REDRIVE_MAX + 1))
    await bury(store, org, lease, AUTO_REDRIVE_MAX + 1)

    await settle(store, settlement(lease, org, redrive_died_by=T0))

    progress = await store.directory.progress(one)
    assert (progress.retrying, progress.dead_letters) == (1, 0)


# ── logs ──


async def test_each_log_has_its_own_events(store):
    """An id finds the event of its own organization, also where others have the same id, and a page ends with its own log."""
    numbers = [await add_organization(store, name) for name in ("org_a", "org_b", "org_c")]
    for no, count in zip(numbers, (9, 3, 9), strict=True):
        batch = [event(f"e{n}", f'{{"org":{no},"n":{n}}}') for n in range(1, count + 1)]
        await append_to(store.log, no, batch, Micros(T0 + no))

    found = [await store.log.entry(no, "e2") for no in numbers]
    page = await store.log.page(OrganizationNo(numbers[1]), 2, 9, bytes_max=1 << 20, labels=True)

    assert [(one.sequence, one.body, one.received_at) for one in found] == [
        (2, f'{{"org":{no},"n":2}}', T0 + no) for no in numbers
    ]
    assert page.bodies == [f'{{"org":{numbers[1]},"n":{n}}}'.encode() for n in (2, 3)]
    assert await store.log.entry(numbers[1], "e4") is None
    assert await store.log.heads() == dict(zip(numbers, (9, 3, 9), strict=True))


async def test_logs_are_listed_where_they_have_events(store, org):
    """Only logs that have events are listed, with their heads and where they begin, by the number of their organization."""
    one, two = [await add_organization(store, name) for name in ("org_z", "org_b")]
    await append_to(store.log, one, events(1, 1), T0)
    await append_to(store.log, two, events(1, 2), T0)

    assert await store.log.heads() == {one: 1, two: 2}
    assert store.db.read_now(lambda unit: unit.rows("log_ranges")) == [
        (one, "org_z", 1, 1),
        (two, "org_b", 1, 2),
    ]


async def test_a_worker_learns_the_heads_of_the_logs_that_it_serves(store):
    """Of all logs, those with events are listed of which the worker serves a destination, also beside another worker's."""
    numbers = [await add_organization(store, name) for name in ("org_a", "org_b", "org_c", "org_d")]
    for no, count in zip(numbers, (3, 2, 0, 1), strict=True):
        if count:
            await append_to(store.log, no, events(1, count), T0)
    for no in numbers[:3]:
        await add_destination(store, no)
    await store.ledger.enlist(ALICE, LEASE_US)
    claimed, _ = await store.ledger.claim(ALICE)
    await store.ledger.release(ALICE, [one.lease for one in claimed if one.organization_no == numbers[0]])
    await store.ledger.enlist(BOB, LEASE_US)
    await store.ledger.claim(BOB)

    assert await store.log.heads(ALICE) == {numbers[1]: 2}
    assert await store.log.heads(BOB) == {numbers[0]: 3}


async def test_a_retry_knows_when_the_next_one_is_due(crowd):
    """Beside what is due, the time of the first retry after it is told, however many there are."""
    one = crowd.middle
    later = [RetryRow(7 + n, 1, Micros(T0 + (80 - n) * SECOND), failure(1)) for n in range(3)]
    number = crowd.number_of(one) + 1
    await settle(
        crowd.store,
        settlement(crowd.leases[one.no], one.organization_no, 10, number=number, retries=later),
    )

    due, following = await crowd.store.ledger.due(key_of(one), Micros(T0 + 60 * SECOND), 10)

    assert due == [DueRetry(3, one.no, b'{"event": {"id": "e3"}}', 400 + one.no)]
    assert following == T0 + 78 * SECOND
