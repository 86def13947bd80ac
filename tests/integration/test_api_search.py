"""Looking for events through the API: order, text, fields, how far a search came, and events over time."""

import pytest

from aegis_stream.control import event_search
from support.api import SECOND, make_event, make_lines, make_preflight, open_world, problem_of

LINES = "application/x-ndjson"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def record(world, *events: bytes):
    """Record events in a new organization."""
    tenant = await world.make_organization()
    await tenant.ingest.send(make_lines(events), LINES)
    return tenant


def ids(answer) -> list[str]:
    """Return the ids of the events that were listed."""
    return [one["event"]["event"]["id"] for one in answer.json()["data"]]


async def test_the_newest_come_first(world):
    """Pages of `order=desc` go from the newest event to the oldest, each event once."""
    tenant = await record(world, *(make_event(f"e{n}") for n in range(1, 8)))

    first = await tenant.read.get("/events", order="desc", limit=3)
    second = await tenant.read.get("/events", order="desc", limit=3, cursor=first.json()["next_cursor"])
    third = await tenant.read.get("/events", order="desc", limit=3, cursor=second.json()["next_cursor"])

    assert [ids(one) for one in (first, second, third)] == [["e7", "e6", "e5"], ["e4", "e3", "e2"], ["e1"]]
    assert third.json()["next_cursor"] is None


async def test_a_list_ends_before_a_sequence(world):
    """`before_sequence` bounds a list in both orders."""
    tenant = await record(world, *(make_event(f"e{n}") for n in range(1, 8)))

    down = await tenant.read.get("/events", order="desc", before_sequence=4)
    up = await tenant.read.get("/events", before_sequence=4, after_sequence=1)

    assert (ids(down), ids(up)) == (["e3", "e2", "e1"], ["e2", "e3"])


async def test_events_are_found_by_text_and_fields(world):
    """`q` finds text, `field.<path>` the value of a field; all conditions must hold."""
    tenant = await record(
        world,
        make_event("e1", user={"id": "alice"}, message="one card"),
        make_event("e2", user={"id": "bob"}, message="two cards"),
        make_event("e3", user={"id": "alice"}, message="nothing"),
        make_preflight("p1", summary="a card"),
    )

    async def found(**query) -> list[str]:
        return ids(await tenant.read.get("/events", **query))

    assert await found(q="card") == ["e1", "e2", "p1"]
    assert await found(q='"TWO cards"') == ["e2"]
    assert await found(q="two one") == []
    assert await found(**{"field.user.id": "alice"}) == ["e1", "e3"]
    assert await found(**{"field.user.id": "alice", "q": "card"}) == ["e1"]
    assert await found(q="card", decision="BLOCKED") == ["p1"]
    assert await found(q="card", dataset="app.login", order="desc") == ["e2", "e1"]


async def test_a_search_says_how_far_it_came(world, monkeypatch):
    """A call looks at so many events, says where it stopped, and the next one goes on there."""
    monkeypatch.setattr(event_search, "SCAN_MAX", 300)
    tenant = await record(world, *(make_event(f"e{n}", n=n) for n in range(1, 1001)))

    first = (await tenant.read.get("/events", q="absent", order="desc")).json()
    pages, last = 1, first
    while last["next_cursor"] is not None:
        last = (await tenant.read.get("/events", q="absent", order="desc", cursor=last["next_cursor"])).json()
        pages += 1

    assert first["data"] == []
    scanned = first["scanned"]
    assert scanned["events"] == 300
    assert scanned["sequence"] == 701 == int(first["next_cursor"])
    assert scanned["received_at"].startswith("2026-05-28T")
    assert pages == 4
    assert "scanned" not in last


async def test_a_search_reads_so_many_bytes(world, monkeypatch):
    """Large events end a search sooner."""
    monkeypatch.setattr(event_search, "SCAN_BYTES_MAX", 100_000)
    tenant = await record(world, *(make_event(f"e{n}", size_bytes=20_000) for n in range(100)))

    answer = (await tenant.read.get("/events", q="absent")).json()

    assert answer["scanned"]["events"] < 100
    assert answer["next_cursor"] is not None


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"order": "down"}, "order", "must be one of asc, desc"),
        ({"q": '"open'}, "q", "closing quote is missing"),
        ({"field.": "x"}, "field.", "the name of a field is missing"),
        ({"field.a": "x" * 300}, "field.a", "at most 256 characters"),
        ({f"field.f{n}": "x" for n in range(11)}, "field", "at most 10 fields"),
        ({"fields.a": "x"}, "fields.a", "is not a query parameter of this call"),
    ],
)
async def test_a_wrong_condition_is_rejected(world, query, field, says):
    """A condition that cannot be read names its parameter and what to do."""
    tenant = await world.make_organization()
    answer = await tenant.read.get("/events", **query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert says in problem_of(answer, 422)["detail"]


async def test_fields_are_parameters_of_the_list_alone(world):
    """Other calls still reject a parameter that they do not know."""
    tenant = await world.make_organization()

    assert (await tenant.read.get("/events/histogram", **{"field.a": "x"})).status_code == 422


async def test_a_histogram_counts_events_over_time(world):
    """Events are counted in steps of time and by their kind; buckets have no holes."""
    tenant = await record(world, make_event("e1"), make_event("e2"), make_preflight("p1"))
    world.clock.advance(7200)
    await tenant.ingest.send(make_event("e3"))

    found = (await tenant.read.get("/events/histogram")).json()
    filled = [one for one in found["data"] if one["events"]]

    assert (found["step_seconds"], found["events_total"]) == (3600, 4)
    assert [one["events"] for one in filled] == [3, 1]
    assert filled[0]["sampled"] == 3
    assert {"dataset": "aegis.preflight", "decision": "BLOCKED", "events": 1} in filled[0]["groups"]
    assert 24 <= len(found["data"]) <= 26


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"step_seconds": 1}, "step_seconds", "must be at least 435"),
        ({"step_seconds": -1}, "step_seconds", "must be 1 to"),
        ({"since": "2030-01-01T00:00:00Z"}, "since", "must not be after until"),
    ],
)
async def test_a_histogram_has_limits(world, query, field, says):
    """Too many steps, or a span that ends before it begins, are rejected."""
    tenant = await world.make_organization()
    answer = await tenant.read.get("/events/histogram", **query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert says in problem_of(answer, 422)["detail"]


async def test_a_histogram_of_a_small_span(world):
    """A given span and step make exactly the buckets that cover it."""
    tenant = await record(world, make_event("e1"))
    now = world.clock.now() // SECOND
    assert now % 60 == 40
    answer = await tenant.read.get(
        "/events/histogram", since="2026-05-28T20:25:00Z", until="2026-05-28T20:27:00Z", step_seconds=60
    )

    assert [one["events"] for one in answer.json()["data"]] == [0, 1, 0]
