"""Promises about documents that hold many events: told about, and taken apart on request."""

import gzip
import json

import pytest

from support.api import make_event, open_world, problem_of

CLOUDTRAIL = {"Records": [{"eventID": str(number), "eventName": "CreateUser"} for number in range(3)]}


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def stored(tenant) -> list:
    """Return the events of the log, without what was filled in."""
    listed = (await tenant.admin.get("/events")).json()["data"]
    return [
        {
            name: value
            for name, value in one["event"].items()
            if name not in ("@timestamp", "event", "organization")
        }
        for one in listed
    ]


async def test_a_wrapper_is_told_about(world):
    """A document of three records is one event, and the answer says so, how many it holds, and what to do."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(json.dumps(CLOUDTRAIL).encode())

    body = answer.json()
    assert (answer.status_code, body["accepted"]) == (202, 1)
    assert [one["index"] for one in body["warnings"]] == [0]
    assert "3 objects in Records" in body["warnings"][0]["message"]
    assert "?unwrap=Records" in body["warnings"][0]["message"]


async def test_events_have_no_warnings(world):
    """The answer to ordinary events has no member `warnings`."""
    tenant = await world.make_organization()
    plain = make_event(event_id=None, items=[{"a": 1}])

    assert "warnings" not in (await tenant.ingest.send(plain)).json()
    assert "warnings" not in (await tenant.ingest.send(b'{"message":"x"}')).json()


@pytest.mark.parametrize("how", ["object", "pretty", "array", "lines", "gzip", "large"])
async def test_a_wrapper_is_taken_apart_on_request(world, how):
    """With `unwrap` each object of the array is an event, however the body is sent, in order and with its values."""
    tenant = await world.make_organization()
    records = CLOUDTRAIL["Records"] * (2000 if how == "large" else 1)
    document = {"Records": records}
    body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
    if how == "pretty":
        body = json.dumps(document, indent=2).encode()
    elif how == "array":
        body = json.dumps([document]).encode()
    elif how == "lines":
        body, headers = body + b"\n" + body + b"\n", {"Content-Type": "application/x-ndjson"}
        records = records * 2
    elif how == "gzip":
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}

    answer = await tenant.ingest.post("/events?unwrap=Records", content=body, headers=headers)

    assert answer.json() == {"accepted": len(records), "duplicates": 0, "rejected": []}
    assert await stored(tenant) == records[:50]


async def test_a_path_may_have_several_names(world):
    """`unwrap` leads through objects by names with dots between."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post(
        "/events?unwrap=data.events", json={"data": {"events": [{"uuid": "1"}, {"uuid": "2"}]}}
    )

    assert answer.json()["accepted"] == 2
    assert await stored(tenant) == [{"uuid": "1"}, {"uuid": "2"}]


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("unwrap=records", CLOUDTRAIL, 422),
        ("unwrap=Records.0", CLOUDTRAIL, 422),
        ("unwrap=Records", {"Records": []}, 422),
        ("unwrap=Records", {"Records": ["a", 5]}, 422),
        ("unwrap=Records", [CLOUDTRAIL, {}], 422),
        ("unwrap=", CLOUDTRAIL, 422),
        ("unwrap=a..b", CLOUDTRAIL, 422),
        ("unwrap=a.b.c.d.e.f.g.h.i", CLOUDTRAIL, 422),
        ("unwrap=Records&unwrap=items", CLOUDTRAIL, 422),
        ("unwrap=Records&dry_run=true", CLOUDTRAIL, 422),
        ("unwrap=Records", {"Records": [{}] * 10_001}, 413),
        ("unwrap=Records", {"Records": [{"a": [0] * 100}] * 9_000}, 413),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_taken_apart_is_refused(world, query, body, status):
    """A wrong path, an empty or too large document and a wrong query are refused with a reason, and nothing is stored."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post(f"/events?{query}", json=body)

    problem_of(answer, status)
    assert await stored(tenant) == []
