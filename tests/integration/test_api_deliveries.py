"""Promises of …/deliveries, …/dead-letters, GET …/events and GET …/events/{event_id}."""

import json

import pytest

from aegis_stream.control.event_search import PAGE_BYTES_MAX
from aegis_stream.domain.attempt import FailureScope
from aegis_stream.domain.delivery import AttemptRun, DeadRow, RetryRow
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import to_text
from aegis_stream.store.records import key_of
from support.api import (
    SECOND,
    START,
    make_event,
    make_failure,
    make_lines,
    make_preflight,
    open_world,
    problem_of,
)

PATH = "/forwarding-destinations"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


# ── deliveries ──


async def make_history(world, tenant, *, sends: bool = True) -> str:
    """Make a destination and a history: 1–5 delivered together, 6 failed twice then delivered, 7–9 delivered."""
    destination_id = await world.make_destination(tenant)
    if sends:
        await world.send_events(tenant, 9)
    at = [Micros(START + number * SECOND) for number in range(9)]
    await world.settle(
        tenant,
        destination_id,
        cursor=9,
        runs=[
            AttemptRun(1, 5, 1, "delivered", 202, None, 4200, at[0]),
            AttemptRun(6, 6, 1, "failed", 503, "answered 503: overloaded", 9000, at[1]),
            AttemptRun(7, 9, 1, "delivered", 200, None, 3000, at[2]),
            AttemptRun(6, 6, 2, "failed", None, "no answer within 10 s", 10_000_000, at[3]),
            AttemptRun(6, 6, 3, "delivered", 200, None, 5550, at[4]),
        ],
    )
    return destination_id


NEWEST_FIRST = [(6, 3), (6, 2), (9, 1), (8, 1), (7, 1), (6, 1), (5, 1), (4, 1), (3, 1), (2, 1), (1, 1)]


async def test_lists_attempts_newest_first(world):
    """Every attempt on every event is listed, the newest first, with what came of it."""
    tenant = await world.make_organization()
    destination_id = await make_history(world, tenant)

    body = (await tenant.read.get(f"{PATH}/{destination_id}/deliveries")).json()

    assert [(one["sequence"], one["attempt"]) for one in body["data"]] == NEWEST_FIRST
    assert body["next_cursor"] is None
    newest, timeout, *_, oldest = body["data"]
    assert {name: value for name, value in newest.items() if name != "id"} == {
        "destination_id": destination_id,
        "event_id": "evt_6",
        "sequence": 6,
        "attempt": 3,
        "state": "delivered",
        "status_code": 200,
        "error": None,
        "latency_ms": 5.55,
        "at": to_text(Micros(START + 4 * SECOND)),
    }
    assert (timeout["state"], timeout["status_code"], timeout["error"]) == (
        "failed",
        None,
        "no answer within 10 s",
    )
    assert (oldest["event_id"], oldest["status_code"]) == ("evt_1", 202)
    assert len({one["id"] for one in body["data"]}) == len(NEWEST_FIRST)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 10, 11, 200])
@pytest.mark.parametrize(
    "params, wanted",
    [
        ({}, NEWEST_FIRST),
        ({"state": "failed"}, [(6, 2), (6, 1)]),
        ({"state": "delivered"}, [one for one in NEWEST_FIRST if one not in [(6, 2), (6, 1)]]),
        ({"event_id": "evt_6"}, [(6, 3), (6, 2), (6, 1)]),
        ({"event_id": "evt_3"}, [(3, 1)]),
        ({"event_id": "evt_6", "state": "failed"}, [(6, 2), (6, 1)]),
        ({"event_id": "evt_none"}, []),
    ],
    ids=["all", "failed", "delivered", "one event", "one of a run", "failed of one event", "no such event"],
)
async def test_pages_of_attempts_lose_and_repeat_nothing(world, limit, params, wanted):
    """Whatever the page size and the filter, the pages together are the whole list in order."""
    tenant = await world.make_organization()
    destination_id = await make_history(world, tenant)

    pages = await tenant.read.all_pages(f"{PATH}/{destination_id}/deliveries", limit, **params)

    assert [(one["sequence"], one["attempt"]) for page in pages for one in page] == wanted
    assert all(len(page) == limit for page in pages[:-1])


async def test_attempts_are_of_one_destination(world):
    """The attempts of another destination are not listed."""
    tenant = await world.make_organization()
    await make_history(world, tenant)
    other = await world.make_destination(tenant)

    assert (await tenant.read.get(f"{PATH}/{other}/deliveries")).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize("limit", [1, 3, 200])
@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({}, 22),
        ({"state": "failed"}, 4),
        ({"status_class": "5xx"}, 2),
        ({"status_class": "network"}, 2),
        ({"error": "OVERLOADED"}, 2),
        ({"event_id": "evt_6"}, 6),
        ({"event_id": "evt_6", "status_class": "2xx"}, 2),
        ({"since": to_text(Micros(START + 3 * SECOND))}, 4),
        ({"until": to_text(Micros(START + SECOND))}, 12),
    ],
    ids=lambda one: " ".join(one) or "all" if isinstance(one, dict) else "",
)
async def test_attempts_of_all_destinations_are_one_list(world, limit, params, count):
    """The organization's list has the attempts at every destination, newest first, by the filters of one destination's list."""
    tenant = await world.make_organization()
    ids = [await make_history(world, tenant, sends=first) for first in (True, False)]

    pages = await tenant.read.all_pages("/deliveries", limit, **params)
    alone = [await tenant.read.all_pages(f"{PATH}/{one}/deliveries", limit, **params) for one in ids]

    found = [one for page in pages for one in page]
    assert len(found) == count
    assert {one["destination_id"] for one in found} == set(ids)
    assert len({one["id"] for one in found}) == count
    for destination_id, own in zip(ids, alone, strict=True):
        listed = [one for page in own for one in page]
        assert [one for one in found if one["destination_id"] == destination_id] == listed


async def test_attempts_of_another_organization_are_not_listed(world):
    """The organization's list has its own attempts only."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    await make_history(world, tenant)

    assert (await other.read.get("/deliveries")).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"state": "lost"}, "state"),
        ({"status_class": "6xx"}, "status_class"),
        ({"since": "yesterday"}, "since"),
        ({"error": ""}, "error"),
        ({"error": "x" * 1001}, "error"),
        ({"cursor": "7"}, "cursor"),
    ],
    ids=lambda one: "",
)
async def test_a_wrong_filter_is_named(world, params, field):
    """A filter with a value that does not exist is rejected with its name and what it may be."""
    tenant = await world.make_organization()

    problem = problem_of(await tenant.read.get("/deliveries", **params), 422)

    assert [one["field"] for one in problem["errors"]] == [field]


async def test_a_search_that_matches_nothing_says_how_far_it_looked(world):
    """A list that ends before its page is full has the number of rows that it looked at, and goes on below them."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    runs = [AttemptRun(1, 1, 1, "failed", 503, "first of all", 9, Micros(START))]
    runs += [AttemptRun(1, 1, 1, "delivered", 202, None, 9, Micros(START + 9))] * 22_000
    await world.settle(tenant, destination_id, cursor=1, runs=runs)

    first = (await tenant.read.get("/deliveries", state="failed")).json()
    rest = (await tenant.read.get("/deliveries", state="failed", cursor=first["next_cursor"])).json()

    assert first["data"] == []
    assert first["scanned"]["rows"] == 20_000
    assert first["scanned"]["back_to"] == to_text(Micros(START + 9))
    assert [one["error"] for one in rest["data"]] == ["first of all"]
    assert "scanned" not in rest


# ── dead letters ──


async def test_lists_dead_letters_page_by_page(world):
    """Dead letters are listed in log order with their last failure, whatever the page size."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 7)
    await world.add_dead_letters(tenant, destination_id, [2, 4, 5, 6, 7])
    await world.settle(
        tenant,
        destination_id,
        dead=[DeadRow(1, 3, Micros(START), make_failure(422, "answered 422", FailureScope.EVENT))],
    )

    first = (await tenant.read.get(f"{PATH}/{destination_id}/dead-letters", limit=2)).json()
    for limit in (1, 2, 3, 6, 200):
        pages = await tenant.read.all_pages(f"{PATH}/{destination_id}/dead-letters", limit)

        assert [one["sequence"] for page in pages for one in page] == [1, 2, 4, 5, 6, 7]
        assert all(len(page) == limit for page in pages[:-1])
    assert first["data"] == [
        {
            "event_id": "evt_1",
            "sequence": 1,
            "attempts": 3,
            "last_status_code": 422,
            "last_error": "answered 422",
            "about": "event",
            "dead_at": to_text(START),
        },
        {
            "event_id": "evt_2",
            "sequence": 2,
            "attempts": 3,
            "last_status_code": 500,
            "last_error": "answered 500: look into its log",
            "about": "destination",
            "dead_at": to_text(START),
        },
    ]


async def counts(tenant, destination_id: str) -> tuple[int, int]:
    """Return how many retries and dead letters a destination shows."""
    stats = (await tenant.read.get(f"{PATH}/{destination_id}")).json()["stats"]
    return stats["retrying"], stats["dead_letters"]


@pytest.mark.parametrize(
    "body, redriven",
    [
        ({}, [1, 2, 3]),
        ({"event_ids": ["evt_2"]}, [2]),
        ({"event_ids": ["evt_3", "evt_1", "evt_3"]}, [1, 3]),
        ({"event_ids": []}, []),
        ({"event_ids": ["evt_4", "evt_none"]}, []),
    ],
    ids=["all", "one", "two, one named twice", "none named", "not dead letters"],
)
async def test_redrives_dead_letters(world, body, redriven):
    """Redriven dead letters are pending again, due at once with all attempts anew, counted and no longer listed."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 4)
    await world.add_dead_letters(tenant, destination_id, [1, 2, 3])
    world.clock.advance(60)
    rings = world.notifier.changes

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/dead-letters/redrive", json=body)

    assert (answer.status_code, answer.json()) == (202, {"redriven": len(redriven)})
    left = (await tenant.read.get(f"{PATH}/{destination_id}/dead-letters")).json()["data"]
    assert [one["sequence"] for one in left] == [one for one in (1, 2, 3) if one not in redriven]
    assert await counts(tenant, destination_id) == (len(redriven), 3 - len(redriven))
    destination = await world.stored(tenant, destination_id)
    due, _ = await world.stores.ledger.due(key_of(destination), world.clock.now(), 10)
    assert [(one.sequence, one.attempts) for one in due] == [(one, 0) for one in redriven]
    assert world.notifier.changes == rings + 1


async def test_redrives_more_than_one_transaction_holds(world):
    """Redriving all means all, however many there are."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 2100)
    await world.add_dead_letters(tenant, destination_id, range(1, 2101))

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/dead-letters/redrive", json={})

    assert answer.json() == {"redriven": 2100}
    assert await counts(tenant, destination_id) == (2100, 0)


@pytest.mark.parametrize(
    "body, field",
    [({"event_ids": "evt_1"}, "event_ids"), ({"event_ids": [1]}, "event_ids[0]"), ({"ids": []}, "ids")],
    ids=json.dumps,
)
async def test_refuses_a_wrong_redrive(world, body, field):
    """A redrive that is misspelled is refused, or it would redrive everything."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    await world.add_dead_letters(tenant, destination_id, [1])

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/dead-letters/redrive", json=body)

    problem_of(answer, 422, field)
    assert await counts(tenant, destination_id) == (0, 1)


@pytest.mark.parametrize(
    "params, purged",
    [({}, 3), ({"event_id": "evt_2"}, 1), ({"event_id": "evt_4"}, 0), ({"event_id": ""}, 0)],
    ids=["all", "one", "not a dead letter", "empty id"],
)
async def test_purges_dead_letters(world, params, purged):
    """Purged dead letters are gone and counted; an id that is none of them purges nothing."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    other = await world.make_destination(tenant)
    await world.send_events(tenant, 4)
    await world.add_dead_letters(tenant, destination_id, [1, 2, 3])
    await world.add_dead_letters(tenant, other, [1, 2])

    answer = await tenant.admin.delete(f"{PATH}/{destination_id}/dead-letters", **params)

    assert (answer.status_code, answer.json()) == (200, {"purged": purged})
    left = (await tenant.read.get(f"{PATH}/{destination_id}/dead-letters")).json()["data"]
    assert len(left) == 3 - purged
    assert await counts(tenant, destination_id) == (0, 3 - purged)
    assert await counts(tenant, other) == (0, 2)


async def test_dead_letters_of_another_destination_stay(world):
    """Redriving one destination leaves the dead letters of another where they are."""
    tenant = await world.make_organization()
    one, other = await world.make_destination(tenant), await world.make_destination(tenant)
    await world.send_events(tenant, 2)
    await world.add_dead_letters(tenant, one, [1])
    await world.add_dead_letters(tenant, other, [1, 2])

    await tenant.admin.post(f"{PATH}/{one}/dead-letters/redrive", json={})

    assert await counts(tenant, other) == (0, 2)


# ── the log ──


async def make_log(world, tenant) -> None:
    """Record twelve events, one a minute: datasets a, b and preflight in turn, preflight decisions in turn."""
    decisions = ["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED", "BLOCKED"]
    for number in range(12):
        if number % 3 == 2:
            event = make_preflight(f"evt_{number + 1}", decision=decisions[number // 3])
        else:
            event = make_event(f"evt_{number + 1}", dataset="ab"[number % 3])
        await tenant.ingest.send(event)
        world.clock.advance(60)


@pytest.mark.parametrize(
    "params, sequences",
    [
        ({}, [*range(1, 13)]),
        ({"after_sequence": 7}, [*range(8, 13)]),
        ({"after_sequence": 12}, []),
        ({"after_sequence": 10**30}, []),
        ({"after_sequence": -5}, [*range(1, 13)]),
        ({"dataset": "b"}, [2, 5, 8, 11]),
        ({"dataset": "none"}, []),
        ({"dataset": "aegis.preflight"}, [3, 6, 9, 12]),
        ({"decision": "BLOCKED"}, [9, 12]),
        ({"decision": "ALLOWED"}, [3]),
        ({"decision": "BLOCKED", "dataset": "a"}, []),
        ({"since": to_text(Micros(START + 600 * SECOND))}, [11, 12]),
        ({"since": to_text(Micros(START + 600 * SECOND + 1))}, [12]),
        ({"until": to_text(Micros(START + 60 * SECOND))}, [1, 2]),
        ({"until": to_text(Micros(START + 60 * SECOND - 1))}, [1]),
        (
            {"since": to_text(Micros(START + 60 * SECOND)), "until": to_text(Micros(START + 180 * SECOND))},
            [2, 3, 4],
        ),
        ({"since": "2100-01-01T00:00:00Z"}, []),
        ({"until": "2000-01-01T00:00:00Z"}, []),
        ({"since": "2026-05-28T22:36:40+02:00", "after_sequence": 11}, [12]),
        ({"dataset": "a", "after_sequence": 4, "until": "2100-01-01T00:00:00Z"}, [7, 10]),
    ],
    ids=json.dumps,
)
async def test_lists_events_by_filter(world, params, sequences):
    """The log is listed in its order, narrowed by position, dataset, decision and time of receipt (both ends inclusive)."""
    tenant = await world.make_organization()
    await make_log(world, tenant)

    body = (await tenant.read.get("/events", **params)).json()

    assert [one["sequence"] for one in body["data"]] == sequences
    assert body["next_cursor"] is None
    assert [one["event"]["event"]["id"] for one in body["data"]] == [f"evt_{one}" for one in sequences]
    assert [one["received_at"] for one in body["data"]] == [
        to_text(Micros(START + (one - 1) * 60 * SECOND)) for one in sequences
    ]


@pytest.mark.parametrize(
    "params, sequences",
    [
        ({}, [*range(1, 13)]),
        ({"dataset": "b"}, [2, 5, 8, 11]),
        ({"decision": "BLOCKED", "after_sequence": 9}, [12]),
        ({"after_sequence": 3}, [*range(4, 13)]),
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("limit", [1, 2, 4, 12, 200])
async def test_pages_of_events_lose_and_repeat_nothing(world, limit, params, sequences):
    """Whatever the page size and the filter, the pages together are the whole list in order."""
    tenant = await world.make_organization()
    await make_log(world, tenant)

    pages = await tenant.read.all_pages("/events", limit, **params)

    assert [one["sequence"] for page in pages for one in page] == sequences


async def test_a_scan_for_rare_events_goes_on_from_its_cursor(world, monkeypatch):
    """A listing that has looked through its share of the log says where to go on, even when it found nothing yet."""
    monkeypatch.setattr("aegis_stream.control.event_search.SCAN_MAX", 4)
    monkeypatch.setattr("aegis_stream.control.event_search.SCAN_STEP", 2)
    tenant = await world.make_organization()
    await make_log(world, tenant)

    pages = await tenant.read.all_pages("/events", 50, decision="BLOCKED")

    assert [one["sequence"] for page in pages for one in page] == [9, 12]
    assert len(pages) >= 3


async def test_a_page_of_large_events_is_bounded_in_bytes(world):
    """A page ends before its bodies exceed some MiB, however many events it may have; the next pages have the rest."""
    tenant = await world.make_organization()
    for start in range(0, 40, 20):
        events = [make_event(f"evt_{number}", size_bytes=250_000) for number in range(start, start + 20)]
        assert (await tenant.ingest.send(make_lines(events), "application/x-ndjson")).status_code == 202

    pages = await tenant.read.all_pages("/events", 200)

    assert [one["sequence"] for page in pages for one in page] == list(range(1, 41))
    assert [len(page) for page in pages] == [16, 16, 8]
    assert all(len(page) * 250_000 <= PAGE_BYTES_MAX for page in pages)


async def test_an_empty_log_is_an_empty_list(world):
    """An organization without events has an empty list."""
    tenant = await world.make_organization()

    assert (await tenant.read.get("/events")).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    "params, field",
    [
        ({"after_sequence": "x"}, "after_sequence"),
        ({"decision": "MAYBE"}, "decision"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-05-15T10:33:21"}, "since"),
        ({"until": ""}, "until"),
    ],
    ids=json.dumps,
)
async def test_refuses_a_wrong_filter(world, params, field):
    """A filter that cannot be read is 422 with its name."""
    tenant = await world.make_organization()

    problem_of(await tenant.read.get("/events", **params), 422, field)


@pytest.mark.parametrize(
    "params", [{"since": "0001-01-01T00:00:00+14:00"}, {"until": "9999-12-31T23:59:59-14:00"}]
)
async def test_extreme_times_are_no_bug(world, params):
    """Times at the end of the scale are answered or refused, never an internal error."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 1)

    assert (await tenant.read.get("/events", **params)).status_code in (200, 422)


LISTS = (
    "/events",
    PATH,
    "/api-keys",
    f"{PATH}/{{id}}/deliveries",
    f"{PATH}/{{id}}/dead-letters",
    f"{PATH}/{{id}}/replays",
)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "10000000000000000000000"])
async def test_refuses_a_wrong_limit_everywhere(world, path, limit):
    """Every list takes limits from 1 to 200 and refuses others by name."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)

    answer = await tenant.admin.get(path.replace("{id}", destination_id), limit=limit)

    problem_of(answer, 422, "limit")


@pytest.mark.parametrize("path", [one for one in LISTS if not one.endswith(("/api-keys", "/replays"))])
@pytest.mark.parametrize("cursor", ["x", "", "-1", "1.x", "1.2.3", "9" * 19, "१"], ids=ascii)
async def test_refuses_a_cursor_that_is_none_of_ours(world, path, cursor):
    """A cursor that was not ours is 422 with its name, on every list whose cursors are numbers."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)

    answer = await tenant.admin.get(path.replace("{id}", destination_id), cursor=cursor)

    problem_of(answer, 422, "cursor")


# ── one event ──


async def state_of(tenant, event_id: str, destination_id: str) -> dict | None:
    """Return what GET …/events/{id} says about one destination."""
    answer = await tenant.read.get(f"/events/{event_id}")
    assert answer.status_code == 200, answer.text
    found = [one for one in answer.json()["deliveries"] if one["destination_id"] == destination_id]
    return found[0] if found else None


async def test_shows_an_event_and_its_state_everywhere(world):
    """An event is shown as stored, with one entry per destination that it was meant for."""
    tenant = await world.make_organization()
    early = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    await world.make_destination(tenant)

    body = (await tenant.read.get("/events/evt_1")).json()

    assert (body["sequence"], body["received_at"]) == (1, to_text(START))
    assert body["event"] == json.loads(make_event("evt_1"))
    assert body["deliveries"] == [
        {
            "destination_id": early,
            "state": "pending",
            "attempts": 0,
            "last_status_code": None,
            "last_error": None,
            "next_attempt_at": None,
        }
    ]


async def test_shows_each_state_of_an_event(world):
    """Pending, retrying, delivered, dead letter and filtered are told apart, with attempts, last failure and next attempt."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, filter={"datasets": ["app.login"]})
    await world.send_events(tenant, 4)
    await tenant.ingest.send(make_event("filtered", dataset="other"))
    await world.send_events(tenant, 1, prefix="late")
    due = Micros(START + 60 * SECOND)
    await world.settle(
        tenant,
        destination_id,
        cursor=5,
        runs=[
            AttemptRun(1, 2, 1, "delivered", 202, None, 1000, START),
            AttemptRun(3, 3, 1, "failed", 503, "answered 503", 1000, START),
            AttemptRun(3, 3, 2, "failed", 500, "answered 500", 1000, START),
        ],
        retries=[RetryRow(3, 2, due, make_failure(500, "answered 500"))],
    )
    await world.add_dead_letters(tenant, destination_id, [4])

    states = [
        await state_of(tenant, one, destination_id)
        for one in ("evt_1", "evt_2", "evt_3", "evt_4", "filtered", "late_1")
    ]

    names = ("state", "attempts", "last_status_code", "last_error", "next_attempt_at")
    assert [tuple(one[name] for name in names) for one in states] == [
        ("delivered", 1, 202, None, None),
        ("delivered", 1, 202, None, None),
        ("retrying", 2, 500, "answered 500", to_text(due)),
        ("dead_letter", 3, 500, "answered 500: look into its log", None),
        ("filtered", 0, None, None, None),
        ("pending", 0, None, None, None),
    ]


async def test_an_event_delivered_at_the_third_attempt_is_delivered(world):
    """An event that failed before it was delivered shows all its attempts and no error."""
    tenant = await world.make_organization()
    destination_id = await make_history(world, tenant)

    state = await state_of(tenant, "evt_6", destination_id)

    assert (state["state"], state["attempts"], state["last_status_code"]) == ("delivered", 3, 200)


async def test_a_redriven_event_is_pending_again(world):
    """A redriven dead letter is on its way again."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    await world.add_dead_letters(tenant, destination_id, [1])

    await tenant.admin.post(f"{PATH}/{destination_id}/dead-letters/redrive", json={})

    assert (await state_of(tenant, "evt_1", destination_id))["state"] in ("pending", "retrying")


async def test_a_purged_event_is_not_called_delivered(world):
    """An event whose dead letter was purged was never delivered, and is not said to have been."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    await world.add_dead_letters(tenant, destination_id, [1])

    await tenant.admin.delete(f"{PATH}/{destination_id}/dead-letters")

    assert (await state_of(tenant, "evt_1", destination_id))["state"] != "delivered"


async def test_a_replayed_event_has_a_state_at_a_newer_destination(world):
    """An event older than a destination has no state there, until a replay takes it along."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    destination_id = await world.make_destination(tenant)
    before = await state_of(tenant, "evt_2", destination_id)

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/replay", json={"from_sequence": 2})
    pending = await state_of(tenant, "evt_2", destination_id)
    await world.settle(
        tenant,
        destination_id,
        runs=[AttemptRun(2, 2, 1, "delivered", 200, None, 100, START)],
        replays=[(answer.json()["replay_id"], 2)],
    )
    after = await state_of(tenant, "evt_2", destination_id)

    assert before is None
    assert (pending["state"], after["state"]) == ("pending", "delivered")
    assert await state_of(tenant, "evt_1", destination_id) is None


@pytest.mark.parametrize(
    "event_id",
    [
        "plain",
        "a b",
        "a/b",
        "/a",
        "a/",
        "a//b",
        "a?b#c",
        "a%2Fb",
        "日本",
        "..",
        "a+b",
        "events",
        "x" * 256,
        '"',
        "'; --",
    ],
)
async def test_finds_an_event_by_any_id(world, event_id):
    """Whatever printable characters an id has, percent-encoded it finds its event."""
    tenant = await world.make_organization()
    await tenant.ingest.send(make_event(event_id))
    quoted = "".join(f"%{byte:02X}" for byte in event_id.encode())

    answer = await tenant.read.get(f"/events/{quoted}")

    assert answer.status_code == 200, answer.text
    assert answer.json()["event"]["event"]["id"] == event_id


async def test_an_event_that_is_not_there_is_404(world):
    """An unknown event and another organization's event are the same 404."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    await world.send_events(tenant, 1)

    foreign = await other.read.get("/events/evt_1")
    missing = await other.read.get("/events/evt_2")

    problem_of(foreign, 404)
    assert foreign.text == missing.text


async def test_a_deleted_destination_is_no_longer_shown(world):
    """A destination that was deleted is not in an event's deliveries."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    await tenant.admin.delete(f"{PATH}/{destination_id}")

    assert (await tenant.read.get("/events/evt_1")).json()["deliveries"] == []


async def test_redrives_all_without_a_body(world):
    """A redrive without a body means all, as `{}` does, so that `curl -X POST` is enough at night."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 2)
    await world.add_dead_letters(tenant, destination_id, [1, 2])

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/dead-letters/redrive")

    assert (answer.status_code, answer.json()) == (202, {"redriven": 2})
