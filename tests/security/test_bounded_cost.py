"""No call keeps the event loop for more than 50 ms at a time, and what a call costs grows no faster than what is sent.

Every call of the API has its dearest legal request here, or several of them. A new call fails the first test until it has one.
"""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from aegis_stream.api import app
from aegis_stream.api.scopes import INGEST_CALL, RIGHTS, Right
from aegis_stream.control import seal_request
from support.api import OPERATOR_KEY, Tenant, World, make_event, nested, open_world
from support.cost import STRETCH_MAX, CountingLoop

Send = Callable[[World, Tenant, str], Awaitable[Any]]
"""Makes one call on a service with a destination, whose id is given."""
EVENTS_MAX = 10_000
BODY_MAX = 10 * 1024 * 1024
CALL_MAX = 1_000_000
LINES = "application/x-ndjson"
ORGANIZATION = "/api/orgs/{org_id}"
DESTINATIONS = ORGANIZATION + "/forwarding-destinations"
DESTINATION = DESTINATIONS + "/{destination_id}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A dear kind of request.

    Args:
        call: method and path as in RIGHTS.
        make: size → what sends it.
        top: largest legal size; 1 where a request has no size.
        status: expected.
    """

    call: tuple[str, str]
    name: str
    make: Callable[[int], Send]
    top: int = 1
    status: int = 200


def ingest(name: str, top: int, body: Callable[[int], bytes], status: int = 202, **how: str) -> Shape:
    """Describe an ingest request by its body."""

    def make(size: int) -> Send:
        sent = body(size)
        return lambda _, tenant, __: tenant.ingest.send(sent, how.get("media", LINES), how.get("encoding"))

    return Shape(INGEST_CALL, name, make, top, status)


def call(method: str, path: str, name: str = "", top: int = 1, status: int = 200, **options: Any) -> Shape:
    """Describe any other call by what depends on its size: `body` (JSON) or `query`, each a function of it."""

    def make(size: int) -> Send:
        body, query = options.get("body"), options.get("query")

        async def send(world: World, tenant: Tenant, destination: str) -> Any:
            url = path.format(
                org_id=tenant.org_id,
                destination_id=destination,
                event_id="e0",
                delivery_id="1.1",
                key_id="key_0",
                link_id="lnk_0",
                replay_id="rpl_0",
                job_id="job_0",
                level="0",
                number="x001/234.p/5",
            )
            operators = RIGHTS[method, path] is Right.OPERATOR
            headers = {"authorization": f"Bearer {OPERATOR_KEY if operators else tenant.admin.key}"}
            content = json.dumps(body(size)).encode() if body else None
            if content is not None:
                assert len(content) <= CALL_MAX, "a legal request"
                headers["content-type"] = "application/json"
            params = query(size) if query else None
            return await world.client.request(method, url, headers=headers, content=content, params=params)

        return send

    return Shape((method, path), name, make, top, status)


def lines(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return what makes so many lines."""
    return lambda count: b"\n".join([make(number) for number in range(count)])


def event(number: int) -> bytes:
    """Return a small event."""
    return b'{"event":{"id":"e%d","dataset":"app.x"},"n":%d}' % (number, number)


def keys(count: int) -> bytes:
    """Return one event of many names."""
    return make_event(x={f"k{number}": number for number in range(count)})


def findings(count: int) -> bytes:
    """Return a decision of many kinds of findings."""
    counts = {f"KIND_{number}": 1 for number in range(count)}
    return make_event(
        "e0", dataset="aegis.preflight", aegis={"decision": "BLOCKED", "finding_counts_by_type": counts}
    )


def frames(count: int) -> bytes:
    """Return so many frames of zstd, an event each."""
    return b"".join([zstandard.compress(event(number) + b"\n") for number in range(count)])


def members(count: int) -> bytes:
    """Return so many members of gzip, an event each."""
    return b"".join([gzip.compress(event(number) + b"\n", 1) for number in range(count)])


def destination(count: int) -> dict[str, Any]:
    """Return a destination with a filter of so many datasets."""
    return {
        "url": "https://siem.example.com/x",
        "filter": {"datasets": [f"d{number}" for number in range(count)]},
    }


SHAPES = [
    # ── ingest ──
    ingest("one small event", 1, lambda _: event(0), media="application/json"),
    ingest("many lines", EVENTS_MAX, lines(event)),
    ingest(
        "an array",
        EVENTS_MAX,
        lambda n: b"[" + b",".join(map(event, range(n))) + b"]",
        media="application/json",
    ),
    ingest("the same event", EVENTS_MAX, lines(lambda _: event(0))),
    ingest("without ids", EVENTS_MAX, lines(lambda _: b'{"event":{"dataset":"app.x"}}')),
    ingest("with spaces", EVENTS_MAX, lines(lambda n: b'{"event": {"id": "s%d", "dataset": "app.x"}}' % n)),
    ingest("nothing valid", EVENTS_MAX, lines(lambda _: b"{}x"), 422),
    ingest(
        "an array of numbers",
        EVENTS_MAX,
        lambda n: b"[" + b"1," * (n - 1) + b"1]",
        422,
        media="application/json",
    ),
    ingest("half of it valid", EVENTS_MAX, lines(lambda n: event(n) if n % 2 else b'{"event":1}')),
    ingest("many names", 15_000, keys, media="application/json"),
    ingest("deep events", 2000, lines(lambda n: make_event(f"d{n}", x=nested(30)))),
    ingest("large events", 40, lines(lambda n: make_event(f"l{n}", size_bytes=250_000))),
    ingest("escapes", 40, lines(lambda n: make_event(f"q{n}").replace(b"app.login", b"\\u0061" * 40))),
    ingest("empty lines", BODY_MAX // 110, lambda n: b"\n" * n + event(0)),
    ingest("many findings", 5000, findings, media="application/json"),
    ingest("frames of zstd", 1000, frames, encoding="zstd"),
    ingest("members of gzip", 1000, members, encoding="gzip"),
    ingest("compressed lines", EVENTS_MAX, lambda n: gzip.compress(lines(event)(n)), encoding="gzip"),
    # ── the log ──
    call(
        "POST",
        ORGANIZATION + "/preflight-decisions",
        "many findings",
        5000,
        202,
        body=lambda n: {
            "decision": "BLOCKED",
            "finding_counts_by_type": {f"KIND_{one}": 1 for one in range(n)},
        },
    ),
    call("GET", ORGANIZATION + "/events", "the largest page", 200, query=lambda n: {"limit": n}),
    call("GET", ORGANIZATION + "/events", "a dataset that nothing has", query=lambda _: {"dataset": "none"}),
    call("GET", ORGANIZATION + "/events", "a long query", 4000, query=lambda n: {"dataset": "x" * n}),
    call("GET", ORGANIZATION + "/events", "a text that nothing has", query=lambda _: {"q": "absent"}),
    call("GET", ORGANIZATION + "/events", "many texts", 10, query=lambda n: {"q": " ".join(["x" * 256] * n)}),
    call(
        "GET",
        ORGANIZATION + "/events",
        "many fields, the newest first",
        10,
        query=lambda n: {f"field.f{one}": "1" for one in range(n)} | {"order": "desc"},
    ),
    call(
        "GET",
        ORGANIZATION + "/events/histogram",
        "many steps",
        199,
        query=lambda n: {
            "since": "2026-05-28T00:00:00Z",
            "until": "2026-05-28T23:59:59Z",
            "step_seconds": max(435, 86_400 // n),
        },
    ),
    call("GET", ORGANIZATION + "/events/{event_id}"),
    call(
        "POST",
        ORGANIZATION + "/events/{event_id}/send",
        "many destinations",
        100,
        404,
        body=lambda n: {"destination_ids": [f"dst_{one}" for one in range(n)]},
    ),
    # ── destinations ──
    call("POST", DESTINATIONS, "a filter", 100, 201, body=destination),
    call(
        "POST",
        DESTINATIONS,
        "unknown names",
        50_000,
        422,
        body=lambda n: {f"k{one}": one for one in range(n)},
    ),
    call(
        "POST",
        DESTINATIONS,
        "headers that are too many",
        20_000,
        422,
        body=lambda n: {"url": "https://siem.example.com", "headers": {f"h{one}": "x" for one in range(n)}},
    ),
    call(
        "POST",
        DESTINATIONS,
        "a long URL",
        200_000,
        422,
        body=lambda n: {"url": "https://siem.example.com/" + "a/" * n},
    ),
    call(
        "POST",
        DESTINATIONS,
        "a certificate that is none",
        60_000,
        422,
        body=lambda n: {
            "url": "https://siem.example.com",
            "ca_certificate": "-----BEGIN CERTIFICATE-----\n" + "A" * n,
        },
    ),
    call("GET", DESTINATIONS, "the largest page", 200, query=lambda n: {"limit": n}),
    call("GET", DESTINATION),
    call("PATCH", DESTINATION, "a filter", 100, body=lambda n: {"filter": destination(n)["filter"]}),
    call("POST", DESTINATIONS + "/test", "a filter", 100, body=destination),
    call("POST", DESTINATION + "/pause"),
    call("POST", DESTINATION + "/resume"),
    call("POST", DESTINATION + "/test"),
    call("POST", DESTINATION + "/replay", "everything", status=202, body=lambda _: {"from_sequence": 1}),
    call("GET", DESTINATION + "/replays", "the largest page", 200, query=lambda n: {"limit": n}),
    call("DELETE", DESTINATION + "/replays/{replay_id}", status=404),
    call("GET", DESTINATION + "/deliveries", "the largest page", 200, query=lambda n: {"limit": n}),
    call("GET", DESTINATION + "/deliveries/{delivery_id}"),
    call(
        "GET", DESTINATION + "/deliveries", "an error that nothing has", query=lambda _: {"error": "none_%"}
    ),
    call(
        "GET",
        DESTINATION + "/timeline",
        "many steps",
        749,
        query=lambda n: {
            "from": "2026-05-28T00:00:00Z",
            "to": f"2026-05-28T{n // 60:02}:{n % 60:02}:00Z",
            "step": 60,
        },
    ),
    call("GET", ORGANIZATION + "/stream"),
    call("GET", ORGANIZATION + "/proof/checkpoint", status=404),
    call("POST", ORGANIZATION + "/proof/checkpoint", "nobody seals", status=503),
    call("GET", ORGANIZATION + "/proof/keys", status=404),
    call("POST", ORGANIZATION + "/proof/keys/rotate", status=409),
    call("GET", ORGANIZATION + "/proof/tile/{level}/{number}", status=404),
    call("GET", ORGANIZATION + "/proof/consistency", status=404, query=lambda _: {"from_size": 1}),
    call("GET", ORGANIZATION + "/proof/hashes", status=404),
    call("GET", ORGANIZATION + "/proof/events/{event_id}", status=404),
    call("GET", ORGANIZATION + "/proof/bundle", status=404),
    call("GET", ORGANIZATION + "/deliveries", "the largest page", 200, query=lambda n: {"limit": n}),
    call(
        "GET",
        ORGANIZATION + "/deliveries",
        "a time before all",
        query=lambda _: {"until": "1971-01-01T00:00:00Z", "state": "failed"},
    ),
    call("GET", DESTINATION + "/dead-letters", "the largest page", 200, query=lambda n: {"limit": n}),
    call(
        "POST",
        DESTINATION + "/dead-letters/redrive",
        "many ids",
        10_000,
        202,
        body=lambda n: {"event_ids": [f"none{one}" for one in range(n)]},
    ),
    call("POST", DESTINATION + "/dead-letters/redrive", "all", status=202, body=lambda _: {}),
    call("DELETE", DESTINATION + "/dead-letters"),
    call(
        "GET",
        DESTINATION + "/dead-letters",
        "an error that nothing has",
        1000,
        query=lambda n: {"error": "1" * n, "limit": 200},
    ),
    call("GET", DESTINATION + "/dead-letters/groups"),
    call(
        "POST",
        DESTINATION + "/dead-letters/redrive",
        "all that match",
        1000,
        202,
        body=lambda n: {"about": "destination", "error": "a" * n},
    ),
    call("GET", DESTINATION + "/dead-letters/jobs", "the largest page", 200, query=lambda n: {"limit": n}),
    call("GET", DESTINATION + "/dead-letters/jobs/{job_id}", status=404),
    call("DELETE", DESTINATION + "/dead-letters/jobs/{job_id}", status=404),
    call("DELETE", DESTINATION, status=204),
    # ── organizations and keys ──
    call("GET", "/api/orgs", "the largest page", 200, query=lambda n: {"limit": n}),
    call("GET", "/api/orgs", "the worst first", query=lambda _: {"limit": 200, "worst_first": "true"}),
    call("GET", "/api/status"),
    call("POST", "/api/orgs", "a long name", 200, 201, body=lambda n: {"name": "x" * n}),
    call("GET", ORGANIZATION),
    call("PATCH", ORGANIZATION, body=lambda _: {"proof": "stream"}),
    call("PATCH", ORGANIZATION + "/quotas", body=lambda _: {"stored_bytes_max": 10**15}),
    call("POST", ORGANIZATION + "/api-keys", "a long name", 200, 201, body=lambda n: {"name": "x" * n}),
    call("GET", ORGANIZATION + "/api-keys", "the largest page", 200, query=lambda n: {"limit": n}),
    call("GET", ORGANIZATION + "/api-keys/{key_id}/requests", status=404),
    call("DELETE", ORGANIZATION + "/api-keys/{key_id}", status=404),
    call("POST", ORGANIZATION + "/api-keys/{key_id}/rotate", status=404),
    call(
        "POST",
        ORGANIZATION + "/console-links",
        status=201,
        body=lambda _: {"return_url": "https://x.example/" + "a" * 900},
    ),
    call("GET", ORGANIZATION + "/console-links", query=lambda _: {"limit": 200}),
    call("DELETE", ORGANIZATION + "/console-links/{link_id}", status=404),
    # ── without a key ──
    call("GET", "/healthz"),
    call("GET", "/readyz"),
    call("GET", "/metrics"),
    call("GET", "/docs"),
    call("GET", "/api/destination-types"),
    call("GET", "/openapi.json"),
]


def test_every_call_has_its_dearest_request():
    """A call that is not walked here may keep the loop for any time."""
    assert {one.call for one in SHAPES} == set(RIGHTS)


def test_no_name_stands_twice():
    """Every shape has a name of its own, which a failure names."""
    assert len({(one.call, one.name) for one in SHAPES}) == len(SHAPES)


async def _furnish(world: World, tenant: Tenant, others: int) -> str:
    """Give the service what lists are long of: events, attempts, dead letters, so many destinations and keys; return a destination's id."""
    for first in range(0, 400, 100):
        body = [make_event(f"e{number}", size_bytes=20_000) for number in range(first, first + 100)]
        await tenant.ingest.send(b"\n".join(body), LINES)
    one = await world.make_destination(tenant, filter=destination(100)["filter"])
    await world.add_dead_letters(tenant, one, range(1, 301))
    for number in range(others):
        await world.make_destination(tenant, name=f"d{number}", filter=destination(100)["filter"])
        await tenant.admin.post("/api-keys", json={"name": "k" * 200})
    return one


def cost_of(folder: Path, shape: Shape, size: int) -> tuple[int, int]:
    """Make one call on a new service; return its operations, and the most of them without a pause."""
    loop = CountingLoop()

    async def work() -> tuple[int, int]:
        async with open_world(folder, key_calls_per_second=10_000, key_ingest_per_second=10_000) as world:
            tenant = await world.make_organization()
            furnished = shape.call[0] != "POST" or shape.call[1].startswith(DESTINATION)
            others = 210 if shape.name == "the largest page" or shape.call[1].endswith("{event_id}") else 1
            one = await (_furnish(world, tenant, others) if furnished else world.make_destination(tenant))
            await tenant.ingest.send(event(10**6))  # keys are looked up, statements compiled
            app._pages.clear()  # pages are rendered once
            send = shape.make(size)
            with loop.counting():
                before = loop.reset()
                answer = await send(world, tenant, one)
                await asyncio.sleep(0)  # the end of the last turn
            assert answer.status_code == shape.status, answer.text[:500]
            return loop.operations - before, loop.longest

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: f"{one.call[0]} {one.call[1]} {one.name}".strip())
def test_a_call_leaves_the_loop_to_others(tmp_path, shape, monkeypatch):
    """The dearest request of each kind takes at most 50 ms at a time, and twice the size costs at most twice as much."""
    monkeypatch.setattr(seal_request, "WAIT_S", 0)  # the loop's clock does not go on while nothing is done
    (tmp_path / "whole").mkdir()
    whole, stretch = cost_of(tmp_path / "whole", shape, shape.top)
    print(f"{whole} operations, {stretch} at a time")

    assert stretch <= STRETCH_MAX
    if shape.top > 1:
        (tmp_path / "half").mkdir()
        half, _ = cost_of(tmp_path / "half", shape, shape.top // 2)
        assert whole <= 2.2 * half + 2000
