"""Promises of the pages that show what destinations did over time."""

import re

import pytest

from aegis_stream.domain.delivery import AttemptRun
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.rollup import rollup
from aegis_stream.domain.times import to_text
from support.api import SECOND, START, open_world
from support.console import Visitor

HOME = "/console/o/org_abc"
HOUR_US = 3600 * SECOND


async def make_history(world):
    """Make a destination that delivered 100 and failed 3 times two hours ago, and delivered 5 three days ago; return its page and a visitor."""
    tenant = await world.make_organization()
    dst_id = await world.make_destination(tenant, name="Elastic <prod>")
    for ago_us, delivered, failed in ((2 * HOUR_US, 100, (503, 503, None)), (72 * HOUR_US, 5, ())):
        at = Micros(START - ago_us)
        await world.settle(
            tenant,
            dst_id,
            runs=[AttemptRun(1, 1, 1, "failed", 503, "answered 503", 5, at) for _ in failed],
            rollup=rollup(at, delivered, failed, [5000] * delivered, 7),
        )
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)
    return f"{HOME}/d/{dst_id}", visitor


def totals(page: str) -> dict[str, int]:
    """Return the totals beside the drawing."""
    found = re.findall(r'<strong data-total="(\w+)"[^>]*>([\d,]+)</strong>', page)
    return {name: int(count.replace(",", "")) for name, count in found if count != "0"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"good": 100, "c5xx": 2, "cnetwork": 1}),
        ("?range=7d", {"good": 105, "c5xx": 2, "cnetwork": 1}),
        ("?range=1h", {}),
        (
            f"?from={to_text(Micros(START - 80 * HOUR_US))}&to={to_text(Micros(START - 70 * HOUR_US))}",
            {"good": 5},
        ),
    ],
)
async def test_the_span_of_the_url(world, query, expected):
    """The drawing and its table hold what happened in the span of the URL; without anything it says so."""
    here, visitor = await make_history(world)

    await visitor.get(here + query)

    assert totals(visitor.page) == expected
    row = re.search(r"<tr data-total-row>.*?</tr>", visitor.page, re.DOTALL)
    if expected:
        assert f'<td data-label="Delivered" class="figure">{expected["good"]}</td>' in row[0]
    else:
        assert '<p class="muted" data-live="history.nothing">Nothing was attempted' in visitor.page
    assert ('aria-current="true">7 d' in visitor.page) == ("7d" in query)


async def test_causes_are_those_of_the_span(world):
    """Failures that lie outside the span are not counted among its causes."""
    here, visitor = await make_history(world)

    await visitor.get(here)
    day = visitor.page
    await visitor.get(here + "?range=1h")

    assert "3 failed attempts of this span" in day
    assert "No attempt has failed in this span" in visitor.page


async def test_a_wrong_time_is_told(world):
    """A time in the URL that is none is answered with what is right, and the page of the usual span is a click away."""
    here, visitor = await make_history(world)

    answer = await visitor.get(here + "?from=yesterday")

    assert answer.status_code == 422
    assert "RFC 3339" in answer.text


async def test_changes_are_marked(tmp_path):
    """What was done to the destination in the span is marked, by whom and in which fields; what was done to others, and tests, are not."""
    async with open_world(tmp_path, audit_actions=True) as world:
        tenant = await world.make_organization()
        dst_id = await world.make_destination(tenant)
        other = await world.make_destination(tenant, name="other")
        await world.settle(tenant, dst_id, rollup=rollup(START, 1, (), [5], 0))
        await tenant.admin.patch(f"/forwarding-destinations/{dst_id}", json={"batch": {"max_events": 7}})
        await tenant.admin.post(f"/forwarding-destinations/{other}/pause")
        await tenant.admin.post(f"/forwarding-destinations/{dst_id}/test")
        visitor = Visitor(world)
        await visitor.sign_in(tenant.read.key)

        await visitor.get(f"{HOME}/d/{dst_id}")

        rows = re.search(r'<ul class="marked".*?</ul>', visitor.page, re.DOTALL)[0]
        assert visitor.page.count('<line class="mark"') == rows.count("<li>") == 2
        assert "created destination</li>" in rows
        assert "changed destination (batch)</li>" in rows


async def test_without_an_audit_trail_the_newest_change_is_marked(world):
    """Where actions are not recorded, the destination's own times are what is known."""
    tenant = await world.make_organization()
    dst_id = await world.make_destination(tenant)
    await world.settle(tenant, dst_id, rollup=rollup(START, 1, (), [5], 0))
    world.clock.at = START + SECOND
    await tenant.admin.patch(f"/forwarding-destinations/{dst_id}", json={"name": "b"})
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)

    await visitor.get(f"{HOME}/d/{dst_id}")

    rows = re.search(r'<ul class="marked".*?</ul>', visitor.page, re.DOTALL)[0]
    assert re.findall(r"</time> ([^<]+)</li>", rows) == ["made", "changed last"]


async def test_the_overview_has_a_strip(world):
    """A row shows the last day: a cell for each quarter in which something was attempted, linked and titled."""
    here, visitor = await make_history(world)

    await visitor.get(HOME)

    [strip] = re.findall(r'<svg class="strip".*?</svg>', visitor.page, re.DOTALL)
    [cell] = re.findall(r"<a href=.*?</a>", strip)
    assert "100 events delivered, 3 failed attempts in 1 quarter of an hour" in strip
    assert "some failed: 100 delivered, 3 failed" in cell
    href = re.search(r'href="([^"]+)"', cell)[1].replace("&amp;", "&")
    assert href.startswith(here + "?from=")
    await visitor.get(href)
    assert totals(visitor.page) == {"good": 100, "c5xx": 2, "cnetwork": 1}


async def test_a_paused_destination_has_paused_cells(world):
    """From the pause on, quarters without an attempt say that it is paused."""
    tenant = await world.make_organization()
    dst_id = await world.make_destination(tenant)
    world.clock.at = START + 2 * HOUR_US
    await tenant.admin.post(f"/forwarding-destinations/{dst_id}/pause")
    world.clock.at = START + 3 * HOUR_US
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)

    await visitor.get(HOME)

    assert visitor.page.count('class="paused"') == 4


async def test_the_last_hour_of_the_organization(world):
    """The overview draws events recorded, delivered and waiting minute by minute, of all destinations together."""
    tenant = await world.make_organization()
    for name, delivered in (("one", 40), ("two", 2)):
        dst_id = await world.make_destination(tenant, name=name)
        at = Micros(START - 61 * SECOND)
        await world.settle(tenant, dst_id, runs=[], rollup=rollup(at, delivered, (), [5000], 7))
        before = Micros(START - 62 * 60 * SECOND)
        await world.settle(tenant, dst_id, runs=[], rollup=rollup(before, 500, (), [5000], 500))
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)
    await visitor.get(HOME)

    lines = re.findall(
        r'aria-label="(Events \w+) in each minute of the last hour".*?<title>([^<]*)', visitor.page
    )
    assert lines == [
        ("Events recorded", ""),
        ("Events delivered", "42 in the last minute, at most 42"),
        ("Events waiting", "14 in the last minute, at most 14"),
    ]
