"""Promises of the drawings of open pages: one for all who look, not more often than every few seconds, and none while nothing changes."""

import asyncio

import pytest

from aegis_stream.console import redraw
from aegis_stream.console.redraw import DRAWN_MAX, HISTORY_PAUSE_US, PAUSE_US, Redraw, Wanted, wanted_of
from aegis_stream.console.zone import Zone, zone_in
from aegis_stream.control import overview, replays
from aegis_stream.control.caller import Caller, Principal
from aegis_stream.control.replays import SequenceRange
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.organization import Scope
from aegis_stream.domain.rollup import began_at, rollup

DAY = Wanted("", "day")


@pytest.fixture
def drawn(monkeypatch):
    """Return what was drawn, in order."""
    found = []
    real = redraw._drawn

    async def noted(deps, caller, seen, wanted):
        found.append(wanted)
        return await real(deps, caller, seen, wanted)

    monkeypatch.setattr(redraw, "_drawn", noted)
    return found


class Looking:
    """Somebody who looks at the pages of an organization."""

    def __init__(self, world, tenant) -> None:
        self.deps, self.one = world.service.control, Redraw()
        self.caller = Caller.of_key(Principal(tenant.no, tenant.org_id, Scope.READ, "key_a"), None)
        self.writer = Caller.of_key(Principal(tenant.no, tenant.org_id, Scope.ADMIN, "key_b"), None)

    async def look(self, wanted=DAY, *, anew=False):
        """Return what a page is told."""
        found = await overview.read(self.deps, self.caller)
        return await self.one.cells(self.deps, self.caller, found, wanted, anew=anew)


@pytest.fixture
async def looking(world, tenant):
    """Return who looks."""
    return Looking(world, tenant)


async def deliver(world, tenant, dst_id, count=1) -> None:
    """Let a destination have delivered events just now."""
    made = rollup(world.clock.now(), count, (), [5000] * count, 0)
    await world.settle(tenant, dst_id, delivered=count, rollup=made)


async def test_what_was_delivered_shows(world, tenant, looking):
    """The strip's newest cell and the chart change after a settlement, when the pause is over."""
    dst_id = await world.make_destination(tenant)
    chart = Wanted(dst_id, "1h")
    before, before_chart = await looking.look(), await looking.look(chart)
    await deliver(world, tenant, dst_id, 3)
    world.clock.advance(HISTORY_PAUSE_US / SECOND)
    after, after_chart = await looking.look(), await looking.look(chart)

    assert before[f"{dst_id}.day.95"].kind == "none"
    assert after[f"{dst_id}.day.95"].parts[0].endswith("all taken: 3 delivered, 0 failed")
    assert before_chart["history.drawn"].kind == "none"
    assert (after_chart["history.drawn"].kind, after_chart["history.total.good"].text) == ("shown", "3")


async def test_all_who_look_share_a_drawing(world, tenant, looking, drawn):
    """Ten pages that ask at once get one drawing; another span is another one."""
    dst_id = await world.make_destination(tenant)
    found = await asyncio.gather(*[looking.look() for _ in range(10)])
    await asyncio.gather(*[looking.look(Wanted(dst_id, "1h")) for _ in range(10)])

    assert drawn == [DAY, Wanted(dst_id, "1h")]
    assert all(one is found[0] for one in found)


async def test_a_pause_between_two_drawings(world, tenant, looking, drawn):
    """However much changes, the next drawing is made when the pause is over; who has just opened a page gets one at once."""
    dst_id = await world.make_destination(tenant)
    await looking.look()
    await deliver(world, tenant, dst_id)
    world.clock.advance((PAUSE_US - 1) / SECOND)
    await looking.look()
    early = len(drawn)
    world.clock.advance(1 / SECOND)
    await looking.look()
    late = len(drawn)
    await looking.look(anew=True)

    assert (early, late, len(drawn)) == (1, 2, 3)


async def test_nothing_is_drawn_while_nothing_changes(world, tenant, looking, drawn):
    """While all stands as it did, the drawing is the same object; it is made again when a minute is over, because the span moves on."""
    await world.make_destination(tenant)
    world.clock.at = began_at(world.clock.now(), 60)
    first = await looking.look()
    for _ in range(10):
        world.clock.advance(PAUSE_US / SECOND)
        assert await looking.look() is first
    world.clock.advance(60)
    await looking.look()

    assert len(drawn) == 2


async def test_the_pause_grows_with_the_strips(world, tenant, looking, drawn):
    """An overview of many destinations is drawn less often."""
    for number in range(30):
        dst_id = await world.make_destination(tenant, name=f"d{number}")
    await looking.look()
    await deliver(world, tenant, dst_id)
    world.clock.advance(PAUSE_US / SECOND)
    await looking.look()
    early = len(drawn)
    world.clock.advance(1)
    await looking.look()

    assert (early, len(drawn)) == (1, 2)


async def test_bars_move_until_they_end(world, tenant, looking, drawn):
    """How far a replay is is looked at again each second, though the organization stands as it did; not any more when it has ended."""
    dst_id = await world.make_destination(tenant)
    await world.send_events(tenant, 3)
    deps = looking.deps
    started = await replays.start(deps, looking.writer, dst_id, SequenceRange(1, 3))
    wanted = Wanted(dst_id, f"replays.{started.replay_id}")
    world.clock.at = began_at(world.clock.now(), 60)
    for _ in range(3):
        cells = await looking.look(wanted)
        world.clock.advance(1)
    running, looks = cells[f"{started.replay_id}.state"].parts[1], len(drawn)
    await replays.cancel(deps, looking.writer, dst_id, started.replay_id)
    ended = []
    for _ in range(5):
        ended.append(await looking.look(wanted))
        world.clock.advance(1)

    assert (running, looks) == ("running", 3)
    assert ended[0][f"{started.replay_id}.state"].parts[1] == "cancelled"
    assert all(one is ended[1] for one in ended[1:])


async def test_bars_of_a_page_are_those_from_its_newest_on(world, tenant, looking):
    """A replay that was started after the page was opened pushes none of the page's out."""
    dst_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    started = []
    for _ in range(3):
        world.clock.advance(1)
        started.append(
            (await replays.start(looking.deps, looking.writer, dst_id, SequenceRange(1, 1))).replay_id
        )
    cells = await looking.look(Wanted(dst_id, f"replays.{started[1]}"))

    assert {key.partition(".")[0] for key in cells} == set(started[:2])


async def test_no_more_drawings_are_kept_than_the_limit(world, tenant, looking, drawn):
    """Those that nobody has asked for longest are dropped."""
    first = await world.make_destination(tenant, name="first")
    await looking.look(Wanted(first, "1h"))
    for number in range(DRAWN_MAX):
        looking.one._drawings[("org", Wanted(str(number), "1h"))] = redraw._Drawing()
    await looking.look()

    assert len(looking.one._drawings) == DRAWN_MAX
    await looking.look(Wanted(first, "1h"))
    assert drawn == [Wanted(first, "1h"), DAY, Wanted(first, "1h")]


def test_what_a_stream_may_name():
    """An overview has its day and a destination its spans; anything else draws nothing."""
    assert wanted_of("", "day", Zone()) == DAY
    assert wanted_of("dst_a", "7d", Zone()) == Wanted("dst_a", "7d")
    assert wanted_of("dst_a", "jobs.job_1", zone_in("zone=Europe/Berlin")) == Wanted("dst_a", "jobs.job_1")
    assert wanted_of("dst_a", "replays.rpl_1", Zone()) == Wanted("dst_a", "replays.rpl_1")
    assert [
        wanted_of(*one, Zone())
        for one in (
            ("", ""),
            ("", "7d"),
            ("", "jobs.job_1"),
            ("dst_a", "day"),
            ("dst_a", ""),
            ("dst_a", "x"),
            ("dst_a", "jobs."),
            ("dst_a", "replays.rpl_1\n"),
        )
    ] == [None] * 8
