"""Promises of …/forwarding-destinations/{id}/timeline: what a destination did over time, step by step."""

import pytest

from aegis_stream.control.timeline import STEPS_MAX
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.rollup import began_at, rollup
from aegis_stream.domain.times import to_text
from support.api import SECOND, START, open_world, problem_of

PATH = "/forwarding-destinations"
MINUTE_US, HOUR_US, DAY_US = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
ZERO = {"3xx": 0, "4xx": 0, "429": 0, "5xx": 0, "network": 0, "other": 0}


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


def ago(us: int) -> Micros:
    """Return a time before the clock of these tests."""
    return Micros(START - us)


async def make_history(world, tenant) -> str:
    """Make a destination that delivered and failed an hour, ten minutes and no time ago."""
    destination_id = await world.make_destination(tenant)
    for at, delivered, failed in (
        (ago(HOUR_US), 100, (500, 500, None)),
        (ago(10 * MINUTE_US), 7, (429, 200, 301, 404)),
        (START, 3, ()),
    ):
        made = rollup(at, delivered, failed, [5_000] * delivered, 40)
        await world.settle(tenant, destination_id, delivered=delivered, rollup=made)
    return destination_id


async def test_steps_without_holes(world):
    """Every step of the span is there, in order, those without an attempt too; the total is their sum."""
    tenant = await world.make_organization()
    destination_id = await make_history(world, tenant)

    body = (await tenant.read.get(f"{PATH}/{destination_id}/timeline")).json()

    first = began_at(ago(DAY_US), 900)
    assert body["step_seconds"] == 900
    assert body["from"] == to_text(first)
    assert [one["at"] for one in body["data"]] == [
        to_text(Micros(first + number * 900 * SECOND)) for number in range(len(body["data"]))
    ]
    assert body["data"][-1]["at"] == to_text(began_at(START, 900))
    assert body["total"]["delivered"] == sum(one["delivered"] for one in body["data"]) == 110
    assert body["total"]["failed"] == {"3xx": 1, "4xx": 1, "429": 1, "5xx": 2, "network": 1, "other": 1}
    assert 4 <= body["total"]["p50_ms"] <= 8
    empty = body["data"][0]
    assert empty == {
        "at": to_text(first),
        "delivered": 0,
        "failed": ZERO,
        "p50_ms": None,
        "p99_ms": None,
        "waiting_max": None,
        "dead_letters": 0,
    }
    assert {one["waiting_max"] for one in body["data"] if one["delivered"]} == {40}


@pytest.mark.parametrize(
    ("span_us", "expected"),
    [(HOUR_US, 60), (DAY_US, 900), (7 * DAY_US, 3600), (30 * DAY_US, 21_600), (90 * DAY_US, 86_400)],
)
async def test_a_step_that_fits_is_chosen(world, span_us, expected):
    """Without `step` an answer has steps that people read, and the same events whatever the step."""
    tenant = await world.make_organization()
    destination_id = await make_history(world, tenant)
    query = {"from": to_text(ago(span_us))}

    body = (await tenant.read.get(f"{PATH}/{destination_id}/timeline", **query)).json()

    assert body["step_seconds"] == expected
    assert body["total"]["delivered"] == 110
    assert len(body["data"]) <= 171


async def test_a_span_has_an_end(world):
    """What lies after `to` is not part of the answer, to the step; a `to` that lies ahead means now."""
    tenant = await world.make_organization()
    destination_id = await make_history(world, tenant)
    there = f"{PATH}/{destination_id}/timeline"
    begin, end = to_text(ago(2 * HOUR_US)), to_text(ago(30 * MINUTE_US))

    early = (await tenant.read.get(there, **{"from": begin, "to": end, "step": 60})).json()
    late = (await tenant.read.get(there, **{"from": begin, "to": to_text(ago(-DAY_US)), "step": 60})).json()

    assert (early["total"]["delivered"], late["total"]["delivered"]) == (100, 110)
    assert early["to"] <= to_text(ago(29 * MINUTE_US))
    assert late["to"] <= to_text(ago(-MINUTE_US))


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"step": 59}, "step", "multiple of 60"),
        ({"step": 90}, "step", "multiple of 60"),
        ({"step": "null"}, "step", "int"),
        ({"step": -60}, "step", "multiple of 60"),
        ({"step": 60}, "step", "must be at least 120"),
        ({"from": to_text(ago(50 * HOUR_US)), "step": 900}, "step", "48 hours"),
        ({"from": to_text(ago(93 * DAY_US))}, "from", "90 days"),
        ({"from": to_text(ago(-HOUR_US))}, "from", "present"),
        ({"from": to_text(ago(HOUR_US)), "to": to_text(ago(2 * HOUR_US))}, "from", "not be after to"),
        ({"from": "yesterday"}, "from", "RFC 3339"),
        ({"to": "2026-05-28"}, "to", "RFC 3339"),
        ({"step": 10**17}, "step", "up to"),
    ],
)
async def test_limits_are_told(world, query, field, says):
    """A span or a step that cannot be answered is refused, with the field and with what can be."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)

    answer = await tenant.read.get(f"{PATH}/{destination_id}/timeline", **query)

    problem = problem_of(answer, 422, field)
    assert says in problem["errors"][0]["message"]


async def test_the_number_of_steps_is_bounded(world):
    """The longest answer has no more than STEPS_MAX steps."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    query = {"from": to_text(ago((STEPS_MAX - 1) * MINUTE_US)), "step": 60}

    body = (await tenant.read.get(f"{PATH}/{destination_id}/timeline", **query)).json()

    assert len(body["data"]) == STEPS_MAX


async def test_another_organization_is_not_found(world):
    """The history of another organization's destination is not there."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    destination_id = await make_history(world, other)

    answer = await tenant.read.get(f"{PATH}/{destination_id}/timeline")

    assert answer.status_code == 404
