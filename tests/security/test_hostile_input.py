"""Rows 38–43 and 45 of the attack table: hostile headers, bodies and names, through the real API.

What tests/integration has of these rows is not repeated here:
rows 38–40 in test_api_destinations.py (test_refuses_a_header_…), row 41 in test_api_ingest.py (test_refuses_a_single_event_…,
test_refuses_an_event_with_repeated_keys, test_refuses_absurd_depth), row 42 there too (test_limits_the_…), row 43
(test_refuses_a_compression_bomb, test_refuses_what_is_not_compressed_as_it_says). The second wall of rows 38 and 39, at the
encoding of the request, is tried here on the same inputs as the first.
"""

import json
import tracemalloc
import zlib
from urllib.parse import quote

import pytest
import zstandard

from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.errors import Invalid
from aegis_stream.netguard import NetGuard
from aegis_stream.sender import AsyncSender
from security.receivers import Names
from support.api import SECRET, make_array, make_event, open_world, problem_of

PATH = "/forwarding-destinations"
URL = "https://siem.example.com/in"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


def open_with(name: str, value: str) -> None:
    """Open a channel whose requests would carry this header."""
    sender = AsyncSender(user_agent="Aegis/1", guard=NetGuard(), resolver=Names(["192.0.2.1"]))
    endpoint = Endpoint("https", "siem.example.com", 443, "/in", is_address=False)
    sender.open(Route(endpoint, ((name, value),), None, 1.0)).close()


# ── rows 38 to 40 ──

BREAKS = [
    "a\r\nX-Evil: b",
    "a\nb",
    "a\rb",
    "a\0b",
    "a\r\n folded",
    "a\n\tfolded",
    "a\x0bb",
    "a\x7fb",
    "a\x85b",
]


@pytest.mark.parametrize("text", BREAKS, ids=lambda text: f"row 38: {ascii(text)[1:-1]}")
async def test_no_header_breaks_out_of_its_line(world, text):
    """Line breaks, folds and NUL in a header's name or value are rejected by field when saved, and again when encoded."""
    tenant = await world.make_organization()

    value = await tenant.admin.post(
        PATH, json={"url": URL, "auth_header_name": "X-Key", "auth_header_value": f"c4n4ry{text}"}
    )
    name = await tenant.admin.post(
        PATH, json={"url": URL, "auth_header_name": f"X-{text}", "auth_header_value": SECRET}
    )
    further = await tenant.admin.post(PATH, json={"url": URL, "headers": {"X-Key": f"c4n4ry{text}"}})
    named = await tenant.admin.post(PATH, json={"url": URL, "headers": {f"c4n4ry-{text}": "v"}})

    problem_of(value, 422, "auth_header_value")
    problem_of(name, 422, "auth_header_name")
    problem_of(further, 422, "headers.X-Key")
    problem_of(named, 422, "headers")
    assert "c4n4ry" not in value.text + name.text + further.text + named.text
    with pytest.raises(Invalid):
        open_with(f"X-{text}", "v")
    if text != "a\x85b":  # no control character in the octets of UTF-8
        with pytest.raises(Invalid) as caught:
            open_with("X-Key", f"c4n4ry{text}")
        assert "c4n4ry" not in repr(caught.value)


FRAMING = [
    *("Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection"),
    *("TE", "Trailer", "Upgrade", "Expect"),
]
SPEAKING = [
    *("Content-Type", "Content-Encoding", "Accept-Encoding", "User-Agent", "Date", "Via", "Forwarded"),
    *("Proxy-Authorization", "X-Aegis-Signature"),
]


@pytest.mark.parametrize("spell", [str, str.lower, str.upper], ids=["as written", "small", "capital"])
@pytest.mark.parametrize("name", [*FRAMING, *SPEAKING], ids=lambda name: f"row 39: {name}")
async def test_no_header_of_ours_is_overridden(world, name, spell):
    """A header that frames the request or speaks for the service is refused, as the auth header and beside it, in any case
    of letters.
    """
    tenant = await world.make_organization()

    answer = await tenant.admin.post(
        PATH, json={"url": URL, "auth_header_name": spell(name), "auth_header_value": SECRET}
    )

    further = await tenant.admin.post(PATH, json={"url": URL, "headers": {spell(name): "v"}})

    problem_of(answer, 422, "auth_header_name")
    problem_of(further, 422, f"headers.{spell(name)}")
    if name in FRAMING:
        with pytest.raises(Invalid):
            open_with(spell(name), "v")


async def test_headers_are_few_and_bounded(world):
    """Row 40: two hundred headers, or one of 64 KiB, are rejected by field."""
    tenant = await world.make_organization()

    many = await tenant.admin.post(
        PATH, json={"url": URL, "headers": {f"X-{number}": "v" for number in range(200)}}
    )
    long = await tenant.admin.post(
        PATH, json={"url": URL, "auth_header_name": "X-Key", "auth_header_value": "c4n4ry" * 10_923}
    )

    further = await tenant.admin.post(PATH, json={"url": URL, "headers": {"X-Key": "c4n4ry" * 10_923}})

    problem_of(many, 422, "headers")
    problem_of(long, 422, "auth_header_value")
    problem_of(further, 422, "headers.X-Key")
    assert "c4n4ry" not in long.text + further.text


# ── row 41 ──


def event_with(member: bytes) -> bytes:
    """Return an event with one more member."""
    return b'{"event":{"id":"evt_1"},' + member + b"}"


@pytest.mark.parametrize(
    "body, status",
    [
        pytest.param(b"[" * 1000 + b"]" * 1000, 400, id="row 41: arrays 1000 deep"),
        pytest.param(event_with(b'"x":' + b"[" * 1000 + b"]" * 1000), 422, id="row 41: an event 1000 deep"),
        pytest.param(event_with(b'"x":' + b'{"a":' * 1000 + b"1" + b"}" * 1000), 422, id="row 41: objects 1000 deep"),
        pytest.param(b'{"event":{"id":"a","id":"b"}}', 400, id="row 41: event.id twice"),
        pytest.param(b'{"event":{"id":"a"},"event":{"id":"b"}}', 400, id="row 41: event twice"),
        pytest.param(b'{"event":{"id":"a"},"\\u0065vent":{"id":"b"}}', 400, id="row 41: event twice, once escaped"),
        pytest.param(event_with(b'"x":NaN'), 400, id="row 41: NaN"),
        pytest.param(event_with(b'"x":Infinity'), 400, id="row 41: Infinity"),
        pytest.param(event_with(b'"x":-Infinity'), 400, id="row 41: -Infinity"),
        pytest.param(event_with(b'"x":' + b"9" * 1_000_000), 413, id="row 41: a number of a million digits"),
        pytest.param(event_with(b'"x":01'), 400, id="row 41: a leading zero"),
        pytest.param(event_with(b'"x":0x1f'), 400, id="row 41: hexadecimal"),
        pytest.param(event_with(b'"x":"\\ud800"'), 400, id="row 41: a lone surrogate"),
        pytest.param(event_with(b'"\\udfff":1'), 400, id="row 41: a lone surrogate as key"),
        pytest.param(b"\xef\xbb\xbf" + make_event(), 400, id="row 41: BOM"),
        pytest.param(make_event().decode().encode("utf-16"), 400, id="row 41: UTF-16"),
        pytest.param(event_with(b'"x":"\xff"'), 400, id="row 41: no UTF-8"),
        pytest.param(event_with(b'"x":"\xc0\xaf"'), 400, id="row 41: overlong UTF-8"),
        pytest.param(event_with(b'"x":"\xed\xa0\x80"'), 400, id="row 41: a surrogate in UTF-8"),
        pytest.param(event_with(b'"x":"a\0b"'), 400, id="row 41: NUL"),
        pytest.param(make_event() + b"\0", 400, id="row 41: NUL after the event"),
        pytest.param(b'{"a":1,}', 400, id="row 41: a comma too many"),
        pytest.param(b"{'a':1}", 400, id="row 41: single quotes"),
        pytest.param(b'{"a":1}//', 400, id="row 41: a comment"),
    ],
)  # fmt: skip
async def test_what_parsers_read_differently_is_not_taken(world, body, status):
    """Row 41: invalid JSON, or JSON that two parsers read differently, is rejected, alone and in an array, and not stored."""
    tenant = await world.make_organization()

    alone = await tenant.ingest.send(body)
    among = await tenant.ingest.send(b"[" + body + b"," + make_event("evt_good") + b"]")

    problem_of(alone, status)
    assert among.status_code in (202, 400)
    if among.status_code == 202:
        assert (among.json()["accepted"], among.json()["rejected"][0]["index"]) == (1, 0)
    ids = [one["event"]["event"]["id"] for one in (await tenant.read.get("/events")).json()["data"]]
    assert set(ids) <= {"evt_good"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"url":' + b"[" * 1000 + b"]" * 1000 + b"}", id="row 41: 1000 deep"),
        pytest.param(b'{"url":"https://h.example/","x":' + b'{"a":' * 1000 + b"1" + b"}" * 1001, id="row 41: unknown, 1000 deep"),
        pytest.param(b'{"url":"https://h.example/","retry":{"base_seconds":NaN}}', id="row 41: NaN"),
        pytest.param(b'{"url":"https://h.example/","retry":{"base_seconds":1e999}}', id="row 41: 1e999"),
        pytest.param(b'{"url":"https://h.example/","batch":{"max_events":' + b"9" * 900_000 + b"}}", id="row 41: 900,000 digits"),
        pytest.param(b'{"url":"https://h.example/","name":"\\ud800"}', id="row 41: a lone surrogate"),
        pytest.param(b'\xef\xbb\xbf{"url":"https://h.example/"}', id="row 41: BOM"),
        pytest.param(b'{"url":"https://h.example/","name":"\xff"}', id="row 41: no UTF-8"),
        pytest.param(b'{"url":"https://h.example/","name":"a\0b"}', id="row 41: NUL"),
    ],
)  # fmt: skip
async def test_a_destination_that_cannot_be_read_is_malformed(world, body):
    """Row 41: a configuration that is not JSON is 400, and nothing is stored."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(PATH, content=body, headers=JSON)

    problem_of(answer, 400)
    assert (await tenant.read.get(PATH)).json()["data"] == []


# ── rows 42 and 43 ──


async def test_a_million_lines_are_refused_at_once(world):
    """Row 42: a batch of a million lines is 413 because of the count, and no line is stored."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(b"{}\n" * 1_000_000, "application/x-ndjson")

    problem_of(answer, 413)
    assert (await tenant.read.get("")).json()["head_sequence"] == 0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\n\n\n", b" [ ] "], ids=lambda body: f"row 42: {ascii(body)[2:-1]}"
)
async def test_an_empty_batch_is_refused(world, body):
    """Row 42: a request without an event acknowledges nothing: it is 422."""
    tenant = await world.make_organization()

    for media in ("application/json", "application/x-ndjson"):
        assert (await tenant.ingest.send(body, media)).status_code == 422
    assert (await tenant.read.get("")).json()["head_sequence"] == 0


MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""A few times the largest body; the bombs below are 2 GiB and more."""


def gzip_bomb() -> bytes:
    """Return 2 GiB of zeros in 2 MiB: the same block two thousand times, each of which can be decompressed on its own."""
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    head = packer.compress(b" ") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * 1024 * 1024) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * 2000


BOMBS = {
    "gzip": gzip_bomb(),
    "zstd": zstandard.ZstdCompressor().compress(b" " * 1024 * 1024) * 4000,
}


@pytest.mark.parametrize("encoding", ["gzip", "zstd"], ids=lambda one: f"row 43: {one}")
async def test_a_bomb_costs_no_more_than_a_full_request(world, encoding):
    """Row 43: a body that would decompress to gigabytes is 413 as soon as it is too large, and uses little memory until then."""
    tenant = await world.make_organization()

    tracemalloc.start()
    try:
        answer = await tenant.ingest.send(BOMBS[encoding], encoding=encoding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    problem_of(answer, 413)
    assert peak < MEMORY_BYTES_MAX
    assert (await tenant.read.get("")).json()["head_sequence"] == 0


@pytest.mark.parametrize(
    "encoding", ["gzip, gzip", "gzip, zstd", "deflate", "br", "compress"], ids=lambda one: f"row 43: {one}"
)
async def test_no_other_encoding_is_undone(world, encoding):
    """Row 43: several layers of compression, and encodings without a limit here, are 415 and are not decompressed."""
    tenant = await world.make_organization()

    answer = await tenant.ingest.send(BOMBS["gzip"][:1000], encoding=encoding)

    problem_of(answer, 415)


# ── row 45 ──

TEXTS = [
    *("'; DROP TABLE events; --", '" OR "1"="1', "1; ATTACH DATABASE 'x' AS y", "a%00b", "%", "_", "*"),
    *("{{7*7}}", "${7*7}", "<%= 7*7 %>", "<script>alert(1)</script>", "../../etc/passwd", "$(id)"),
    *("=1+1", "+1", "-1", "@SUM(A1)", "|cmd", 'a,b";c'),
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"row 45: {text}")
async def test_text_is_only_text(world, text):
    """Row 45: text that is code elsewhere is a plain name here: stored, found and shown unchanged, and never a wildcard."""
    tenant = await world.make_organization()
    await tenant.ingest.send(
        make_array([make_event(text, dataset=text), make_event("other", dataset="other")])
    )
    destination_id = await world.make_destination(tenant, name=text, filter={"datasets": [text]})

    by_id = await tenant.read.get(f"/events/{quote(text, safe='')}")
    by_dataset = await tenant.read.get("/events", dataset=text)
    destination = await tenant.read.get(f"{PATH}/{destination_id}")

    if "/" not in text:  # an id with a slash is found in lists alone
        assert by_id.json()["event"]["event"]["id"] == text
    assert [one["event"]["event"]["id"] for one in by_dataset.json()["data"]] == [text]
    assert (destination.json()["name"], destination.json()["filter"]["datasets"]) == (text, [text])
    assert destination.headers["content-type"].partition(";")[0] == "application/json"


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"row 45: {text}")
async def test_text_is_no_identifier(world, text):
    """Row 45: the same text as an identifier, a cursor or a number finds nothing and causes no error."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 2)
    placed = quote(text, safe="")

    answers = [
        await tenant.admin.get(f"{PATH}/{placed}"),
        await tenant.admin.delete(f"{PATH}/{placed}"),
        await tenant.admin.get(PATH, cursor=text),
        await tenant.admin.get("/events", after_sequence=text),
        await tenant.admin.get(f"{PATH}/{destination_id}/deliveries", cursor=text),
        await tenant.admin.get(f"{PATH}/{destination_id}/deliveries", state=text),
        await tenant.admin.delete(f"{PATH}/{destination_id}/dead-letters", event_id=text),
        await tenant.admin.post(f"{PATH}/{destination_id}/dead-letters/redrive", json={"event_ids": [text]}),
    ]

    assert [one.status_code for one in answers[:2]] == [404, 404]
    assert all(one.status_code in (200, 202, 404, 405, 422) for one in answers), [one.text for one in answers]
    assert [one["id"] for one in (await tenant.read.get(PATH)).json()["data"]] == [destination_id]
    assert (await tenant.read.get("")).json()["head_sequence"] == 2
    assert not [line for line in world.log.lines if line[0] == "error"]


async def test_a_name_with_a_control_character_is_refused(world):
    """Row 45: NUL and escape sequences are rejected in every name that people see in terminals and logs."""
    tenant = await world.make_organization()

    for text in ("a\0b", "\x1b[31mred", "a\r\nb", "\u202eabc"):
        body = json.dumps({"url": URL, "name": text}).encode()
        problem_of(await tenant.admin.post(PATH, content=body, headers=JSON), 422, "name")
