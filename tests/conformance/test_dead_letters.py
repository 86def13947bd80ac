"""Dead letters: listed, redriven, purged."""

from aegis_stream.domain.delivery import (
    AUTO_REDRIVE_MAX,
    DeadRow,
    DestinationKey,
    RetryRow,
)
from aegis_stream.domain.ids import Micros
from support.clock import T0
from support.stores import DOWN, POISON, add_destination, append_to, bury, events, serve, settle, settlement


async def test_dead_letters_are_listed_in_log_order(store, org):
    """A dead letter says which event, after how many attempts, why, and when; a listing goes on after a sequence."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 4), T0)
    lease = await serve(store)
    await bury(store, org, lease, 4, 2)
    await bury(store, org, lease, 3, failure=POISON)

    letters = await store.directory.dead_letters(destination, 0, 10)
    one = await store.directory.dead_letter_of(destination, 3)

    assert [tuple(letter) for letter in letters] == [
        (2, "e2", 3, "destination", 500, "answered 500", T0),
        (3, "e3", 3, "event", 400, "answered 400", T0),
        (4, "e4", 3, "destination", 500, "answered 500", T0),
    ]
    assert await store.directory.dead_letters(destination, 2, 1) == letters[1:2]
    assert tuple(one) == (3, T0, 400, "answered 400")
    assert await store.directory.dead_letter_of(destination, 1) is None


async def test_redrive_makes_dead_letters_pending_at_once(store, org):
    """Redriven events are due now with no attempt used, the counts move over, and the worker can learn of it."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 5), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2, 3)
    before = (await store.directory.destination(lease.destination_no)).revision

    some = await store.directory.redrive(destination, ["e2", "e5", "nobody"])
    due_some, _ = await store.ledger.due(DestinationKey(org, lease.destination_no), Micros(T0 + 5), 10)
    rest = await store.directory.redrive(destination, None)
    due_all, _ = await store.ledger.due(DestinationKey(org, lease.destination_no), Micros(T0 + 6), 10)
    progress = await store.directory.progress(destination)
    changes = await store.directory.changed_since(before)

    assert (some, rest) == (1, 2)
    assert [(one.sequence, one.attempts) for one in due_some] == [(2, 0)]
    assert {(one.sequence, one.attempts) for one in due_all} == {(1, 0), (2, 0), (3, 0)}
    assert (progress.retrying, progress.dead_letters) == (3, 0)
    assert [no for no, _ in changes] == [lease.destination_no]


async def test_automatic_redrive_takes_what_is_about_the_destination(store, org):
    """A recovery makes dead letters pending that died of the destination by then: not the poisonous, not the younger."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 4), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1)
    await bury(store, org, lease, 2, failure=POISON)
    younger = [DeadRow(3, 3, Micros(T0 + 10), DOWN), DeadRow(4, 3, Micros(T0 + 11), DOWN)]
    await settle(store, settlement(lease, org, 4, dead=younger))

    await settle(store, settlement(lease, org, 4, redrive_died_by=Micros(T0 + 9)), now=T0 + 11)
    left = [one.sequence for one in await store.directory.dead_letters(destination, 0, 10)]
    progress = await store.directory.progress(destination)

    assert left == [2, 3, 4]
    assert (progress.retrying, progress.dead_letters) == (1, 3)


async def test_a_dead_letter_of_a_clock_that_was_ahead_is_redriven_as_well(store, org):
    """What died at a time that lies ahead, because the clock was set back since, does not wait for that time."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 1), T0)
    lease = await serve(store)
    await settle(store, settlement(lease, org, 1, dead=[DeadRow(1, 3, Micros(T0 + 12), DOWN)]))

    await settle(store, settlement(lease, org, 1, redrive_died_by=Micros(T0 + 9)), now=T0 + 11)

    assert await store.directory.dead_letters(destination, 0, 10) == []


async def test_one_settlement_redrives_a_bounded_number(store, org):
    """However many dead letters a recovery finds, one transaction moves only so many; a person's redrive moves all."""
    destination = await add_destination(store, org)
    count = 2 * AUTO_REDRIVE_MAX + 5
    await append_to(store.log, org, events(1, count), T0)
    lease = await serve(store)
    await bury(store, org, lease, *range(1, count + 1))

    await settle(store, settlement(lease, org, count, redrive_died_by=T0))
    automatic = await store.directory.progress(destination)
    [next_one] = await store.directory.dead_letters(destination, 0, 1)
    by_hand = await store.directory.redrive(destination, None)
    progress = await store.directory.progress(destination)

    assert (automatic.retrying, automatic.dead_letters) == (AUTO_REDRIVE_MAX, AUTO_REDRIVE_MAX + 5)
    assert next_one.sequence == AUTO_REDRIVE_MAX + 1, "the oldest go first"
    assert by_hand == AUTO_REDRIVE_MAX + 5
    assert (progress.retrying, progress.dead_letters) == (count, 0)


async def test_redriving_an_event_that_a_replay_retries_keeps_one_row(store, org):
    """An event can be a dead letter and in retries at once, by a replay; redriven it is one retry with all its attempts."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 1), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1)
    await settle(store, settlement(lease, org, 1, retries=[RetryRow(1, 2, Micros(T0 + 99), DOWN)]))

    await store.directory.redrive(destination, None)
    due, _ = await store.ledger.due(DestinationKey(org, lease.destination_no), Micros(T0 + 5), 10)
    progress = await store.directory.progress(destination)

    assert [(one.sequence, one.attempts) for one in due] == [(1, 0)]
    assert progress.dead_letters == store.count("dead_letters") == 0
    assert progress.retrying == store.count("retries") == 1


async def test_purged_dead_letters_are_gone(store, org):
    """Dead letters can be thrown away one by one or all, and the count says so."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2, 3)

    one = await store.directory.purge(destination, "e2")
    none = await store.directory.purge(destination, "e2")
    rest = await store.directory.purge(destination, None)

    assert (one, none, rest) == (1, 0, 2)
    assert (await store.directory.progress(destination)).dead_letters == store.count("dead_letters") == 0
