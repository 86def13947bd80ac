"""Limits of ingest that an operator can set: at each of them, one below and one above."""

import asyncio

import pytest

from aegis_stream.domain.event import DEFAULT_LIMITS
from aegis_stream.settings import IngestSettings
from aegis_stream.wiring.service import event_limits
from support.api import make_event, make_lines, nested, open_world, problem_of

LINES = "application/x-ndjson"


async def send(tmp_path, body: bytes, media: str | None = None, **limits: object):
    """Send one body to a service with these limits; returns the answer."""
    async with open_world(tmp_path, **limits) as world:
        tenant = await world.make_organization()
        return await (tenant.ingest.send(body, media) if media else tenant.ingest.send(body))


@pytest.mark.parametrize(("count", "status"), [(2, 202), (3, 202), (4, 413)])
async def test_events_of_a_request(tmp_path, count, status):
    """A request has so many events and no more; then nothing of it is taken."""
    body = make_lines([make_event(f"e{number}") for number in range(count)])

    answer = await send(tmp_path, body, LINES, request_events_max=3)

    assert answer.status_code == status
    assert status == 202 or "the limit is 3" in problem_of(answer, 413)["detail"]


@pytest.mark.parametrize(("over", "status"), [(-1, 202), (0, 202), (1, 413)])
async def test_bytes_of_a_request(tmp_path, over, status):
    """A body has so many bytes and no more."""
    answer = await send(
        tmp_path, make_event(size_bytes=2000 + over), request_bytes_max=2000, event_bytes_max=1999 + 2
    )

    assert answer.status_code == status
    assert status == 202 or "2000 bytes" in problem_of(answer, 413)["detail"]


@pytest.mark.parametrize(("over", "status"), [(-1, 202), (0, 202), (1, 413)])
async def test_bytes_of_an_event(tmp_path, over, status):
    """An event has so many bytes and no more."""
    answer = await send(tmp_path, make_event(size_bytes=1500 + over), event_bytes_max=1500)

    assert answer.status_code == status
    assert status == 202 or "the limit is 1500" in problem_of(answer, 413)["detail"]


@pytest.mark.parametrize(("depth", "status"), [(5, 202), (6, 202), (7, 422)])
async def test_depth_of_an_event(tmp_path, depth, status):
    """An event is nested so deep and no deeper."""
    answer = await send(tmp_path, make_event(x=nested(depth - 1)), json_depth_max=6)

    assert answer.status_code == status
    assert status == 202 or "deeper than 6 levels" in problem_of(answer, 422)["detail"]


@pytest.mark.parametrize(("digits", "status"), [(29, 202), (30, 202), (31, 422)])
async def test_characters_of_a_number(tmp_path, digits, status):
    """A number has so many characters and no more."""
    answer = await send(tmp_path, make_event(x=int("7" * digits)), number_digits_max=30)

    assert answer.status_code == status
    assert status == 202 or "more than 30 characters" in problem_of(answer, 422)["detail"]


async def test_requests_of_a_key(tmp_path):
    """A key brings events so often and no more; then it is told when to come again, and other keys do not feel it."""
    async with open_world(tmp_path, key_ingest_per_second=2) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        burst = [await tenant.ingest.send(make_event(f"e{number}")) for number in range(5)]
        beside = await other.ingest.send(make_event("e9", org_id="org_other"))
        world.clock.advance(int(burst[-1].headers["retry-after"]))
        again = await tenant.ingest.send(make_event("e4"))

    assert [answer.status_code for answer in burst] == [202] * 4 + [429]
    assert problem_of(burst[-1], 429)["detail"]
    assert int(burst[-1].headers["retry-after"]) >= 1
    assert (beside.status_code, again.status_code) == (202, 202)


def test_the_limits_of_an_event_are_those_of_the_settings():
    """Without settings an event may be as large and as odd as the settings say by default."""
    assert event_limits(IngestSettings()) == DEFAULT_LIMITS


async def test_reads_of_one_organization_wait_for_each_other_and_for_nobody_else(tmp_path):
    """While one read of an organization is answered the next ones wait; its events, and all calls of others, do not."""
    async with open_world(tmp_path) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        no = (await world.service.control.access.principal(f"Bearer {tenant.read.key}")).organization_no
        await world.service.turns.enter(no)
        reads = [asyncio.ensure_future(tenant.read.get(path)) for path in ("/events", "", "/api-keys")]
        beside = [
            await other.read.get("/events"),
            await other.ingest.send(make_event(org_id="org_other")),
            await tenant.ingest.send(make_event()),
        ]
        waiting = [one.done() for one in reads]
        world.service.turns.leave(no)
        answers = await asyncio.gather(*reads)

    assert [one.status_code for one in beside] == [200, 202, 202]
    assert waiting == [False, False, True], "a call that the key may not make waits for nothing"
    assert [one.status_code for one in answers] == [200, 200, 403]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/events", 200), ("/events/none", 404), ("/events?limit=x", 422), ("/events?x=1", 422), ("/x", 404)],
)
async def test_a_read_ends_its_turn_however_it_ends(tmp_path, path, status):
    """After an answer of any status the next read of the organization is answered."""
    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        answers = [await tenant.read.request("GET", path) for _ in range(2)]
        left = world.service.turns._waiting

    assert [one.status_code for one in answers] == [status] * 2
    assert left == {}
