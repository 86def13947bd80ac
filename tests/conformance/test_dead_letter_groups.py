"""Dead letters by their cause: counted as they come and go, listed by filters."""

from collections import Counter

from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.dead_letters import OTHER_ERRORS, DeadLetterFilter, group_id_of
from aegis_stream.domain.delivery import DeadRow
from aegis_stream.domain.ids import Micros
from aegis_stream.store import dead_letter_rows, dead_letters
from aegis_stream.store.records import key_of
from support.clock import T0
from support.stores import POISON, add_destination, append_to, bury, events, serve, settle, settlement

NOWHERE = Failure(FailureScope.DESTINATION, "no answer within 10 s", None)


async def groups(store, destination):
    """Return the groups of a destination as (kind, status, letters)."""
    found = await store.db.read(lambda unit: dead_letters.groups_of(unit, key_of(destination)))
    return [(one.scope, one.status_code, one.letters) for one in found]


async def letters(store, destination, which, after=0, limit=10, **options):
    """Return the sequences that a filter selects, and where to read on."""

    def work(unit):
        return dead_letters.matching(unit, key_of(destination), which, after, limit, **options)

    found = await store.db.read(work)
    return [one.sequence for one in found.found], found.next_after


async def assert_counted(store, destination):
    """Check that the groups say what there is."""
    key = key_of(destination)
    counted = {
        one.group_id: one.letters
        for one in await store.db.read(lambda unit: dead_letters.groups_of(unit, key))
    }
    every, _ = await letters(store, destination, DeadLetterFilter(), limit=10_000)
    rows = await store.directory.dead_letters(destination, 0, 10_000)

    assert counted == Counter(group_id_of(one.scope, one.status_code, one.message) for one in rows)
    assert len(every) == len(rows) == (await store.directory.progress(destination)).dead_letters


async def test_groups_are_counted_as_dead_letters_come_and_go(store, org):
    """After deaths, a second death, redrives and purges the groups say how many there are of each cause."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 8), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2, 3, 4)
    await bury(store, org, lease, 5, 6, failure=POISON)
    await bury(store, org, lease, 7, failure=NOWHERE)

    assert await groups(store, destination) == [
        ("destination", 500, 4),
        ("event", 400, 2),
        ("destination", None, 1),
    ]
    await assert_counted(store, destination)

    await bury(store, org, lease, 4, failure=POISON)  # it died once more, of something else
    await store.directory.redrive(destination, ["e1", "e7"])
    await store.directory.purge(destination, "e5")
    await settle(store, settlement(lease, org, 8, redrive_died_by=T0))
    assert await groups(store, destination) == [("event", 400, 2)]
    await assert_counted(store, destination)

    await store.directory.purge(destination, None)
    assert await groups(store, destination) == []


async def test_a_group_says_since_when_and_until_when(store, org):
    """A group has the time of its first and of its newest death, and the newest error; once empty it begins anew."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 4), T0)
    lease = await serve(store)
    times = [DeadRow(1, 3, Micros(T0 + 5), NOWHERE), DeadRow(2, 3, Micros(T0 + 9), NOWHERE)]
    later = Failure(FailureScope.DESTINATION, "no answer within 30 s", None)
    await settle(store, settlement(lease, org, 3, dead=[*times, DeadRow(3, 3, Micros(T0 + 7), NOWHERE)]))
    key = key_of(destination)
    [at_first] = await store.db.read(lambda unit: dead_letters.groups_of(unit, key))
    await settle(store, settlement(lease, org, 4, dead=[DeadRow(4, 3, Micros(T0 + 12), later)]))

    [before] = await store.db.read(lambda unit: dead_letters.groups_of(unit, key))
    await store.directory.redrive(destination, None)
    await settle(store, settlement(lease, org, 4, dead=[DeadRow(1, 3, Micros(T0 + 20), NOWHERE)]))
    [after] = await store.db.read(lambda unit: dead_letters.groups_of(unit, key))

    assert (at_first.letters, at_first.first_at, at_first.last_at) == (3, T0 + 5, T0 + 9)
    assert (before.letters, before.first_at, before.last_at) == (4, T0 + 5, T0 + 12)
    assert before.message == "no answer within 30 s"
    assert (after.letters, after.first_at, after.last_at) == (1, T0 + 20, T0 + 20)


async def test_causes_beyond_the_limit_are_one_group(store, org, monkeypatch):
    """However many different errors a receiver answers, the groups of a destination are bounded, and count all the same."""
    monkeypatch.setattr(dead_letter_rows, "GROUPS_MAX", 2)
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 5), T0)
    lease = await serve(store)
    for sequence, text in enumerate(("one", "two", "three", "four", "three"), 1):
        failure = Failure(FailureScope.EVENT, text, 400)
        await settle(store, settlement(lease, org, sequence, dead=[DeadRow(sequence, 3, T0, failure)]))
    key = key_of(destination)

    found = await store.db.read(lambda unit: dead_letters.groups_of(unit, key))
    other = next(one for one in found if one.message == OTHER_ERRORS)
    others = await letters(store, destination, DeadLetterFilter(error=other.group_id))
    await store.directory.redrive(destination, ["e3"])
    left = await store.db.read(lambda unit: dead_letters.groups_of(unit, key))

    assert sorted((one.message, one.letters) for one in found) == [("one", 1), (OTHER_ERRORS, 3), ("two", 1)]
    assert others == ([3, 4, 5], None)
    assert sorted(one.letters for one in left) == [1, 1, 2]


async def test_filters_select_by_kind_cause_and_time(store, org):
    """A list shows what its filter selects, in log order, and goes on where it ended."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 4, 7)
    await bury(store, org, lease, 2, 5, 8, failure=POISON)
    late = [DeadRow(sequence, 3, Micros(T0 + 50), NOWHERE) for sequence in (3, 6, 9)]
    await settle(store, settlement(lease, org, 9, dead=late))
    poison = group_id_of("event", 400, "answered 400")

    assert await letters(store, destination, DeadLetterFilter(about="event")) == ([2, 5, 8], None)
    assert await letters(store, destination, DeadLetterFilter(error=poison)) == ([2, 5, 8], None)
    assert await letters(store, destination, DeadLetterFilter(error=poison), 2, 1) == ([5], 5)
    assert await letters(store, destination, DeadLetterFilter(error="no answer within 99 s")) == (
        [3, 6, 9],
        None,
    )
    assert await letters(store, destination, DeadLetterFilter(before=Micros(T0 + 50)), 4) == ([5, 7, 8], None)
    assert await letters(store, destination, DeadLetterFilter("destination", "", Micros(T0 + 1))) == (
        [1, 4, 7],
        None,
    )
    assert await letters(store, destination, DeadLetterFilter(), 0, 9) == (list(range(1, 10)), None)
    assert await letters(store, destination, DeadLetterFilter(), 0, 8) == (list(range(1, 9)), 8)


async def test_a_filter_looks_at_a_bounded_number(store, org):
    """A list whose filter selects little ends early, and says where to read on, until all were looked at."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 7), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2, 3, 4, 5, 6)
    await bury(store, org, lease, 7, failure=POISON)
    which = DeadLetterFilter(about="event")

    first = await letters(store, destination, which, looked_at_max=4)
    second = await letters(store, destination, which, first[1], looked_at_max=4)

    assert first == ([], 4)
    assert second == ([7], None)


async def test_dead_letters_of_an_older_version_get_their_group(store, org):
    """What a version without groups has written is grouped in small parts, and counted once."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 5), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2, 3)
    await bury(store, org, lease, 4, failure=POISON)
    key = key_of(destination)

    def forget(unit):
        for sequence in (1, 2, 4):
            [row] = unit.rows("dead_letters_of", (*key, sequence - 1, 1))
            unit.run("delete_dead_letter", (*key, sequence))
            unit.run("insert_dead_letter", (*key, *row, ""))
        unit.run("delete_dead_letter_groups_of", key)
        tally = dead_letter_rows.Tally(unit, key)
        tally.add("destination", 500, "answered 500", T0)  # the one that has kept its group
        tally.store()

    await store.db.write(forget)
    parts = [await store.db.write(lambda unit: dead_letters.group_some(unit, 2)) for _ in range(3)]

    assert parts == [2, 1, 0]
    assert await groups(store, destination) == [("destination", 500, 3), ("event", 400, 1)]
    await assert_counted(store, destination)


async def test_a_group_whose_dead_letters_vanished_goes(store, org):
    """What a version without groups removed uncounted leaves an empty group; the next look at all of it removes that one alone."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 3), T0)
    lease = await serve(store)
    await bury(store, org, lease, 1, 2)
    await bury(store, org, lease, 3, failure=POISON)
    key = key_of(destination)
    await store.db.write(lambda unit: [unit.run("delete_dead_letter", (*key, one)) for one in (1, 2)])

    before = await groups(store, destination)
    await store.db.write(lambda unit: dead_letters.forget_vanished_groups(unit, key))

    assert before == [("destination", 500, 2), ("event", 400, 1)]
    assert await groups(store, destination) == [("event", 400, 1)]
