"""Promises about clients that send too much, too slowly, or nothing: real sockets against the front door."""

import asyncio
import json
import socket

import pytest

from support.connections import SMALL, serving, until
from support.settings import make_settings

HASTY = make_settings(SMALL, header_timeout_seconds=0.3, body_timeout_seconds=0.3)


def request(path: str = "/", *, headers: int = 2, pad: int = 0, body: bytes = b"") -> bytes:
    """Write a request with so many headers, the last of which is padded."""
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"x-{number}: {number}" for number in range(headers - 3)]
    if headers > 2:
        lines.append("x-pad: " + "p" * pad)
    return "\r\n".join([*lines, "", ""]).encode() + body


def head_bytes(data: bytes) -> int:
    """Return the bytes of a head, without the empty line that ends it."""
    return len(data.partition(b"\r\n\r\n")[0])


def padded(size: int, **options) -> bytes:
    """Write a request whose head counts so many bytes."""
    return request(headers=3, pad=size - head_bytes(request(headers=3, **options)), **options)


def problem(status: int, code: str, answer: tuple[int, dict[str, str], bytes]) -> None:
    """Check that an answer is a problem with this status and code, after which the connection ends."""
    found, headers, body = answer
    assert (found, headers["content-type"], headers["connection"]) == (
        status,
        "application/problem+json",
        "close",
    )
    shown = json.loads(body)
    assert (shown["status"], shown["type"].rpartition("/")[2]) == (status, code)


# ── how much ──


@pytest.mark.parametrize("count, fits", [(15, True), (16, True), (17, False), (1000, False)])
@pytest.mark.parametrize("cut", [None, 30])
async def test_headers_are_counted(count, fits, cut):
    """As many headers as the limit are taken; with one more the answer is 431, the application is not asked, and it is over."""
    async with serving() as server:
        peer = await server.connect()
        data = request(headers=count)

        for piece in (data[:cut], data[cut:]) if cut else (data,):
            await peer.send(piece)
        answer = await peer.answer()

        if fits:
            assert answer[0] == 200
        else:
            problem(431, "head-too-large", answer)
            assert await peer.ended() == b""
        assert len(server.calls) == fits


@pytest.mark.parametrize("size, fits", [(4095, True), (4096, True), (4097, False), (20_000, False)])
@pytest.mark.parametrize("cut", [None, 1000, 4000])
async def test_the_head_has_a_size(size, fits, cut):
    """A head as large as the limit is taken, in one piece or in several; one byte more is 431."""
    async with serving() as server:
        peer = await server.connect()
        data = padded(size)
        assert head_bytes(data) == size

        for piece in (data[:cut], data[cut:]) if cut else (data,):
            await peer.send(piece)
        answer = await peer.answer()

        if fits:
            assert answer[0] == 200
        else:
            problem(431, "head-too-large", answer)
        assert len(server.calls) == fits


@pytest.mark.parametrize(
    "endless", [b"GET /", b"POST / HTTP/1.1\r\nx-endless: ", b"POST / HTTP/1.1\r\n", b"\r\n"]
)
async def test_a_head_that_does_not_end_is_cut(endless):
    """A target, a value, header after header or blank lines without end are refused soon after the limit, not collected."""
    async with serving() as server:
        peer = await server.connect()
        more = (
            b"x: y\r\n" * 100
            if endless.endswith(b"1.1\r\n")
            else b"\r\n" * 100
            if endless == b"\r\n"
            else b"a" * 600
        )

        await peer.send(endless)
        for _ in range(40):
            await peer.send(more)

        blank = endless == b"\r\n"  # more than one empty line is no head at all
        problem(400 if blank else 431, "malformed" if blank else "head-too-large", await peer.answer())
        assert server.calls == []


async def test_trailers_are_bounded_as_well():
    """What follows a chunked body without end is cut like a head, and the connection ends."""
    async with serving() as server:
        peer = await server.connect()
        await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")

        for _ in range(600):  # more than is ever read at once
            await peer.send(b"x-trailer: " + b"t" * 1000 + b"\r\n")

        problem(400, "malformed", await peer.answer())
        assert server.calls == []


async def test_bodies_are_none_of_its_business():
    """A body many times as large as a head may be arrives whole, in one piece, in chunks, and byte by byte at its end."""
    body = b"b" * 100_000
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [b"c" * 5000] * 20 + [b"c"] * 50)
    async with serving() as server:
        peer = await server.connect()

        await peer.send(request(body=body))
        first = await peer.answer()
        await peer.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(chunked), 7000):
            await peer.send(chunked[at : at + 7000])
        await peer.send(b"0\r\nx-trailer: t\r\n\r\n")
        second = await peer.answer()

        assert (first[2], second[2]) == (b"100000", b"100050")


async def test_a_connection_goes_on_after_each_answer():
    """Request after request is answered on one connection, also when they arrive together; each head is measured by itself."""
    async with serving() as server:
        peer = await server.connect()

        for _ in range(5):
            await peer.send(padded(3000))
            assert (await peer.answer())[0] == 200
        await peer.send(padded(3000) * 5)
        together = [(await peer.answer())[0] for _ in range(5)]
        await peer.send(padded(3000)[:-1000])
        await peer.send(padded(3000)[-1000:])

        assert together == [200] * 5
        assert (await peer.answer())[0] == 200
        assert len(server.calls) == 11


async def test_what_is_no_http_is_a_problem_too():
    """Bytes that are no request get 400 in the shape of every other error, and the connection ends."""
    async with serving() as server:
        peer = await server.connect()

        await peer.send(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")

        problem(400, "malformed", await peer.answer())
        assert await peer.ended() == b""


# ── how slowly ──


@pytest.mark.parametrize("sent", [b"P", b"POST / HTTP/1.1\r\nhost: x\r\n", request()[:-1]])
async def test_a_head_has_to_arrive_in_time(sent):
    """Half a head is answered 408 when its time is over."""
    async with serving(HASTY) as server:
        peer = await server.connect()

        await peer.send(sent)

        problem(408, "too-slow", await peer.answer())
        assert await peer.ended() == b""
        assert server.calls == []


async def test_a_connection_without_a_request_is_closed():
    """Who connects and sends nothing is disconnected without a word."""
    async with serving(HASTY) as server:
        peer = await server.connect()

        assert await peer.ended() == b""


async def test_a_body_has_to_arrive_in_time():
    """Half a body is answered 408 when its time is over, and the application learns that the client is gone."""
    async with serving(HASTY) as server:
        peer = await server.connect()

        await peer.send(request(body=b"0123456789")[:-5])

        problem(408, "too-slow", await peer.answer())
        assert await peer.ended() == b""
        assert server.calls == []


async def test_dripping_does_not_prolong_anything():
    """A byte now and then does not put off the end: the time is for the whole head."""
    async with serving(HASTY) as server:
        peer = await server.connect()
        ended = asyncio.create_task(peer.answer())

        async def drip() -> None:
            await peer.send(b"POST / HTTP/1.1\r\nx-drip: ")
            while not ended.done():
                await peer.send(b"a")
                await asyncio.wait([ended], timeout=0.05)

        await drip()

        problem(408, "too-slow", await ended)


async def test_an_answer_has_to_be_taken_in_time():
    """Who asks for much and reads nothing is disconnected; memory is not held for ever."""
    async with serving(HASTY) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(server.address)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(sock, request("/large"))

        await until(lambda: server.calls and not server.open)

        sock.close()
        assert server.calls == [("/large", 0)]


async def test_the_rest_of_a_body_that_nobody_wants_has_its_time_too():
    """Who is refused before its body is whole may send for a while, gets one answer, and is closed then."""
    async with serving(HASTY) as server:
        server.reception.call_bytes_max = 5
        peer = await server.connect()
        await peer.send(request(body=b"0123456789")[:-5])

        problem(413, "too-large", await peer.answer())
        await peer.send(b"56789")
        assert await peer.ended() == b""
        assert server.calls == []


async def test_a_slow_answer_is_nobodys_fault():
    """While the application works, no time of the client's runs; and the connection is kept afterwards."""
    async with serving(HASTY) as server:
        slow, quick = await server.connect(), await server.connect()
        await slow.send(request("/wait"))
        assert await quick.ended() == b""  # so that more than the time for a head has gone by

        server.gate.set()

        assert (await slow.answer())[0] == 200
        await slow.send(request())
        assert (await slow.answer())[0] == 200


async def test_an_idle_connection_is_kept_so_long():
    """After an answer a connection is kept for the time that is set, and closed after it without a word."""
    async with serving(make_settings(HASTY, keep_alive_seconds=2)) as server:
        peer, other = await server.connect(), await server.connect()
        await peer.send(request())
        assert (await peer.answer())[0] == 200
        assert await other.ended() == b""  # the time for a head is over, that for an idle connection is not
        await peer.send(request())
        assert (await peer.answer())[0] == 200

        assert await peer.ended() == b""


# ── how many ──


async def test_the_connection_that_waited_longest_makes_room():
    """At the limit a new connection is taken, and the one that has been without a request for longest is closed for it."""
    async with serving() as server:
        peers = [await server.connect() for _ in range(16)]
        for peer in [*peers, peers[0]]:  # the second is now the one that waited longest
            await peer.send(request())
            await peer.answer()

        late = await server.connect()
        await late.send(request())

        assert (await late.answer())[0] == 200
        assert await peers[1].ended() == b""
        for peer in (peers[0], *peers[2:]):
            await peer.send(request())
            assert (await peer.answer())[0] == 200


async def test_connections_at_work_are_not_closed_for_new_ones():
    """Where every connection has a request under way, a new one gets 503 with Retry-After, and the others their answers."""
    async with serving() as server:
        peers = [await server.connect() for _ in range(16)]
        for peer in peers:
            await peer.send(request("/wait"))
        await until(lambda: len(server.gateway._tasks) == 16)

        late = await server.connect()
        answer = await late.answer()
        server.gate.set()

        problem(503, "too-many-connections", answer)
        assert answer[1]["retry-after"] == "1"
        assert [(await peer.answer())[0] for peer in peers] == [200] * 16


async def test_idle_connections_keep_nobody_out():
    """However many connections are opened and left alone, a client that works gets every answer."""
    async with serving() as server:
        for number in range(100):
            idle = await server.connect()
            await idle.send(b"POST / HTTP/1.1\r\n"[: number % 5])
            worker = await server.connect()
            await worker.send(request())
            assert (await worker.answer())[0] == 200
            worker.writer.close()

        assert len(server.calls) == 100
        assert server.open <= 16
        assert server.shares.connections <= 16


async def test_nothing_is_left_of_closed_connections():
    """What was noted about a connection goes with it, however it ended."""
    async with serving() as server:
        for sent in (b"", b"P", request(), request(headers=100), b"\x00", request(body=b"x" * 9)[:-4]):
            peer = await server.connect()
            await peer.send(sent)
            peer.writer.close()
            await peer.writer.wait_closed()
        await until(lambda: not server.open)

        shares, deadlines = server.shares, server.bounds.deadlines
        assert (shares.connections, shares.bytes, shares._holders, deadlines._watched) == (0, 0, {}, set())
