"""Promises about one connection: one request, one body, one answer, however the bytes arrive and whoever is slow."""

import asyncio
import re

import pytest

from aegis_stream.front.answer import make_answer
from aegis_stream.front.contract import Admitted
from aegis_stream.front.head import Head
from aegis_stream.front.outgoing import LINGER_BYTES_MAX, LINGER_S
from support.front import EchoReception, connect, make_bounds

POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n%b"
INNER = b"POST /inner HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def post(body: bytes, headers: bytes = b"") -> bytes:
    """Write a request."""
    return POST % (len(body), headers, body)


def statuses(transport) -> list[int]:
    """Return the statuses of what was answered."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", transport.written)]


@pytest.fixture
async def one():
    """A connection with its transport and its reception."""
    return connect()


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
async def test_requests_in_a_row_are_answered_in_order(size):
    """However the bytes are split, each request gets its own body and its own answer."""
    connection, transport, reception = connect()
    stream = post(b"one") + post(b"") + post(INNER) + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"

    for at in range(0, len(stream), size):
        connection.data_received(stream[at : at + size])

    assert [body for _, _, body in reception.requests] == [b"one", b"", INNER, b""]
    assert statuses(transport) == [200] * 4


OFFERS = [
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    b"Upgrade: TLS/1.0, HTTP/1.1\r\nConnection: upgrade\r\n",
    b"Upgrade: anything\r\n",
]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("method", [b"POST", b"GET", b"PATCH", b"DELETE", b"OPTIONS"])
async def test_a_body_is_never_a_request(one, offer, method):
    """With any offer to upgrade, in a later segment, chunked or not: the bytes of the body are the body."""
    connection, transport, reception = one
    head = method + b" /a HTTP/1.1\r\nHost: x\r\n" + offer
    connection.data_received(head + b"Content-Length: %d\r\n\r\n" % len(INNER))
    connection.data_received(INNER)
    connection.data_received(head + b"Transfer-Encoding: chunked\r\n\r\n")
    connection.data_received(b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER))

    assert [(path, body) for _, path, body in reception.requests] == [(b"/a", INNER)] * 2
    assert statuses(transport) == [200, 200]


async def test_nothing_behind_a_refusal_is_a_request(one):
    """After a refusal the connection carries no request any more; its client can still read why."""
    connection, transport, reception = one

    connection.data_received(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + INNER)
    connection.data_received(INNER)

    assert statuses(transport) == [400]
    assert reception.requests == []
    assert transport.ended
    assert not transport.closed
    assert b"connection: close" in transport.written


async def test_a_client_that_is_still_sending_is_read_for_a_while(one):
    """What comes after a refusal is dropped, up to a limit of bytes and of time."""
    connection, transport, reception = one
    reception.body_max = 10

    connection.data_received(POST % (1000, b"", b"x" * 20))
    assert (statuses(transport), transport.closed) == ([413], False)
    connection.data_received(b"x" * LINGER_BYTES_MAX)
    assert not transport.closed
    connection.data_received(b"x" * 100)
    assert transport.closed


async def test_lingering_ends(one):
    """A client that never closes is closed some seconds after its refusal."""
    connection, transport, _ = one
    connection.data_received(b"\x16\x03\x01")

    assert statuses(transport) == [400]
    assert connection.deadline <= asyncio.get_running_loop().time() + LINGER_S
    connection.expire()
    assert transport.closed


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\nHost: x\n\n", b"\x00", b" GET /", b"\nGET"]
)
async def test_what_can_be_no_head_is_refused_at_once(one, junk):
    """TLS, lines that end with LF alone, and binary junk wait for no deadline."""
    connection, transport, _ = one

    connection.data_received(junk)

    assert statuses(transport) == [400]


async def test_one_empty_line_before_a_request_is_ignored(one):
    """A client may send one CR LF too many behind a body, not two (RFC 9112 section 2.2)."""
    connection, transport, _ = one

    connection.data_received(b"\r\n" + post(b"a") + b"\r\n" + post(b"b"))
    assert statuses(transport) == [200, 200]
    connection.data_received(b"\r\n\r\n" + post(b"c"))
    assert statuses(transport) == [200, 200, 400]


@pytest.mark.parametrize("behind", [b"", b"x"])
async def test_100_continue(one, behind):
    """Who waits for 100 gets it before its body, unless the body is on its way already."""
    connection, transport, reception = one

    connection.data_received(
        b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n" + behind
    )
    assert statuses(transport) == ([] if behind else [100])
    connection.data_received(b"xx"[len(behind) :])
    assert reception.requests == [("POST", b"/a", b"xx")]


async def test_who_is_refused_gets_no_100(one):
    """A body that is too large is refused before it is sent."""
    connection, transport, reception = one
    reception.body_max = 1

    connection.data_received(
        b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )

    assert statuses(transport) == [413]


async def test_a_chunked_body_is_bounded(one):
    """A chunked body ends the request when it is larger than may be."""
    connection, transport, reception = one
    reception.body_max = 10

    connection.data_received(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.data_received(b"b\r\n" + b"x" * 11)

    assert (statuses(transport), reception.requests) == ([413], [])


async def test_large_heads_are_refused(one):
    """A head has a limit of bytes, whether it ends or not, and of headers."""
    connection, transport, _ = one
    connection.data_received(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000)
    assert statuses(transport) == [431]

    connection, transport, _ = connect()
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n")
    assert statuses(transport) == [431]

    connection, transport, _ = connect()
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 32 + b"\r\n")
    assert statuses(transport) == [431]


async def test_what_comes_while_an_answer_is_made_waits(one):
    """The next request is looked at when this one is answered; too much of it is left in the socket."""
    connection, transport, reception = one
    reception.later = True

    connection.data_received(post(b"one") + post(b"two"))
    assert len(reception.requests) == 1
    connection.data_received(b"GET /three HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100_000)
    assert transport.reading_paused
    for _ in range(3):
        reception.owed.pop().answer(make_answer(200, [], b""))

    assert [path for _, path, _ in reception.requests] == [b"/a", b"/a", b"/three"]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not transport.reading_paused


async def test_head_gets_the_headers_of_get(one):
    """The answer to HEAD has the length of GET's body, and no body."""
    connection, transport, _ = one

    connection.data_received(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + post(b"abc"))

    assert transport.written.count(b"HTTP/1.1 200") == 2
    assert b"content-length: 1\r\n\r\nHTTP/1.1 200 OK" in transport.written


@pytest.mark.parametrize(
    "line", [b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
)
async def test_a_connection_ends_when_its_client_wants_it(one, line):
    """HTTP/1.0 and `Connection: close` carry one request."""
    connection, transport, reception = one

    connection.data_received(line + line)

    assert (statuses(transport), len(reception.requests)) == ([200], 1)
    assert transport.ended


async def test_slow_clients():
    """A head or a body that does not come in time is 408; an idle connection is closed without a word."""
    connection, transport, _ = connect()
    connection.expire()
    assert (transport.closed, bytes(transport.written)) == (True, b"")
    for part in (b"GET / HT", POST % (5, b"", b"x")):
        connection, transport, _reception = connect()
        connection.data_received(part)
        assert connection.deadline < 1e9
        connection.expire()
        assert statuses(transport) == [408]


async def test_a_client_that_does_not_read_is_ended():
    """An answer that is not taken in time ends the connection; its bytes are counted while they wait."""
    bounds = make_bounds(bytes_max=10_000)
    connection, transport, reception = connect(bounds=bounds)
    reception.later = True
    connection.data_received(post(b"one") + post(b"two"))
    connection.pause_writing()
    reception.owed.pop().answer(make_answer(200, [], b"x" * 9000))

    assert bounds.shares.bytes == len(transport.written) + len(post(b"two"))
    assert len(reception.requests) == 1, "who does not read gets nothing more"
    connection.expire()
    assert transport.closed
    connection.connection_lost(None)
    assert (bounds.shares.bytes, bounds.shares.connections) == (0, 0)


async def test_who_reads_again_goes_on():
    """When the answer is read after all, the next request is taken."""
    connection, _transport, reception = connect()
    reception.later = True
    connection.data_received(post(b"one") + post(b"two"))
    connection.pause_writing()
    reception.owed.pop().answer(make_answer(200, [], b"x"))
    connection.resume_writing()

    assert [body for _, _, body in reception.requests] == [b"one", b"two"]


async def test_bytes_under_way_are_shared():
    """The request of the holder of most is refused with a word when the bytes of all are too many."""
    bounds = make_bounds(bytes_max=10_000)
    reception = EchoReception(bounds.shares)
    first, second = connect(reception, bounds), connect(reception, bounds)
    for connection, *_ in (first, second):
        connection.data_received(POST % (9000, b"", b"x" * 6000))

    assert [statuses(transport) for _, transport, _ in (first, second)] == [[503], []]
    assert bounds.shares.bytes == 6000


async def test_bytes_that_come_piece_by_piece_stay_counted():
    """However many pieces a body comes in, its bytes are counted for its owner until it is whole, and can be taken back."""
    bounds = make_bounds(bytes_max=10_000)
    reception = EchoReception(bounds.shares)
    first, second = connect(reception, bounds), connect(reception, bounds)
    for connection, *_ in (first, second):
        connection.data_received(POST % (9000, b"", b"x" * 1000))
        for _ in range(4):
            connection.data_received(b"x" * 1000)
        assert bounds.shares.holder("org").bytes == bounds.shares.bytes
    assert bounds.shares.bytes == 10_000

    second[0].data_received(b"x" * 2000)

    assert [statuses(transport) for _, transport, _ in (first, second)] == [[503], []]
    second[0].data_received(b"x" * 2000)
    assert (statuses(second[1]), bounds.shares.bytes) == ([200], 0)
    for connection, *_ in (first, second):
        connection.connection_lost(None)
    assert "org" not in bounds.shares._holders


async def test_a_full_house():
    """A newcomer takes the place of the connection that has been idle for longest; where all are busy, it gets 503."""
    bounds = make_bounds(connections_max=2)
    reception = EchoReception(bounds.shares, later=True)
    first, second = connect(reception, bounds), connect(reception, bounds)
    first[0].data_received(post(b"busy"))
    third = connect(reception, bounds)
    second[0].connection_lost(None)
    third[0].data_received(post(b"busy"))
    fourth = connect(reception, bounds)

    assert [one[1].closed for one in (first, second, third)] == [False, True, False]
    assert statuses(fourth[1]) == [503]


async def test_a_decision_may_take_its_time():
    """While a key is looked up the body may come; it is read when the request is admitted, and dropped when it is not."""
    bounds = make_bounds()

    class Slow(EchoReception):
        async def _decide(self, head: Head, connection):
            await asyncio.sleep(0)
            if head.path == "/no":
                return make_answer(401, [], b"")
            admitted = EchoReception.admit(self, head, connection)
            assert isinstance(admitted, Admitted)
            return admitted

        def admit(self, head, connection):
            return self._decide(head, connection)

    connection, transport, reception = connect(Slow(bounds.shares), bounds)
    connection.data_received(POST % (3, b"", b"a"))
    connection.data_received(b"bc" + (post(INNER)).replace(b"/a", b"/no"))
    for _ in range(6):
        await asyncio.sleep(0)

    assert reception.requests == [("POST", b"/a", b"abc")]
    assert statuses(transport) == [200, 401]
    assert transport.ended


async def test_stopping():
    """To stop is to close what is idle, and to end what is busy with its answer."""
    connection, transport, _ = connect()
    connection.finish()
    assert transport.closed

    connection, transport, reception = connect()
    reception.later = True
    connection.data_received(post(b"one") + post(b"two"))
    connection.finish()
    reception.owed.pop().answer(make_answer(200, [], b""))
    assert (statuses(transport), transport.ended, len(reception.requests)) == ([200], True, 1)


async def test_half_closed_clients_get_their_answer(one):
    """Who sends a request and shuts its side down may still read."""
    connection, transport, reception = one
    reception.later = True
    connection.data_received(post(b"one"))

    assert connection.eof_received()
    reception.owed.pop().answer(make_answer(200, [], b""))
    assert statuses(transport) == [200]
