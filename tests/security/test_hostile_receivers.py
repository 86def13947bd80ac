"""Rows 25–26 and 30–37 of the attack table: receivers with arbitrary answers, through the ordinary sender.

A hostile receiver may end its own attempt in any way but these: an exception, an attempt without end, memory without
bound, a second host, or an answer given to the wrong request. What bytes in pieces do to the reader is tried with chance in
test_answers_by_chance.py; rows 27–29 are in test_pinned_connections.py.
"""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from dataclasses import replace

import pytest
import uvloop
import zstandard

from aegis_stream.domain.attempt import (
    Accepted,
    Answer,
    Failure,
    FailureScope,
    Fault,
    FaultKind,
    Request,
    Response,
)
from aegis_stream.formats import REGISTRY, resolve
from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.sender import AsyncSender
from security import wiretap
from security.receivers import REQUEST, SECRET, Names, Peer, Script, Skipper, posting, receiving
from support.api import open_world

BODY_BYTES_MAX = 16 * 1024
MEMORY_BYTES_MAX = 4 * 1024 * 1024
"""Far above what one bounded answer costs, far below what an endless receiver would send."""
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi"
judge = resolve("json", "https://siem.example.net/in").interpret


def answering(first: bytes, *, close: bool = False) -> Script:
    """Answer the first request with these bytes, and every later one with its own body."""

    async def script(peer: Peer) -> None:
        while True:
            body = await peer.take()
            if len(peer.taken) > 1:
                await peer.give(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                continue
            await peer.give(first)
            if close:
                return

    return script


async def try_answer(first: bytes, *, close: bool = False) -> tuple[Answer, Response, int]:
    """Post twice to a receiver that answers the first request with these bytes.

    Returns: both answers, and on which connection the second request arrived.
    """
    async with receiving(answering(first, close=close)) as receiver, posting(receiver.port) as channel:
        one = await channel.post(Request(b"one"))
        two = await channel.post(Request(b"two"))

    assert isinstance(two, Response)
    assert (two.status, two.body) == (200, b"two")  # in step, whatever came before
    assert receiver.bodies == [b"one", b"two"]
    return one, two, receiver.taken[1][0]


def failure(answer: Answer) -> Failure:
    """Return the one verdict about an answer, which must be a failure."""
    verdict = judge(answer, 1)
    assert isinstance(verdict, Failure)
    return verdict


# ── rows 25 and 26 ──


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
@pytest.mark.parametrize(
    "location, host",
    [
        ("http://127.0.0.7:{port}/in?k=c4n4ry", "127.0.0.7"),
        ("https://user:c4n4ry@else.example:8443/c4n4ry", "else.example"),
        ("//else.example/c4n4ry", "else.example"),
        ("/c4n4ry?k=c4n4ry", "127.0.0.1"),
        ("javascript:c4n4ry", "127.0.0.1"),
        ("http://[c4n4ry", None),
        ("http://c4n4ry%0a.example/", None),
        ("", "127.0.0.1"),
    ],
    ids=lambda value: ascii(value)[1:-1] if value else "nothing",
)
async def test_a_redirect_is_not_followed(status, location, host):
    """Row 25: a redirect is a failed attempt that names only the host of its target; the target gets no request."""
    async with receiving(answering(OK), address="127.0.0.7") as decoy:
        target = location.format(port=decoy.port).encode("latin-1")
        with wiretap.listening() as tap:
            first, _, connection = await try_answer(
                b"HTTP/1.1 %d Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, target)
            )

    assert isinstance(first, Response)
    assert (first.status, first.location_host) == (status, host)
    verdict = failure(first)
    assert (verdict.status_code, verdict.fix_needed) == (status, True)
    assert "c4n4ry" not in verdict.message
    assert host is None or f"host {host}:" in verdict.message
    assert (decoy.connections, [address for address, _ in tap.connects], tap.look_ups) == (
        0,
        ["127.0.0.1"],
        [],
    )
    assert connection == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nLocation: http://127.0.0.7/\r\nContent-Length: 0\r\n\r\n", id="row 26: Location on 200"),
        pytest.param(b"HTTP/1.1 201 Created\r\nLocation: //127.0.0.7\r\nContent-Length: 0\r\n\r\n", id="row 26: Location on 201"),
        pytest.param(b"HTTP/1.1 200 OK\r\nRefresh: 0;url=http://127.0.0.7/\r\nContent-Length: 0\r\n\r\n", id="row 26: Refresh"),
        pytest.param(
            b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 67\r\n\r\n'
            b'<html><meta http-equiv="refresh" content="0;url=http://127.0.0.7/">',
            id="row 26: HTML",
        ),
        pytest.param(
            b'HTTP/1.1 200 OK\r\nAlt-Svc: h2=":443"; ma=2592000\r\nLink: <http://127.0.0.7/>; rel=preload\r\n'
            b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
            id="row 26: Alt-Svc, Link and Set-Cookie",
        ),
    ],
)  # fmt: skip
async def test_a_success_is_a_success(answer):
    """Row 26: a 2xx delivers the event, whatever a browser would do with the rest of the answer."""
    with wiretap.listening() as tap:
        first, _, connection = await try_answer(answer)

    assert isinstance(judge(first, 1), Accepted)
    assert {address for address, _ in tap.connects} == {"127.0.0.1"}
    assert connection == 1


# ── row 30 ──

JUNK = [
    pytest.param(OK + OK, id="row 30: the same answer twice"),
    pytest.param(OK + b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n", id="row 30: two answers"),
    pytest.param(OK + b"HTTP/1.1 100 Continue\r\n\r\n", id="row 30: an interim answer after the answer"),
    pytest.param(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5", id="row 30: half an answer after the answer"),
    pytest.param(OK + b"x", id="row 30: a byte after the answer"),
    pytest.param(OK + b"\x00" * 4096, id="row 30: zeros after the answer"),
    pytest.param(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", id="row 37: 204 with a body"),
    pytest.param(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", id="row 37: 304 with a body"
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        id="row 30: chunks after the last chunk",
    ),
    pytest.param(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + OK,
        id="row 37: 101",
    ),
]

NO_ANSWERS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", id="row 30: chunks and length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", id="row 30: two lengths"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi", id="row 30: a negative length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", id="row 30: a length with a sign"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi", id="row 30: a hexadecimal length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2_0\r\n\r\nhi", id="row 30: a length with an underscore"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhi", id="row 30: a length beyond 64 bits"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhi", id="row 30: an empty length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi", id="row 30: a blank before the colon"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n0\r\n\r\n", id="row 30: a negative chunk"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi", id="row 30: a chunk beyond 64 bits"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", id="row 30: a chunk longer than it says"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + OK, id="row 30: a flood of 100"),
    pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000 + OK, id="row 30: a flood of 103"),
    pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100 + b"Content-Length: 0\r\n\r\n", id="row 31: 101 headers"),
    pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 65536 + b"\r\nContent-Length: 0\r\n\r\n", id="row 31: a header over 64 KiB"),
    pytest.param(b"HTTP/1.1 200 " + b"r" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n", id="row 31: a reason over 64 KiB"),
    pytest.param(b"HTTP/1.1 200 OK\r\n" + b"b" * 70_000 + b": a\r\nContent-Length: 0\r\n\r\n", id="row 31: a name over 64 KiB"),
    pytest.param(b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n", id="row 38: NUL in a header"),
    pytest.param(b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", id="row 37: a status of two digits"),
    pytest.param(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", id="row 37: a status of four digits"),
    pytest.param(b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", id="row 37: a status below 100"),
    pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="row 37: HTTP/2.0"),
    pytest.param(b"HTTP/0.9 200 OK\r\n\r\n", id="row 37: HTTP/0.9"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="row 37: the preface of HTTP/2"),
    pytest.param(b"POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", id="row 37: a request"),
    pytest.param(b"220 mail.example ESMTP\r\n", id="row 37: SMTP"),
    pytest.param(b"-ERR unknown command\r\n", id="row 37: Redis"),
    pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", id="row 37: a TLS alert"),
    pytest.param(b"\r\n" * 5000, id="row 37: empty lines"),
    pytest.param(b"\0" * 5000, id="row 37: zeros"),
]  # fmt: skip


CLEAR = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", id="row 30: length and chunks"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", id="row 30: the same length twice"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", id="row 30: a list of lengths"),
    pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", id="row 38: a folded line"),
    pytest.param(b"HTTP/1.1 202 Accepted\nContent-Length: 2\n\nhi", id="row 30: lines that end with LF"),
    pytest.param(b"\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi", id="row 30: an empty line first"),
]  # fmt: skip


@pytest.mark.parametrize("answer", CLEAR)
async def test_a_clear_answer_in_bad_form_counts_and_ends_the_connection(answer):
    """Rows 30 and 38: an answer that breaks the grammar but is clear counts; the next request uses another connection."""
    first, _, connection = await try_answer(answer)

    assert isinstance(judge(first, 1), Accepted)
    assert first.body in (b"hi", b"")
    assert connection == 2


@pytest.mark.parametrize("answer", JUNK)
async def test_what_follows_an_answer_ends_the_connection(answer):
    """Row 30: the answer counts, bytes after it are dropped, and the next request uses another connection."""
    first, _, connection = await try_answer(answer)

    assert isinstance(first, Response)
    assert first.status == int(answer[9:12])
    assert first.body in (b"hi", b"")
    assert connection == 2


@pytest.mark.parametrize("answer", NO_ANSWERS)
async def test_what_is_not_one_clear_answer_is_none(answer):
    """Rows 30 and 31: an ambiguous or too large answer is a failed attempt, which is retried on another connection."""
    first, _, connection = await try_answer(answer)

    assert isinstance(first, Fault)
    assert first.kind is FaultKind.PROTOCOL
    assert connection == 2
    verdict = failure(first)
    assert (verdict.scope, verdict.status_code) == (FailureScope.DESTINATION, None)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204 without a length"),
        pytest.param(OK, id="202 with a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="200 in chunks"),
    ],
)
@pytest.mark.parametrize("read", [True, False], ids=["after reading", "before reading"])
async def test_no_answer_is_made_of_an_earlier_one(first, read):
    """Row 30: if a receiver answers one request and closes on the next, the next one has no answer."""

    async def script(peer: Peer) -> None:
        await peer.take()
        if peer.number > 1:
            await peer.give(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            return
        await peer.give(first)
        await (peer.take() if read else peer.reader.read(1))

    async with receiving(script) as receiver, posting(receiver.port) as channel:
        one = await channel.post(Request(b"one"))
        two = await channel.post(Request(b"two"))

    assert isinstance(judge(one, 1), Accepted)
    assert isinstance(two, Response)
    assert two.status == 500
    assert receiver.bodies[-1] == b"two"
    assert receiver.connections == 2


async def test_an_answer_before_the_request_is_nobodys():
    """Row 30: bytes that a receiver sends before a request are not read as its answer."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        if peer.number == 1:
            await peer.take()
            await peer.give(OK)
            await asked.wait()
            await peer.give(b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n")
            await peer.reader.read()
            return
        await answering(OK)(peer)

    async with receiving(script) as receiver, posting(receiver.port) as channel:
        one = await channel.post(Request(b"one"))
        asked.set()
        await receiver.until_ended(1)
        two = await channel.post(Request(b"two"))

    assert (one.status, two.status, two.body) == (202, 200, b"two")


# ── rows 31, 32 and 34: without end ──


def endless(beginning: bytes, piece: bytes) -> Script:
    """Answer the first request with this beginning and then the same piece endlessly; every later one with its body."""

    async def script(peer: Peer) -> None:
        body = await peer.take()
        if len(peer.taken) > 1:
            await peer.give(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        await peer.give(beginning)
        await peer.give_for_ever(piece)

    return script


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS = [
    pytest.param(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 500, None, id="row 31: headers"),
    pytest.param(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 8192, None, id="row 31: one header"),
    pytest.param(b"HTTP/1.1 200 ", b"O" * 8192, None, id="row 31: the reason"),
    pytest.param(b"", b"\r\n" * 4096, None, id="row 31: empty lines"),
    pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 300, None, id="row 30: interim answers"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", b"x" * 65536, 200, id="row 32: a body of 1 GiB"),
    pytest.param(b"HTTP/1.1 500 No\r\nContent-Length: 9223372036854775807\r\n\r\n", b"x" * 65536, 500, id="row 32: a body of 8 EiB"),
    pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 65536, 200, id="row 32: a body up to the end of the connection"),
    pytest.param(CHUNKED, b"8000\r\n" + b"x" * 0x8000 + b"\r\n", 200, id="row 32: chunks"),
    pytest.param(CHUNKED, b"1\r\nx\r\n" * 2000, 200, id="row 32: tiny chunks"),
    pytest.param(CHUNKED + b"1;", b"e" * 8192, 200, id="row 32: a chunk extension"),
    pytest.param(CHUNKED, b"1;e=" + b"e" * 8192 + b"\r\nx\r\n", 200, id="row 32: chunks with extensions"),
    pytest.param(CHUNKED + b"0\r\n", b"T: t\r\n" * 500, None, id="row 31: trailers"),
    pytest.param(CHUNKED + b"0\r\nT: ", b"t" * 8192, 200, id="row 31: one trailer"),
    pytest.param(CHUNKED + b"0", b"0" * 8192, 200, id="row 32: zeros of a chunk's size"),
]  # fmt: skip


@pytest.mark.parametrize("beginning, piece, status", FLOODS)
async def test_what_has_no_end_is_cut(beginning, piece, status):
    """Rows 31 and 32: of an endless answer a limited part is read, the connection is closed, and the next request gets its own answer."""
    async with receiving(endless(beginning, piece)) as receiver, posting(receiver.port) as channel:
        one = await channel.post(Request(b"one"))
        await receiver.until_ended(1)
        two = await channel.post(Request(b"two"))

    if status is None:
        assert isinstance(one, Fault)
        assert one.kind is FaultKind.PROTOCOL
    else:
        assert isinstance(one, Response)
        assert one.status == status
        assert len(one.body) <= BODY_BYTES_MAX
    assert (two.status, two.body) == (200, b"two")
    assert receiver.connections == 2


@pytest.mark.parametrize("beginning, piece, status", FLOODS)
async def test_what_has_no_end_costs_little_memory(beginning, piece, status):
    """Rows 31 and 32: reading an answer of any size uses at most a few MiB."""
    async with receiving(endless(beginning, piece)) as receiver, posting(receiver.port) as channel:
        tracemalloc.start()
        try:
            await channel.post(REQUEST)
            await receiver.until_ended(1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < MEMORY_BYTES_MAX


@pytest.mark.parametrize(
    "beginning, piece",
    [
        pytest.param(b"", b"", id="row 34: silence"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: ", b"a", id="row 34: a header byte by byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", id="row 34: header by header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="row 34: interim answers"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", id="row 34: a body byte by byte"
        ),
        pytest.param(CHUNKED, b"1\r\nx\r\n", id="row 34: chunk by chunk"),
        pytest.param(CHUNKED + b"0\r\n", b"T: t\r\n", id="row 34: trailer by trailer"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", b"x", id="row 34: a body without an end, byte by byte"),
    ],
)
async def test_drip_feeding_ends_with_the_attempt(beginning, piece):
    """Row 34: an attempt ends after ten seconds, although a byte comes every two seconds, and nothing more is read."""
    clock = Skipper()
    dripped = 0

    async def script(peer: Peer) -> None:
        nonlocal dripped
        body = await peer.take()
        if len(peer.taken) > 1:
            await peer.give(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        await peer.give(beginning)
        while not peer.reader.at_eof():
            await peer.give(piece)
            dripped += 1
            clock.skip(2.0)
            for _ in range(4):
                await asyncio.sleep(0)

    async with receiving(script) as receiver, posting(receiver.port, timeout_s=10.0) as channel:
        one = await channel.post(Request(b"one"))
        await receiver.until_ended(1)
        two = await channel.post(Request(b"two"))

    assert isinstance(one, Fault)
    assert (one.kind, one.message.endswith("within 10 s")) == (FaultKind.TIMEOUT, True)
    assert 5 <= dripped <= 50
    assert (two.status, two.body) == (200, b"two")
    assert failure(one).overload


async def test_a_receiver_that_never_reads_ends_with_the_attempt():
    """Row 35: a request that the receiver does not read ends at its deadline, however large it is, and the connection is closed."""
    clock = Skipper()
    there = asyncio.Event()

    async def script(peer: Peer) -> None:
        if peer.number > 1:
            await answering(OK)(peer)
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined] # accepts, and never reads
        there.set()
        await peer.writer.wait_closed()

    async with receiving(script) as receiver, posting(receiver.port, timeout_s=10.0) as channel:
        posted = asyncio.ensure_future(channel.post(Request(b"x" * 20_000_000)))
        await there.wait()
        clock.skip(10.5)
        one = await posted
        two = await channel.post(Request(b"two"))

    assert isinstance(one, Fault)
    assert (one.kind, one.message) == (FaultKind.TIMEOUT, "the request was not read within 10 s")
    assert (two.status, receiver.connections) == (202, 2)


# ── row 33 ──


def bombs() -> list:
    """Compressed bodies that would be a thousand times larger."""
    zeros = b"\0" * 10_000_000
    packed = {
        "gzip": gzip.compress(zeros),
        "deflate": zlib.compress(zeros),
        "zstd": zstandard.ZstdCompressor().compress(zeros),
        "br": bytes.fromhex("cb7f00403ee8e50100"),  # nobody needs to know how long it would become
    }
    packed["gzip, gzip"] = gzip.compress(packed["gzip"])
    packed["concatenated members"] = gzip.compress(b"") * 500
    return [pytest.param(name, body, id=f"row 33: {name}") for name, body in packed.items()]


@pytest.mark.parametrize("coding", ["content-encoding", "transfer-encoding"])
@pytest.mark.parametrize("name, body", bombs())
async def test_what_is_compressed_stays_compressed(coding, name, body):
    """Row 33: a compressed body is kept as received, truncated like every body, and never decompressed."""
    encoding = name if " m" not in name else "gzip"
    if coding == "content-encoding":
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (
            encoding.encode(),
            len(body),
        )
        sent = head + body
    else:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b, chunked\r\n\r\n%x\r\n" % (
            encoding.encode(),
            len(body),
        )
        sent = head + body + b"\r\n0\r\n\r\n"

    first, _, _ = await try_answer(sent)

    assert isinstance(first, Response)
    assert (first.status, first.body) == (200, body[:BODY_BYTES_MAX])


# ── row 36 ──


async def test_an_echo_of_our_request_is_shown_to_nobody(tmp_path):
    """Row 36: if a receiver echoes our request in status line, headers and body, no secret is shown or stored."""

    async def script(peer: Peer) -> None:
        body = await peer.take()
        _, head, _ = peer.taken[-1]
        line = head.replace(b"\r\n", b" ")
        echo = head + body
        await peer.give(
            b"HTTP/1.1 500 %b\r\nX-Echo: %b\r\nRetry-After: %b\r\nLocation: /%b\r\nContent-Length: %d\r\n\r\n%b"
            % (line, line, line, line, len(echo), echo)
        )

    url = "http://siem.example.net:{port}/receiver/v1/c4n4ry-of-the-path?token=c4n4ry-of-the-query"
    networks = parse_networks("127.0.0.0/8")
    async with (
        receiving(script) as receiver,
        open_world(tmp_path, allow_http=True, allowed_networks=networks) as world,
    ):
        sender = AsyncSender(user_agent="Aegis/1", guard=NetGuard(networks), resolver=Names(["127.0.0.1"]))
        control = replace(world.service.control, sender=sender)
        world.routes.state["service"] = replace(world.service, control=control)
        world.resolver.addresses["siem.example.net"] = ["127.0.0.1"]
        tenant = await world.make_organization()
        destination_id = await world.make_destination(
            tenant, url=url.format(port=receiver.port), auth_header_value=SECRET
        )
        shown = await tenant.admin.post(f"/forwarding-destinations/{destination_id}/test")
        stored = await tenant.admin.get(f"/forwarding-destinations/{destination_id}")
        sender.close()

    told = shown.json()
    sent_to = told["request"].pop("url")
    assert b"c4n4ry" in receiver.taken[0][1]
    assert (told["ok"], told["status_code"]) == (False, 500)
    assert "c4n4ry" not in json.dumps(told)
    assert sent_to == stored.json()["url"], "whoever may test a destination may read its URL"
    assert "c4n4ry" not in json.dumps(world.log.lines)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500, 503, 999])
async def test_what_is_kept_of_an_echo_is_status_and_class(status):
    """Row 36: the verdict that is stored and shown as last_error contains no text of the receiver."""

    async def script(peer: Peer) -> None:
        await peer.take()
        _, head, _ = peer.taken[-1]
        await peer.give(
            b"HTTP/1.1 %d %b\r\nRetry-After: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (status, head.replace(b"\r\n", b" "), SECRET.encode(), len(head), head)
        )

    async with receiving(script) as receiver, posting(receiver.port) as channel:
        answer = await channel.post(REQUEST)

    verdict = judge(answer, 1)
    assert isinstance(verdict, Accepted) == (status == 200)
    assert "c4n4ry" not in repr(verdict)
    assert getattr(verdict, "retry_after_s", None) is None


ECHOES = [
    SECRET,
    {"error": {"type": SECRET, "reason": SECRET, "message": SECRET}, "status": 400},
    {"errors": True, "items": [{"create": {"status": 400, "error": {"type": SECRET, "reason": SECRET}}}]},
    {"text": SECRET, "code": 6, "invalid-event-number": 0},
    {"message": SECRET, "errors": [{"detail": SECRET, "title": SECRET}, SECRET]},
    {"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": SECRET}},
    {"ingested": 0, "failed": 1, "failures": [{"error": SECRET, "timestamp": SECRET}]},
    [{"status": 400, "error": SECRET}],
]


@pytest.mark.parametrize("name", sorted(REGISTRY), ids=lambda name: f"row 36: {name}")
@pytest.mark.parametrize("status", [200, 202, 207, 302, 400, 401, 413, 429, 500, 503])
def test_no_format_keeps_what_a_receiver_wrote(name, status):
    """Row 36: no verdict of any format contains an echo, whatever form of error the receiver uses."""
    for echo in ECHOES:
        body = echo if isinstance(echo, str) else json.dumps(echo)

        verdict = REGISTRY[name].interpret(Response(status, body.encode(), 1, SECRET, None), 1)

        assert "c4n4ry" not in repr(verdict)


# ── row 37 ──


@pytest.mark.parametrize(
    "answer, status",
    [
        pytest.param(b"HTTP/1.1 407 Proxy\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", 407, id="row 37: 407"),
        pytest.param(b"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n", 401, id="row 37: 401"),
        pytest.param(b"HTTP/1.1 999 " + b"?" * 500 + b"\r\nContent-Length: 0\r\n\r\n", 999, id="row 37: 999"),
        pytest.param(b"HTTP/1.1 600 \xff\xfe\r\nContent-Length: 1\r\n\r\n\xff", 600, id="row 37: 600"),
        pytest.param(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", 417, id="row 37: 417"),
        pytest.param(b"HTTP/1.1 426 Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", 426, id="row 37: 426"),
    ],
)  # fmt: skip
async def test_a_strange_status_is_a_failed_attempt(answer, status):
    """Row 37: an unusual status is reported unchanged and has no effect, and the next request gets its own answer."""
    first, _, _ = await try_answer(answer)

    assert isinstance(first, Response)
    assert first.status == status
    assert failure(first).status_code == status


async def test_an_upgrade_is_not_taken_part_in():
    """Row 37: a connection is not reused after a 101, because it speaks another protocol."""
    first, _, connection = await try_answer(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )

    assert isinstance(first, Response)
    assert (first.status, connection) == (101, 2)
    assert failure(first).status_code == 101


@pytest.mark.parametrize(
    "cut",
    [b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", CHUNKED + b"2\r\nhi\r\n"],
    ids=ascii,
)
async def test_an_answer_that_breaks_off_is_none(cut):
    """Row 37: a truncated answer is not a success, whatever its status is."""
    first, _, connection = await try_answer(cut, close=True)

    assert isinstance(first, Fault)
    assert (first.kind, connection) == (FaultKind.CLOSED, 2)


def test_uvloop_does_the_same():
    """On uvloop, which the service uses, endless, duplicate and missing answers end in the same way."""

    async def run() -> None:
        for one in JUNK:
            await test_what_follows_an_answer_ends_the_connection(*one.values)
        for one in CLEAR:
            await test_a_clear_answer_in_bad_form_counts_and_ends_the_connection(*one.values)
        for one in NO_ANSWERS:
            await test_what_is_not_one_clear_answer_is_none(*one.values)
        for one in FLOODS:
            await test_what_has_no_end_is_cut(*one.values)
        await test_an_answer_before_the_request_is_nobodys()

    uvloop.run(run())
