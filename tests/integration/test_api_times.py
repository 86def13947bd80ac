"""All of RFC 3339 is a time, wherever the API takes one."""

import json

import pytest

from support.api import make_lines, open_world, problem_of

TIMES = [
    "2016-12-31T23:59:60Z",
    "2016-12-31T15:59:60.25-08:00",
    "9999-12-31T23:59:59.9999999Z",
    "2026-12-31T23:59:59.999999999+00:00",
    "2026-12-31t23:59:59.12345678901234567890z",
    "2026-05-15 10:33:21-00:00",
    "2024-02-29T23:59:59+23:59",
]
BEFORE_1970 = ["0000-01-01T00:00:00Z", "1601-01-01T00:00:00Z", "1972-06-30T23:59:60Z"]


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def test_ingest_takes_every_time(world):
    """An event with any RFC 3339 time is accepted and stored byte for byte, and dotted names change nothing."""
    tenant = await world.make_organization()
    nested = [
        json.dumps({"@timestamp": at, "event": {"id": at}, "organization": {"id": tenant.admin.org_id}})
        for at in TIMES + BEFORE_1970
    ]
    dotted = [
        json.dumps({"@timestamp": at, "event.id": f"dotted {at}", "organization.id": tenant.admin.org_id})
        for at in TIMES
    ]
    sent = [text.encode() for text in [*nested, *dotted]]

    answer = await tenant.ingest.send(make_lines(sent), "application/x-ndjson")

    assert answer.json() == {"accepted": len(sent), "duplicates": 0, "rejected": []}
    listed = (await tenant.admin.get("/events")).json()["data"]
    assert [one["event"] for one in listed] == [json.loads(text) for text in sent]


@pytest.mark.parametrize("at", TIMES)
async def test_calls_take_every_time(world, at):
    """Every time of a call, in its query or body, may be any RFC 3339 time from 1970 on."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    admin = tenant.admin

    answers = [
        await admin.get("/events", since=at),
        await admin.get("/events", until=at),
        await admin.post(f"/forwarding-destinations/{destination_id}/replay", json={"from": at}),
        await admin.post(
            f"/forwarding-destinations/{destination_id}/replay",
            json={"from": "1970-01-01T00:00:00Z", "to": at},
        ),
        await admin.post("/preflight-decisions", json={"decision": "BLOCKED", "timestamp": at}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 202, 202, 202]


@pytest.mark.parametrize("at", ["2026-05-15T10:00:00 00:00", "2026-05-15T10:00:00.5 0530"])
async def test_a_plus_in_a_query_is_named(world, at):
    """A time whose + became a blank on its way through a query is answered with how to write it."""
    tenant = await world.make_organization()

    problem = problem_of(await tenant.admin.get("/events", since=at), 422, "since")

    assert "%2B" in problem["detail"]


@pytest.mark.parametrize(
    "at", ["2026-05-15T23:59:60Z", "2026-05-15T10:33:21", "2026-02-30T00:00:00Z", 1778841201, None]
)
async def test_what_is_no_time_is_named(world, at):
    """An event whose time is no RFC 3339 time is rejected with the field and an example."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(json.dumps({"@timestamp": at, "event": {"id": "a"}}).encode())

    assert answer.status_code == 422
    assert "@timestamp must be a time with a zone (RFC 3339), such as 2026-05-15T10:33:21Z" in answer.text
