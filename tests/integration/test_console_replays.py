"""Promises of the replays of a destination in the console: preview, start, progress, cancel."""

import re

import pytest

from aegis_stream.console.forms import Form
from aegis_stream.console.replays import Asked, asked_in, range_of
from aegis_stream.console.zone import zone_in
from aegis_stream.control.replays import TimeRange
from aegis_stream.domain.times import from_text
from aegis_stream.errors import Invalid
from support.api import SECOND, START
from support.console import cells_of, signed_in, stream_of


async def furnish(world, tenant):
    """Make a destination and ten events, five of them two hours old; returns the path of its tab."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    await world.send_events(tenant, 5)
    world.clock.advance(7200)
    await world.send_events(tenant, 5, "later")
    world.clock.advance(60)
    return f"/console/o/{tenant.org_id}/d/{dst_id}/replays"


async def test_a_preview_starts_nothing_and_its_button_starts_that(world, tenant):
    """The preview says how many events, from when to when; its button sends exactly these, though others were recorded since."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)
    await visitor.post(here, {"range": "hour"})
    preview = visitor.page
    fields = dict(re.findall(r'name="(first|last|start)" value="([^"]*)"', preview))
    replays = f"/forwarding-destinations/{here.split('/')[5]}/replays"
    before = (await tenant.read.get(replays)).json()["data"]
    await world.send_events(tenant, 1, "last")

    answer = await visitor.post(here, fields)
    await visitor.get(answer.headers["location"])
    [replay] = (await tenant.read.get(replays)).json()["data"]

    assert "<strong>5 events</strong>, sequences 6 to 10" in preview
    assert before == []
    assert "The replay of 5 events has started" in visitor.page
    assert (replay["from_sequence"], replay["to_sequence"]) == (6, 10)


async def test_a_running_replay_has_a_bar_and_can_be_cancelled(world, tenant):
    """The bar says how many of how many, how fast, and how long it will take; a cancelled one stays in the list."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)
    await visitor.post(here, {"range": "everything"})
    await visitor.post(here, {"start": "yes", "first": "1", "last": "10"})
    dst_id = here.split("/")[5]
    replays = f"/forwarding-destinations/{dst_id}/replays"
    [replay] = (await tenant.read.get(replays)).json()["data"]
    world.clock.advance(2)
    await world.settle(tenant, dst_id, replays=[(replay["id"], 4)])

    await visitor.get(here)
    running = visitor.page
    cells = await cells_of(visitor, running)
    cancelled = await visitor.post(f"{here}/{replay['id']}/cancel")
    again = await visitor.post(f"{here}/{replay['id']}/cancel")
    world.clock.advance(1)
    over = await cells_of(visitor, running)
    await visitor.get(here)

    assert "4 of 10 events, about 3 s left, 2 a second" in running
    assert '<progress max="10" value="4"' in running
    assert cells[f"{replay['id']}.bar"]["set"] == {"max": "10", "value": "4"}
    assert cells[f"{replay['id']}.text"]["text"] == "4 of 10 events, about 3 s left, 2 a second"
    assert cells[f"{replay['id']}.state"] == {"parts": ["⟳", "running"], "kind": "badge running"}
    assert over[f"{replay['id']}.state"]["kind"] == "badge cancelled"
    assert [one[f"{replay['id']}.cancel"]["kind"] for one in (cells, over)] == ["shown", "none"]
    assert stream_of(visitor.page).endswith("&drawn=")
    assert (cancelled.status_code, again.status_code) == (303, 404)
    assert "cancelled" in visitor.page


async def test_a_wrong_range_keeps_what_was_typed(world, tenant):
    """The problem stands at its field, and the choice and both times are still there."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)

    answer = await visitor.post(here, {"range": "own", "from": "2026-05-15T10:00", "to": "2026-05-14T10:00"})

    assert answer.status_code == 422
    assert "must not lie before from" in answer.text
    assert 'value="2026-05-15T10:00"' in answer.text
    assert 'value="own" checked' in answer.text


async def test_times_are_in_the_zone_of_the_page(world, tenant):
    """The fields name the zone of the URL, and what is typed there is read in it; the next page keeps both."""
    here = await furnish(world, tenant) + "?zone=Asia/Kathmandu"
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)
    labels = re.findall(r">(\w+, in [^<]+?) <span", visitor.page)
    await visitor.post(here, {"range": "day", "from": "2026-05-15T00:00", "to": "2026-05-16T05:45"})

    assert labels == ["From, in Asia/Kathmandu", "To, in Asia/Kathmandu"]
    assert "from 2026-05-15 00:00:00" in re.sub(r"<[^>]+>", "", visitor.page)
    assert "--from 2026-05-14T18:15:00.000000Z --to 2026-05-16T00:00:00.000000Z" in visitor.page
    assert 'value="2026-05-15T00:00"' in visitor.page


@pytest.mark.parametrize(
    ("fields", "preset"),
    [
        ({"range": "hour"}, "hour"),
        ({"range": "hour", "from": "2026-05-15T10:00"}, "own"),
        ({"range": "hour", "to": "2026-05-15T10:00"}, "own"),
        ({"range": "hour", "from": "2026-05-15T10:00", "shown_from": "2026-05-15T10:00"}, "hour"),
        ({"range": "hour", "from": "2026-05-15T11:00", "shown_from": "2026-05-15T10:00"}, "own"),
        ({"range": "own", "from": "2026-05-15T10:00", "shown_from": "2026-05-15T10:00"}, "own"),
        ({"range": "hour", "shown_from": "2026-05-15T10:00"}, "hour"),
        ({}, "day"),
    ],
)
def test_who_types_times_means_them(fields, preset):
    """Times that were typed since the page was shown count, whatever is chosen; those that stood there already do not."""
    assert asked_in(Form({name: [value] for name, value in fields.items()})).preset == preset


async def test_a_range_without_events_says_so(world, tenant):
    """A preview of nothing has no button to start it."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)

    await visitor.post(here, {"range": "own", "from": "2020-01-01T00:00", "to": "2020-01-02T00:00"})

    assert "No event that is kept was recorded" in visitor.page
    assert 'name="start"' not in visitor.page


async def test_a_read_key_sees_replays_and_no_form(world, tenant):
    """A key that may only read has the list alone, and its calls are 403."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(here)
    page = visitor.page
    answers = [await visitor.post(here, {"range": "hour"}), await visitor.post(f"{here}/rpl_1/cancel")]

    assert "Preview</button>" not in page
    assert "None yet. A replay sends events" in page
    assert [one.status_code for one in answers] == [403, 403]


def test_the_ranges_of_the_form():
    """A preset goes back from now; own times are UTC; an open end is now."""
    now = START
    ten = from_text("2026-05-15T10:00:00Z")

    assert range_of(Asked("hour"), now) == TimeRange(now - 3600 * SECOND, now)
    assert range_of(Asked("everything"), now) == TimeRange(0, now)
    assert range_of(Asked("own", "2026-05-15T10:00", ""), now) == TimeRange(ten, now)
    assert range_of(Asked("own", "2026-05-15T10:00", "2026-05-15T10:00:30"), now) == TimeRange(
        ten, ten + 30 * SECOND
    )


def test_a_clock_that_is_put_back_or_forward():
    """Of a time that there is twice, or not at all, the range is the longer one."""
    berlin = zone_in("zone=Europe/Berlin").info
    twice = range_of(Asked("own", "2025-10-26T02:30", "2025-10-26T02:30"), START, berlin)
    never = range_of(Asked("own", "2026-03-29T02:30", "2026-03-29T02:30"), START, berlin)

    assert twice == TimeRange(from_text("2025-10-26T00:30:00Z"), from_text("2025-10-26T01:30:00Z"))
    assert never == TimeRange(from_text("2026-03-29T00:30:00Z"), from_text("2026-03-29T01:30:00Z"))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Asked("own"), "from"),
        (Asked("own", "noon"), "from"),
        (Asked("own", "2026-05-15T10:00", "x"), "to"),
    ],
)
def test_a_time_that_is_none_names_its_field(asked, field):
    """What is missing or not a time is told at its field."""
    with pytest.raises(Invalid) as raised:
        range_of(asked, START)

    assert [one.field for one in raised.value.problems] == [field]


@pytest.mark.parametrize(
    ("text", "zone"), [("0001-01-01T00:00", "Asia/Tokyo"), ("9999-12-31T23:59", "America/Lima")]
)
def test_a_time_before_or_after_all_years_is_none(text, zone):
    """A time that UTC does not have, because its year is not one of 1 to 9999 there, is told at its field."""
    with pytest.raises(Invalid) as raised:
        range_of(Asked("own", text), START, zone_in(f"zone={zone}").info)

    assert [one.field for one in raised.value.problems] == ["from"]
