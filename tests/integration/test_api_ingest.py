"""Promises of POST /api/orgs/{org_id}/events and …/preflight-decisions, over HTTP and on a real store."""

import asyncio
import gzip
import json
import random

import pytest
import zstandard

from aegis_stream.api.ingest_body import RATIO_FROM_BYTES, RequestBounds, decompress
from aegis_stream.domain.times import to_text
from aegis_stream.errors import TooLarge, Unavailable
from aegis_stream.formats import REGISTRY
from aegis_stream.front.connection import Connection
from aegis_stream.settings import Settings
from support.api import (
    ORG,
    SECOND,
    START,
    Caller,
    make_array,
    make_event,
    make_lines,
    make_preflight,
    nested,
    open_world,
    problem_of,
    to_json,
)
from support.front import FakeTransport

DEFAULTS = Settings()
REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX = DEFAULTS.ingest.request_bytes_max, DEFAULTS.ingest.request_events_max
EVENT_BYTES_MAX, JSON_DEPTH_MAX = DEFAULTS.ingest.event_bytes_max, DEFAULTS.ingest.json_depth_max

LINES = "application/x-ndjson"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def stored_events(tenant) -> list[dict]:
    """Return what GET …/events lists."""
    answer = await tenant.read.get("/events", limit=200)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.mark.parametrize(
    "media, body, accepted",
    [
        ("application/json", make_event("a"), 1),
        ("application/json; charset=utf-8", make_event("a"), 1),
        ("APPLICATION/JSON", make_event("a"), 1),
        ("application/json", b"\n [ " + make_event("a") + b" , " + make_event("b") + b" ] \n", 2),
        (LINES, make_lines([make_event("a"), make_event("b"), make_event("c")]), 3),
        (LINES, make_event("a") + b"\n\n  \n" + make_event("b"), 2),
        (LINES, make_event("a") + b"\r\n" + make_event("b") + b"\r\n", 2),
    ],
    ids=[
        "object",
        "charset",
        "capitals",
        "array",
        "lines",
        "blank lines and no newline at the end",
        "CRLF lines",
    ],
)
async def test_takes_an_object_an_array_or_lines(world, media, body, accepted):
    """An object, an array and NDJSON are taken alike, and the answer counts the events."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(body, media)

    assert answer.status_code == 202, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"accepted": accepted, "duplicates": 0, "rejected": []}
    assert [one["sequence"] for one in await stored_events(tenant)] == list(range(1, accepted + 1))


async def test_takes_a_body_without_a_content_type(world):
    """A body that does not say what it is counts as JSON."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post("/events", content=make_event())

    assert "content-type" not in answer.request.headers
    assert answer.json()["accepted"] == 1


async def test_stores_a_complete_event_byte_for_byte(world):
    """What was submitted complete comes back to the byte: key order, number spelling, escapes, blanks, unknown fields."""
    tenant = await world.make_organization()
    body = (
        rb'{ "z":1.50e+01,"@timestamp":"2026-05-15T10:33:21.456789+00:00", "s":"\u00e9\/'
        + "é".encode()
        + b'",'
        b'"event":{"id":"evt_1","x":[ ]}, "organization":{"id":"org_abc"},"n":12345678901234567890123}'
    )

    await tenant.ingest.send(body)

    assert body in (await tenant.read.get("/events")).content
    assert body in (await tenant.read.get("/events/evt_1")).content


async def test_fills_in_what_is_missing(world):
    """Missing @timestamp, event.id and organization.id are filled in; everything else stays."""
    tenant = await world.make_organization()

    await tenant.ingest.send(b'{"message":"hello","event":{"action":"x"}}')

    (stored,) = await stored_events(tenant)
    event = stored["event"]
    assert event["@timestamp"] == to_text(START)
    assert event["event"]["id"].startswith("pflt_")
    assert event["event"]["action"] == "x"
    assert event["organization"] == {"id": ORG}
    assert event["message"] == "hello"
    assert stored["received_at"] == to_text(START)


async def test_dotted_names_are_read_as_nested_ones(world):
    """An event with `"event.id"` and the like is found, filtered and told from a duplicate, and its bytes stay."""
    tenant = await world.make_organization()
    body = (
        b'{"@timestamp":"2026-05-15T10:33:21Z","event.id":"evt_1","event.dataset":"aegis.preflight",'
        b'"aegis.decision":"BLOCKED","organization.id":"org_abc","log.level":"info"}'
    )

    first = await tenant.ingest.send(body)
    second = await tenant.ingest.send(body.replace(b'"event.id"', rb'"event\u002eid"'))
    third = await tenant.ingest.send(body)

    assert first.json()["accepted"] == 1
    assert (second.status_code, third.json()["duplicates"]) == (422, 1)
    assert body in (await tenant.read.get("/events/evt_1")).content
    found = await tenant.read.get("/events", dataset="aegis.preflight", decision="BLOCKED")
    assert body in found.content
    assert not (await tenant.read.get("/events", dataset="other")).json()["data"]


async def test_both_spellings_of_a_field_are_rejected(world):
    """A field that is there nested and with a dot is rejected by its name, and nothing is stored."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(
        make_event("evt_1")[:-1] + b',"event.dataset":"aegis.audit_stream.admin"}'
    )

    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert problem["field"] == "event.dataset"
    assert "once" in problem["message"]
    assert not await stored_events(tenant)


async def test_rings_the_doorbell_once_events_are_stored(world):
    """Workers are told of new events, with the organization's new head, and not of duplicates."""
    tenant = await world.make_organization()

    await tenant.ingest.send(make_array([make_event("a"), make_event("b")]))
    await tenant.ingest.send(make_event("a"))

    assert world.notifier.rings == [(tenant.no, 2)]


async def test_counts_a_repeated_event_as_a_duplicate(world):
    """The same event twice is stored once, in one request and in two."""
    tenant = await world.make_organization()

    first = await tenant.ingest.send(make_array([make_event("a"), make_event("a"), make_event("b")]))
    second = await tenant.ingest.send(make_array([make_event("b"), make_event("c")]))
    third = await tenant.ingest.send(make_event("c"))

    assert first.json() == {"accepted": 2, "duplicates": 1, "rejected": []}
    assert second.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert third.status_code == 202
    assert third.json() == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert [one["sequence"] for one in await stored_events(tenant)] == [1, 2, 3]


async def test_counts_a_repeated_event_without_timestamp_as_a_duplicate(world):
    """A client that repeats a request without @timestamp a moment later is not told of a conflict."""
    tenant = await world.make_organization()
    body = make_event("a", timestamp=None)

    await tenant.ingest.send(body)
    world.clock.advance(5)
    answer = await tenant.ingest.send(body)

    assert answer.json() == {"accepted": 0, "duplicates": 1, "rejected": []}


async def test_refuses_an_id_with_another_body(world):
    """An id that is taken by another body is a conflict for that item, which names the way out and changes nothing."""
    tenant = await world.make_organization()
    await tenant.ingest.send(make_event("a", message="one"))

    alone = await tenant.ingest.send(make_event("a", message="two"))
    within = await tenant.ingest.send(make_array([make_event("b"), make_event("a", message="two")]))
    twice = await tenant.ingest.send(make_array([make_event("c", n=1), make_event("c", n=2)]))

    problem = problem_of(alone, 422, "event.id")
    assert "new id" in problem["detail"]
    assert problem["type"].endswith("/event-conflict")
    assert within.status_code == 202
    assert within.json()["accepted"] == 1
    assert [(one["index"], one["event_id"]) for one in within.json()["rejected"]] == [(1, "a")]
    assert twice.json()["accepted"] == 1
    assert [one["index"] for one in twice.json()["rejected"]] == [1]
    events = await stored_events(tenant)
    assert [one["event"]["event"]["id"] for one in events] == ["a", "b", "c"]
    assert events[0]["event"]["message"] == "one"


async def test_the_same_id_in_two_organizations_is_two_events(world):
    """Event ids are unique within an organization, not beyond it."""
    one, two = await world.make_organization("org_one"), await world.make_organization("org_two")

    first = await one.ingest.send(make_event("a", org_id="org_one"))
    second = await two.ingest.send(make_event("a", org_id="org_two", message="other"))

    assert first.json()["accepted"] == second.json()["accepted"] == 1
    assert [entry["sequence"] for entry in await stored_events(two)] == [1]


async def test_takes_the_valid_items_of_a_partly_invalid_batch(world):
    """Valid items are stored although others are not; each refusal has index, id where there is one, and reason."""
    tenant = await world.make_organization()
    items = [
        make_event("a"),
        b"{not json",
        make_event("c", org_id="org_other"),
        make_preflight("d", decision="MAYBE"),
        make_event("e", dataset="aegis.audit_stream.test"),
        make_event("f"),
    ]

    answer = await tenant.ingest.send(make_lines(items), LINES)

    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["duplicates"]) == (2, 0)
    assert [(one["index"], one["event_id"]) for one in body["rejected"]] == [
        (1, None),
        (2, "c"),
        (3, "d"),
        (4, "e"),
    ]
    assert all(set(one) == {"index", "event_id", "error"} and one["error"] for one in body["rejected"])
    assert "organization.id" in body["rejected"][1]["error"]
    assert "aegis.decision" in body["rejected"][2]["error"]
    assert "event.dataset" in body["rejected"][3]["error"]
    assert [one["event"]["event"]["id"] for one in await stored_events(tenant)] == ["a", "f"]


async def test_refuses_a_batch_of_which_nothing_is_valid(world):
    """Where no item is valid the whole request is 422, with a problem for each item, and nothing is stored."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(
        make_array([make_event("a", org_id="org_x"), make_event("b" * 257), b"5"])
    )

    problem_of(answer, 422, "[0].organization.id", "[1].event.id", "[2]")
    assert await stored_events(tenant) == []
    assert world.notifier.rings == []


@pytest.mark.parametrize(
    "body, status, fields",
    [
        (b"", 422, [""]),
        (b"  \n", 422, [""]),
        (b"[]", 422, [""]),
        (b"{", 400, [""]),
        (b"[{]", 400, [""]),
        (b"{}{}", 400, [""]),
        (b"nonsense", 400, [""]),
        (b'{"x": NaN}', 400, [""]),
        (b'{"x": "\\ud800"}', 400, [""]),
        (b'{"x": "\xff"}', 400, [""]),
        (b'\xef\xbb\xbf{"x": 1}', 400, [""]),
        (b'{"x": "a\nb"}', 400, [""]),
        (b"7", 422, [""]),
        (b'{"event": 7}', 422, ["event"]),
        (b'{"event": {"id": 7}}', 422, ["event.id"]),
        (b'{"event": {"id": ""}}', 422, ["event.id"]),
        (b'{"event": {"id": "a\\u0000b"}}', 422, ["event.id"]),
        (b'{"event": {"dataset": []}}', 422, ["event.dataset"]),
        (b'{"organization": {"id": "org_other"}}', 422, ["organization.id"]),
        (b'{"@timestamp": "yesterday"}', 422, ["@timestamp"]),
        (b'{"@timestamp": "2026-05-15T10:33:21"}', 422, ["@timestamp"]),
        (b'{"event": {"dataset": "aegis.preflight"}}', 422, ["aegis"]),
        (make_preflight(ssn="078-05-1120"), 422, ["aegis"]),
        (make_preflight(finding_counts_by_type={"SSN": -1}), 422, ["aegis.finding_counts_by_type[...]"]),
        (make_event(dataset="aegis.audit_stream.test"), 422, ["event.dataset"]),
    ],
    ids=lambda value: ascii(value[:60]) if isinstance(value, bytes) else None,
)
async def test_refuses_a_single_event_with_its_field(world, body, status, fields):
    """A single event that cannot be read is 400, one that breaks a rule 422 with the field's name; nothing is stored."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(body)

    problem = problem_of(answer, status, *fields)
    assert "078-05-1120" not in json.dumps(problem)
    assert await stored_events(tenant) == []


async def test_refuses_an_event_with_repeated_keys(world):
    """Two `aegis` objects in one event are refused, or the first, never checked, would carry raw findings past the check."""
    tenant = await world.make_organization()
    checked = make_preflight("a")
    body = checked[:-1] + b',"aegis":{"decision":"BLOCKED","ssn":"078-05-1120"}}'
    smuggled = checked.replace(b'"aegis":', b'"aegis":{"decision":"BLOCKED","ssn":"078-05-1120"},"aegis":')

    answers = [await tenant.ingest.send(body), await tenant.ingest.send(smuggled)]

    assert [one.status_code in (400, 422) for one in answers] == [True, True]
    assert b"078-05-1120" not in (await tenant.read.get("/events")).content


@pytest.mark.parametrize("over", [0, 1], ids=["at the limit", "one byte over"])
async def test_limits_the_size_of_an_event(world, over):
    """An event of 256 KiB is taken; one byte more is 413 alone, and a refused item among others."""
    tenant = await world.make_organization()
    large = make_event("large", size_bytes=EVENT_BYTES_MAX + over)

    alone = await tenant.ingest.send(large)
    batch = await tenant.ingest.send(make_array([large, make_event("small")]))

    if over:
        problem_of(alone, 413)
        assert (batch.json()["accepted"], batch.json()["rejected"][0]["index"]) == (1, 0)
    else:
        assert alone.json()["accepted"] == 1
        assert batch.json() == {"accepted": 1, "duplicates": 1, "rejected": []}


@pytest.mark.parametrize("over", [0, 1], ids=["at the limit", "one level over"])
async def test_limits_the_depth_of_an_event(world, over):
    """Objects and arrays may be nested 32 levels, the event itself being the first; deeper is refused."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(make_event(x=nested(JSON_DEPTH_MAX - 1 + over)))

    if over:
        assert "nested" in problem_of(answer, 422)["detail"]
    else:
        assert answer.json()["accepted"] == 1


@pytest.mark.parametrize("depth", [1000, 200_000])
async def test_refuses_absurd_depth(world, depth):
    """A body nested a hundred thousand levels is refused like any other, in and out of an array."""
    tenant = await world.make_organization()

    alone = await tenant.ingest.send(b"[" * depth + b"]" * depth)
    item = await tenant.ingest.send(b'{"x":' + b"[" * depth + b"]" * depth + b"}")

    assert alone.status_code in (400, 413, 422)
    assert item.status_code in (400, 413, 422)


async def test_limits_the_number_of_events(world):
    """Ten thousand events travel in one request; one more is 413, before any of them is stored."""
    tenant = await world.make_organization()
    lines = [b'{"n":%d}' % number for number in range(REQUEST_EVENTS_MAX + 1)]

    most = await tenant.ingest.send(make_lines(lines[:-1]), LINES)
    over = await tenant.ingest.send(make_lines(lines), LINES)

    assert most.json()["accepted"] == REQUEST_EVENTS_MAX
    assert str(REQUEST_EVENTS_MAX) in problem_of(over, 413)["detail"]
    assert (await tenant.read.get("")).json()["head_sequence"] == REQUEST_EVENTS_MAX


async def test_limits_the_size_of_a_request(world):
    """A body over 10 MiB is 413, whether its length is announced or not, and the connection is given up."""
    tenant = await world.make_organization()
    piece = b" " * 1024 * 1024

    async def pieces():
        for _ in range(11):
            yield piece

    announced = await tenant.ingest.send(piece * 10 + b" ")
    streamed = await tenant.ingest.send(pieces())

    assert "content-length" not in streamed.request.headers
    for answer in (announced, streamed):
        assert str(REQUEST_BYTES_MAX) in problem_of(answer, 413)["detail"]
        assert answer.headers["connection"] == "close"


async def test_takes_a_body_in_pieces(world):
    """A body that arrives in pieces is put together."""
    tenant = await world.make_organization()

    async def pieces():
        for byte in make_event():
            yield bytes([byte])

    answer = await tenant.ingest.send(pieces())

    assert answer.json()["accepted"] == 1


def deflate(body: bytes, encoding: str) -> bytes:
    """Compress a body."""
    return gzip.compress(body) if encoding == "gzip" else zstandard.ZstdCompressor().compress(body)


def deflate_stream(body: bytes, encoding: str) -> bytes:
    """Compress a body as a stream whose head does not tell its length, incompressible enough to have many blocks."""
    if encoding == "gzip":
        return gzip.compress(body)
    writer = zstandard.ZstdCompressor(level=1).compressobj()
    return writer.compress(body) + writer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "GZIP", "identity"])
async def test_takes_compressed_bodies(world, encoding):
    """Content-Encoding gzip and zstd are undone, whatever their case; identity is nothing."""
    tenant = await world.make_organization()
    body = make_lines([make_event("a"), make_event("b")])
    sent = body if encoding == "identity" else deflate(body, encoding.lower())

    answer = await tenant.ingest.send(sent, LINES, encoding)

    assert answer.json() == {"accepted": 2, "duplicates": 0, "rejected": []}


async def test_takes_zstd_of_unannounced_length(world):
    """A zstd stream that does not tell its length is taken: that is what a streaming client sends."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(deflate_stream(make_event(), "zstd"), encoding="zstd")

    assert answer.json()["accepted"] == 1


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_refuses_a_compression_bomb(world, encoding):
    """A small body that inflates beyond 10 MiB is 413."""
    tenant = await world.make_organization()
    bomb = deflate_stream(b" " * (64 * 1024 * 1024), encoding)
    assert len(bomb) < 100_000

    answer = await tenant.ingest.send(bomb, encoding=encoding)

    assert "decompression" in problem_of(answer, 413)["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize(("ratio", "taken"), [(7, True), (8, True), (9, False)])
def test_the_ratio_of_compression_is_bounded(encoding, ratio, taken):
    """Beyond the first MiB a compressed byte may become ratio_max bytes, and not one more."""
    length = 2 * RATIO_FROM_BYTES
    packed = deflate_stream(
        random.Random(3).randbytes(length // 8 - 2000) + bytes(length - length // 8 + 2000), encoding
    )
    whole = len(packed) * ratio
    packed = deflate_stream(
        random.Random(3).randbytes(whole // ratio - 400) + bytes(whole - whole // ratio + 400), encoding
    )
    bounds = RequestBounds(8 * RATIO_FROM_BYTES, events_max=10, ratio_max=8)

    if taken:
        assert len(decompress(packed, encoding, bounds)) == whole
    else:
        with pytest.raises(TooLarge, match="grows more than 8 times in decompression, the limit"):
            decompress(packed, encoding, bounds)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("left_out", [1, 4, 200], ids=["last byte", "last 4 bytes", "last 200 bytes"])
async def test_refuses_a_truncated_compressed_body(world, encoding, left_out):
    """A compressed body whose end is missing is 400: nothing may be acknowledged as a whole that came in part."""
    tenant = await world.make_organization()
    chance = random.Random(7)
    noise = [make_event(f"evt_{number}", x=chance.randbytes(100).hex()) for number in range(2500)]
    body = deflate_stream(make_lines(noise), encoding)

    answer = await tenant.ingest.send(body[:-left_out], LINES, encoding)

    problem_of(answer, 400)
    assert (await tenant.read.get("")).json()["head_sequence"] == 0


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_never_drops_what_follows_the_first_member(world, encoding):
    """Two members in a row are read both or refused: a 202 for the first alone would lose the rest silently."""
    tenant = await world.make_organization()
    body = deflate(make_lines([make_event("a")]), encoding) + deflate(make_lines([make_event("b")]), encoding)

    answer = await tenant.ingest.send(body, LINES, encoding)

    stored = (await tenant.read.get("")).json()["head_sequence"]
    assert (answer.status_code, stored) in [(400, 0), (202, 2)]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_refuses_what_is_not_compressed_as_it_says(world, encoding):
    """A body that is not what Content-Encoding says is 400."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(make_event(), encoding=encoding)

    assert encoding in problem_of(answer, 400)["detail"]


@pytest.mark.parametrize(
    "media, encoding, hint",
    [
        ("text/plain", None, "application/json"),
        ("application/xml", None, "application/json"),
        ("application/x-www-form-urlencoded", None, "application/json"),
        ("multipart/form-data", None, "application/json"),
        ("application/json", "br", "gzip"),
        ("application/json", "deflate", "gzip"),
        ("application/json", "gzip, gzip", "gzip"),
    ],
    ids=str,
)
async def test_refuses_other_media_types_and_encodings(world, media, encoding, hint):
    """What we cannot read is 415, with what we can."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(make_event(), media, encoding)

    assert hint in problem_of(answer, 415)["detail"]


@pytest.mark.parametrize("scope, status", [("admin", 202), ("ingest", 202), ("read", 403)])
async def test_needs_the_scope(world, scope, status):
    """Keys with scope admin and ingest may record events, a read key may not."""
    tenant = await world.make_organization()

    answer = await tenant.by_scope(scope).send(make_event())

    assert answer.status_code == status
    if status == 403:
        assert "ingest" in problem_of(answer, 403)["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer aegis_sk_wrong"},
        {"authorization": "Basic YWxpY2U6czNjcjN0"},
        {"authorization": b"Bearer \xfc\xff"},
        {"x-api-key": "aegis_sk_wrong"},
    ],
    ids=["none", "empty", "scheme", "blank", "unknown", "basic", "not ASCII", "other header"],
)
async def test_refuses_a_missing_or_wrong_key(world, headers):
    """Without a good key the answer is 401 with a challenge, and does not repeat what was sent."""
    await world.make_organization()

    answer = await world.client.post(f"/api/orgs/{ORG}/events", content=make_event(), headers=headers)

    problem_of(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "YWxpY2U6czNjcjN0" not in answer.text
    assert "aegis_sk_wrong" not in answer.text


async def test_another_organization_does_not_exist(world):
    """A key of another organization meets the same 404 as for an organization that is not there."""
    one, other = await world.make_organization("org_one"), await world.make_organization("org_two")
    del one

    foreign = await Caller(world.client, "org_one", other.ingest.key).send(make_event())
    missing = await Caller(world.client, "org_xxx", other.ingest.key).send(make_event())

    assert problem_of(foreign, 404)["title"] == problem_of(missing, 404)["title"]
    assert foreign.text.replace("org_one", "org_xxx") == missing.text


class StalledLog:
    """An event log whose appends wait until they are let go."""

    def __init__(self, real):
        self.real, self.gate, self.waiting = real, asyncio.Event(), asyncio.Event()

    def append(self, organization_no, events, now, ended):
        self.waiting.set()
        later = asyncio.create_task(self.gate.wait())
        later.add_done_callback(lambda _: self.real.append(organization_no, events, now, ended))


async def test_out_of_room_is_503_with_retry_after(tmp_path):
    """Where too much waits for its commit a request is 503 with Retry-After, and succeeds once there is room again."""
    async with open_world(tmp_path, ingest_queue_bytes_max=len(make_event())) as world:
        tenant = await world.make_organization()
        stalled = StalledLog(world.stores.log)
        world.service.control.ingest.log = stalled
        first = asyncio.create_task(tenant.ingest.send(make_event("a")))
        await stalled.waiting.wait()

        refused = await tenant.ingest.send(make_event("b"))
        stalled.gate.set()
        taken = await first
        again = await tenant.ingest.send(make_event("b"))

        problem_of(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert taken.json()["accepted"] == again.json()["accepted"] == 1
        assert [one["sequence"] for one in await stored_events(tenant)] == [1, 2]


class FailingLog:
    """An event log on a full disk."""

    def append(self, organization_no, events, now, ended):
        ended(Unavailable("the disk is full: nothing was stored", code="store-full", retry_after_s=5))


async def test_what_is_not_stored_is_not_acknowledged(world):
    """When the store fails the answer is 503 with Retry-After, nobody is told of new events, and none is there."""
    tenant = await world.make_organization()
    world.service.control.ingest.log = FailingLog()

    answer = await tenant.ingest.send(make_event())

    problem_of(answer, 503)
    assert answer.headers["retry-after"] == "5"
    assert await stored_events(tenant) == []
    assert world.notifier.rings == []


async def test_concurrent_requests_leave_no_gap(world):
    """Events of many requests at once get the sequences 1, 2, 3 … without holes, in the order of each request."""
    tenant = await world.make_organization()

    batches = [
        make_array([make_event(f"{number}_a"), make_event(f"{number}_b"), make_event("same")])
        for number in range(30)
    ]
    answers = await asyncio.gather(*(tenant.ingest.send(batch) for batch in batches))

    assert sum(one.json()["accepted"] for one in answers) == 61
    assert sum(one.json()["duplicates"] for one in answers) == 29
    events = await stored_events(tenant)
    assert [one["sequence"] for one in events] == list(range(1, 62))
    ids = [one["event"]["event"]["id"] for one in events]
    assert all(ids.index(f"{number}_a") < ids.index(f"{number}_b") for number in range(30))


@pytest.mark.parametrize("text", ["'; DROP TABLE events; --", "{{7*7}}", "=1+1", "a%00b", "日本", 'q"uote'])
async def test_hostile_ids_are_inert(world, text):
    """Whatever an id or a dataset looks like, it is stored, filtered by and shown as it is."""
    tenant = await world.make_organization()
    await tenant.ingest.send(make_array([make_event(text, dataset=text), make_event("other")]))

    answer = await tenant.read.get("/events", dataset=text)

    assert [one["event"]["event"]["id"] for one in answer.json()["data"]] == [text]


# ── preflight decisions ──

DECISION = {
    "decision": "ALLOWED_WITH_MASKING",
    "preflight_id": "pflt_abc123",
    "destination": "AI_TOOL",
    "summary": "Detected SSN; masked.",
    "policy_version": "v1.0",
    "policy_id": "pol_xyz",
    "source_type": "api",
    "input_type": "text",
    "input_size_bytes": 200,
    "finding_counts_by_type": {"SSN": 1, "EMAIL": 2},
    "actor_id": "alice@example.com",
}


async def test_makes_the_event_of_a_preflight_decision(world):
    """The flat fields of a decision become the event that the documentation shows."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post("/preflight-decisions", json=DECISION)

    assert answer.status_code == 202
    assert answer.json() == {"event_id": "pflt_abc123", "sequence": 1}
    (stored,) = await stored_events(tenant)
    assert stored["event"] == {
        "@timestamp": to_text(START),
        "event": {
            "id": "pflt_abc123",
            "kind": "event",
            "category": ["aegis", "preflight"],
            "type": ["allowed_with_masking"],
            "action": "preflight_check",
            "outcome": "success",
            "dataset": "aegis.preflight",
        },
        "aegis": DECISION,
        "organization": {"id": ORG},
    }
    assert world.notifier.rings == [(tenant.no, 1)]


async def test_a_decision_alone_is_enough(world):
    """Only `decision` is required: the id is made, and stands in the answer and in the event."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post("/preflight-decisions", json={"decision": "BLOCKED"})

    event_id = answer.json()["event_id"]
    assert event_id.startswith("pflt_")
    (stored,) = await stored_events(tenant)
    assert stored["event"]["aegis"] == {"decision": "BLOCKED", "preflight_id": event_id}
    assert stored["event"]["event"]["id"] == event_id


async def test_a_decision_keeps_its_own_time(world):
    """A timestamp that was given is the event's, in UTC."""
    tenant = await world.make_organization()

    await tenant.ingest.post(
        "/preflight-decisions", json={"decision": "ALLOWED", "timestamp": "2026-05-15T12:33:21.5+02:00"}
    )

    (stored,) = await stored_events(tenant)
    assert stored["event"]["@timestamp"] == "2026-05-15T10:33:21.500000Z"


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"decision": "MAYBE"}, "decision"),
        ({"decision": None}, "decision"),
        ({"destination": "ELSEWHERE"}, "destination"),
        ({"input_size_bytes": -1}, "input_size_bytes"),
        ({"input_size_bytes": "many"}, "input_size_bytes"),
        ({"finding_counts_by_type": {"SSN": "078-05-1120"}}, "finding_counts_by_type[...]"),
        ({"timestamp": "now"}, "timestamp"),
        ({"timestamp": "2026-05-15T12:33:21"}, "timestamp"),
        ({"ssn": "078-05-1120"}, "ssn"),
        ({"preflight_id": 7}, "preflight_id"),
    ],
    ids=str,
)
async def test_refuses_a_decision_with_a_wrong_field(world, changes, field):
    """Wrong and unknown fields of a decision are named, without repeating a finding; nothing is stored."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post("/preflight-decisions", json=DECISION | changes)

    problem_of(answer, 422, field)
    assert "078-05-1120" not in answer.text
    assert await stored_events(tenant) == []


async def test_refuses_an_unprintable_preflight_id_under_its_own_name(world):
    """A refused preflight_id is named as the caller wrote it."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post("/preflight-decisions", json=DECISION | {"preflight_id": "x" * 257})

    problem_of(answer, 422, "preflight_id")


@pytest.mark.parametrize(
    "changes",
    [
        {"input_size_bytes": 10**30},
        {"finding_counts_by_type": {"SSN": 10**30}},
        {"timestamp": "0001-01-01T00:00:00+14:00"},
        {"timestamp": "9999-12-31T23:59:59-14:00"},
    ],
    ids=str,
)
async def test_extreme_values_of_a_decision_are_no_bug(world, changes):
    """Numbers and times at the end of the scale are taken or refused, never an internal error."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post("/preflight-decisions", json=DECISION | changes)

    assert answer.status_code in (202, 422), answer.text
    assert world.log.lines == []


async def test_a_repeated_decision_is_the_same_event(world):
    """A client that repeats a decision with its preflight_id gets the same sequence, now and a second later."""
    tenant = await world.make_organization()

    first = await tenant.ingest.post("/preflight-decisions", json=DECISION)
    at_once = await tenant.ingest.post("/preflight-decisions", json=DECISION)
    world.clock.advance(1)
    later = await tenant.ingest.post("/preflight-decisions", json=DECISION)

    assert first.json() == at_once.json()
    assert (later.status_code, later.json()) == (202, first.json())
    assert len(await stored_events(tenant)) == 1


async def test_another_decision_under_the_same_id_is_a_conflict(world):
    """The same preflight_id with another decision is refused."""
    tenant = await world.make_organization()
    await tenant.ingest.post("/preflight-decisions", json=DECISION)

    answer = await tenant.ingest.post("/preflight-decisions", json=DECISION | {"decision": "BLOCKED"})

    assert answer.status_code in (409, 422)
    problem_of(answer, answer.status_code)


@pytest.mark.parametrize("body", [b"{", b'{"decision": "\xff"}', b"nonsense"], ids=ascii)
async def test_refuses_an_unreadable_decision(world, body):
    """A decision that is not JSON is 400."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post(
        "/preflight-decisions", content=body, headers={"content-type": "application/json"}
    )

    problem_of(answer, 400)


async def test_says_that_a_body_is_missing(world):
    """A call without its body is told so in words."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.post("/preflight-decisions")

    assert answer.status_code in (400, 422)
    assert "body" in problem_of(answer, answer.status_code)["detail"]


@pytest.mark.parametrize("scope, status", [("admin", 202), ("ingest", 202), ("read", 403)])
async def test_a_decision_needs_the_scope(world, scope, status):
    """Keys with scope admin and ingest may record decisions, a read key may not."""
    tenant = await world.make_organization()

    answer = await tenant.by_scope(scope).post("/preflight-decisions", json=DECISION)

    assert answer.status_code == status


async def test_counts_what_metrics_tell(world):
    """/metrics counts ingest requests by status, and events by result."""
    tenant = await world.make_organization()
    await tenant.ingest.send(make_array([make_event("a"), make_event("a"), make_event("b", org_id="org_x")]))
    await tenant.ingest.send(b"{")

    text = (await world.client.get("/metrics")).text

    assert 'aegis_ingest_requests_total{status="202"} 1' in text
    assert 'aegis_ingest_requests_total{status="400"} 1' in text
    assert 'aegis_ingest_events_total{result="accepted"} 1' in text
    assert 'aegis_ingest_events_total{result="duplicate"} 1' in text
    assert 'aegis_ingest_events_total{result="rejected"} 2' in text


async def test_time_of_receipt_never_goes_back(world):
    """When the clock is set back, received_at stays where it was, so that a time maps to one place in the log."""
    tenant = await world.make_organization()
    await tenant.ingest.send(make_event("a"))
    world.clock.advance(-3600)

    await tenant.ingest.send(make_event("b"))

    events = await stored_events(tenant)
    assert [one["received_at"] for one in events] == [to_text(START)] * 2
    assert world.clock.now() == START - 3600 * SECOND


async def test_a_body_that_is_never_finished_is_not_an_event(world):
    """When the client goes away in the middle of its body nothing is stored, and nothing of it is kept."""
    tenant = await world.make_organization()
    connection, transport = Connection(world.front.reception, world.front.bounds), FakeTransport()
    connection.connection_made(transport)
    head = f"POST /api/orgs/{ORG}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.ingest.key}\r\n"
    connection.data_received(f"{head}Content-Length: 5000\r\n\r\n".encode() + make_event())
    await asyncio.sleep(0.05)
    connection.connection_lost(None)

    assert bytes(transport.written) == b""
    assert world.front.bounds.shares.bytes == 0
    assert await stored_events(tenant) == []


def test_builders_make_what_they_promise():
    """make_event(size_bytes=…) has exactly that size, and is JSON."""
    event = make_event(size_bytes=5000)

    assert len(event) == 5000
    assert to_json(json.loads(event)) == event


# ── our own deliveries ──


@pytest.mark.parametrize("name", REGISTRY)
async def test_a_loop_ends_at_once_in_every_format(world, name):
    """A destination that leads back into its own log adds nothing to it, whatever its format makes of events and their ids."""
    tenant = await world.make_organization()
    stored = [make_event(f"evt_{number}") for number in range(3)]
    await tenant.ingest.send(make_array(stored))
    format_ = REGISTRY[name]
    request = format_.encode(stored[:1] if not format_.batches else stored)

    answer = await tenant.ingest.post(
        "/events",
        content=request.body,
        headers={"content-type": request.content_type, "user-agent": "Aegis-Audit-Stream/0.1.0"},
    )

    assert answer.status_code in (202, 400, 415, 422), answer.text
    assert (await tenant.read.get("")).json()["head_sequence"] == 3


async def test_a_delivery_without_ids_says_which_format_keeps_them(world):
    """Events of our own sender that lost their ids are refused with the way out; anybody else's get one."""
    tenant = await world.make_organization()
    ours = {"content-type": "application/json", "user-agent": "Aegis-Audit-Stream/9.9"}

    refused = await tenant.ingest.post("/events", content=b'{"message":"x"}', headers=ours)
    taken = await tenant.ingest.post(
        "/events", content=b'{"message":"x"}', headers=ours | {"user-agent": "curl/8"}
    )

    assert problem_of(refused, 422)["errors"][0]["field"] == "event.id"
    assert "choose format json, ndjson or json_array" in refused.text
    assert taken.status_code == 202


@pytest.mark.parametrize(
    "body, media, status, words",
    [
        (b'{"a": 1}\n{"a": 2}\n', "application/json", 400, "application/x-ndjson"),
        (b'{"a": {}\r\n}\r\n\r\n{"a": 2}', "application/json", 400, "application/x-ndjson"),
        (b'[{"a": 1}]\n', "application/x-ndjson", 422, "application/json"),
        (b'{\n "a": 1\n}\n', "application/x-ndjson", 422, "one line"),
        (b"\x1f\x8b\x08\x00", "application/json", 400, "Content-Encoding: gzip"),
        (b"\x28\xb5\x2f\xfd", "application/x-ndjson", 400, "Content-Encoding: zstd"),
        (b"\xef\xbb\xbf{}", "application/json", 400, "byte order mark"),
    ],
)
async def test_common_mistakes_are_named(world, body, media, status, words):
    """A body that is sent in the wrong way gets an answer that names the mistake and what to do."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(body, media)

    assert words in problem_of(answer, status)["detail"]


@pytest.mark.parametrize(
    "text", ['{"a": "}\\n{"}', '{"a": [{}, {}],\n "b": {}\n}', "[{},\n{}]", '{"a": {\n}}']
)
async def test_line_breaks_of_one_object_are_no_mistake(world, text):
    """One object over several lines, with whatever braces, is one event."""
    tenant = await world.make_organization()

    assert (await tenant.ingest.send(text.encode())).status_code == 202
