"""What became of the events of a page at all destinations, in one read."""

from aegis_stream.control.event_states import state_at
from aegis_stream.domain.destination import Filter
from aegis_stream.domain.ids import ReplayId
from aegis_stream.store import replays
from aegis_stream.store.event_states import EVENTS_MAX, known_about
from aegis_stream.store.replays import NewReplay
from support.clock import T0
from support.log import entries
from support.sql import raw
from support.stores import add_destination, append_to, event


async def test_each_event_has_its_state_at_each_destination(store, org):
    """Settled, retrying, dead, waiting, filtered, made later, and replayed: each is told from what is stored."""
    await append_to(store.log, org, [event(f"e{n}", dataset="app") for n in range(1, 5)], T0)
    later = await add_destination(store, org, 1)
    await append_to(
        store.log, org, [event(f"e{n}", dataset="app" if n < 9 else "other") for n in range(5, 13)], T0
    )
    filtering = await add_destination(store, org, 2, filter=Filter(("app",), ()))
    paused = await add_destination(store, org, 3, enabled=False)
    await append_to(store.log, org, [event("e13", dataset="other")], T0)
    for destination, cursor in ((later, 10), (filtering, 13), (paused, 12)):
        await store.db.write(
            lambda db, d=destination, c=cursor: raw(db).run(
                "UPDATE cursors SET cursor = ? WHERE dst_no = ?", (c, d.no)
            )
        )
    for sequence, attempts in ((6, 1), (7, 0)):
        await store.db.write(
            lambda db, s=sequence, a=attempts: raw(db).run(
                "INSERT INTO retries (org_no, dst_no, sequence, attempts, due_at) VALUES (?, ?, ?, ?, ?)",
                (org, later.no, s, a, T0),
            )
        )
    await store.db.write(
        lambda unit: unit.run("insert_dead_letter", (org, later.no, 8, "e8", 3, "event", 400, "no", T0, "g"))
    )
    await store.db.write(
        lambda unit: replays.add(unit, later, NewReplay(ReplayId("rpl_1"), 3, 4), T0, count_max=9)
    )
    log = {one.sequence: one for one in await entries(store.log, org, 0, 13, 50)}

    known = store.db.read_now(lambda unit: known_about(unit, org, sorted(log)))

    def states(destination) -> dict[int, str | None]:
        return {sequence: state_at(destination, entry, known) for sequence, entry in log.items()}

    found = states(later)
    assert [found[n] for n in (1, 2, 3, 4)] == [None, None, "pending", "pending"]
    assert [found[n] for n in (5, 6, 7, 8, 9, 10)] == [
        "delivered",
        "retrying",
        "pending",
        "dead_letter",
        "delivered",
        "delivered",
    ]
    assert [found[n] for n in (11, 13)] == ["pending", "pending"]
    assert [states(filtering)[n] for n in (12, 13)] == [None, "filtered"]
    assert [states(paused)[n] for n in (12, 13)] == [None, "paused"]


async def test_a_full_page_is_one_read(store, org):
    """As many events as a page has can be asked about at once."""
    await append_to(store.log, org, [event(f"e{n}") for n in range(EVENTS_MAX)], T0)
    destination = await add_destination(store, org)

    known = store.db.read_now(lambda unit: known_about(unit, org, [*range(1, EVENTS_MAX + 1)]))

    assert set(known.places) == {destination.no}
    assert known.retries == {}
