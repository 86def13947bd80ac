"""Promises about requests that offer another protocol: real sockets against the server's own protocol class."""

import asyncio

import pytest

from support.connections import SMALL, Peer, Server, serving, until

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "websocket": b"Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\nSec-WebSocket-Key: AA==\r\n",
    "tls": b"connection: upgrade\r\nupgrade: TLS/1.0\r\n",
    "several": b"Connection: upgrade\r\nUpgrade: foo/2, h2c\r\nUpgrade: websocket\r\nX-Empty:\r\n",
}
SMUGGLED = b"DELETE /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def length(body: bytes) -> bytes:
    """Return framing headers, the end of the head, and the body."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def chunked(body: bytes) -> bytes:
    """Return framing headers, the end of the head, and the body in two chunks with a trailer."""
    middle = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (body[:middle], body[middle:]))
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nUpgrade: h2c\r\n\r\n"


async def send_pieces(server: Server, peer: Peer, pieces: list[bytes]) -> None:
    """Send pieces so that the server reads each of them by itself."""
    (connection,) = server.bounds.open
    for piece in pieces:
        # Straight into the connection: through the socket, pieces could be joined on the way.
        connection.data_received(piece)
        await asyncio.sleep(0)


async def connected(server: Server) -> Peer:
    """Open a connection, and wait until the server has it."""
    peer = await server.connect()
    await until(lambda: server.open == 1)
    return peer


@pytest.mark.parametrize("framing", [length, chunked])
@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_is_ignored_wherever_the_bytes_are_cut(offer, framing):
    """A request with an offer keeps its whole body, which is never a request, and the next request of the connection is answered."""
    whole = b"POST /one HTTP/1.1\r\nHost: a\r\n" + OFFERS[offer] + framing(SMUGGLED)
    whole += b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n"
    async with serving() as server:
        for cut in range(len(whole)):
            peer = await connected(server)
            await send_pieces(server, peer, [whole[:cut], whole[cut:]] if cut else [whole])
            first, second = await peer.answer(), await peer.answer()
            assert (first[0], first[2], second[0]) == (200, b"%d" % len(SMUGGLED), 200), cut
            assert server.bodies == [("POST", "/one", SMUGGLED), ("GET", "/two", b"")], cut
            server.bodies.clear()
            peer.writer.close()
            await until(lambda: not server.open)


@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_is_ignored_byte_by_byte(offer):
    """A request with an offer that arrives one byte at a time is taken like any other."""
    whole = b"POST /one HTTP/1.1\r\nHost: a\r\n" + OFFERS[offer] + length(SMUGGLED)
    async with serving() as server:
        peer = await connected(server)
        await send_pieces(server, peer, [whole[at : at + 1] for at in range(len(whole))])
        assert (await peer.answer())[0] == 200
        assert server.bodies == [("POST", "/one", SMUGGLED)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b'{"name": "x"}', SMUGGLED * 20_000])
async def test_any_method_may_offer(method, body):
    """Whatever the method, an offer changes neither the body nor the requests behind it."""
    one = method.encode() + b" /one?a=b HTTP/1.1\r\nHost: a\r\n" + OFFERS["h2c"] + length(body)
    async with serving() as server:
        peer = await server.connect()
        await peer.send(one * 3)
        await until(lambda: len(server.bodies) == 3)
        shown = (
            "GET" if method == "HEAD" else method
        )  # RFC 9110 section 9.3.2: the same answer, without its body
        assert server.bodies == [(shown, "/one", body)] * 3


async def test_the_offer_is_not_told_to_the_application():
    """The application sees every header of the request but the offer, and the version as sent."""
    async with serving() as server:
        peer = await server.connect()
        await peer.send(b"POST / HTTP/1.0\r\nHost: a\r\nX-One:  1 \r\n" + OFFERS["tls"] + length(b"x"))
        await peer.answer()
        assert await peer.ended() == b""
    assert server.scopes[0]["http_version"] == "1.0"
    assert server.scopes[0]["headers"] == [
        (b"host", b"a"),
        (b"x-one", b"1"),
        (b"connection", b"upgrade"),
        (b"content-length", b"1"),
    ]


@pytest.mark.parametrize("offer", ["", "tls"])
async def test_connect_is_refused(offer):
    """CONNECT is answered with 405 and the end of the connection, and nothing behind it is a request."""
    async with serving() as server:
        peer = await server.connect()
        await peer.send(
            b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n" + OFFERS.get(offer, b"") + length(SMUGGLED) + SMUGGLED
        )
        status, headers, body = await peer.answer()
        assert (status, headers["connection"]) == (405, "close")
        assert b"method-not-allowed" in body
        assert await peer.ended() == b""
        assert server.bodies == []


@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"Content-Length: 1\r\n\r\nGET /x\r\n\r\n",
        b"X-Fold: a\r\n Content-Length: 5\r\n\r\n",
    ],
)
async def test_doubtful_framing_is_refused_with_an_offer_too(framing):
    """An offer does not make a request pass that would be refused without it."""
    async with serving() as server:
        peer = await server.connect()
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + OFFERS["h2c"] + framing)
        assert b"HTTP/1.1 400" in await peer.ended()
        assert [path for _, path, _ in server.bodies if path != "/"] == []


async def test_limits_of_the_head_hold_with_an_offer():
    """A head with an offer is bounded in bytes and in headers like any other."""
    async with serving() as server:
        for filler in (
            b"x-pad: " + b"p" * SMALL.api.header_bytes_max + b"\r\n",
            b"x: y\r\n" * SMALL.api.headers_max,
        ):
            peer = await server.connect()
            await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + OFFERS["h2c"] + filler + length(b"x"))
            assert (await peer.answer())[0] == 431
            assert await peer.ended() == b""
        assert server.bodies == []
