"""The connection, fed by hand: no socket, and an event loop only for futures."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Response
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.trace import Trace
from aegis_stream.sender.address_limiter import AddressLimiter
from aegis_stream.sender.watch import IDLE
from aegis_stream.sender.wire import Connection
from security.reading import FRAGMENTS

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi"


class FakeTransport:
    """Keeps what is written."""

    def __init__(self, *, unsent: int = 0) -> None:
        self.written = b""
        self.unsent = unsent
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.written += b"".join(parts)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


class FakeOwner:
    """Counts, and passes answers on to whoever waits: an exchange is a future here."""

    def __init__(self) -> None:
        self.opened_count = 0
        self.gone_count = 0

    def opened(self, connection: Connection) -> None:
        self.opened_count += 1

    def gone(self, connection: Connection) -> None:
        self.gone_count += 1

    def ended(
        self, connection: Connection, exchange: "asyncio.Future[Answer | None]", answer: Answer | None
    ) -> None:
        exchange.set_result(answer)


def make_connection(**kwargs) -> tuple[Connection, FakeTransport, FakeOwner]:
    """Build an open connection."""
    owner = FakeOwner()
    limits = {"answer_bytes_max": kwargs.pop("answer_bytes_max")} if "answer_bytes_max" in kwargs else {}
    transport = FakeTransport(**kwargs)
    limiter = AddressLimiter("192.0.2.7", 100, 0.0)
    connection = Connection(
        owner, lambda: 1.0, host="hook.example", peer="192.0.2.7 port 443", limiter=limiter, **limits
    )
    connection.connection_made(transport)
    return connection, transport, owner


def send(connection: Connection, body: bytes = b"{}") -> "asyncio.Future[Answer | None]":
    """Begin an exchange."""
    future = asyncio.get_running_loop().create_future()
    connection.send(b"POST / HTTP/1.1\r\nContent-Length: ", body, 1.0, 99.0, 10.0, future)
    return future


@pytest.mark.parametrize("limit", [0, 1, 100, 192 * 1024])
async def test_each_connection_has_a_limit_of_its_own(limit):
    """A body up to the connection's limit is complete; a longer one is truncated and the connection is not reused."""
    exact, longer = (make_connection(answer_bytes_max=limit)[0] for _ in range(2))
    answers = [send(exact), send(longer)]

    for connection, size in ((exact, limit), (longer, limit + 1)):
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for at in range(0, size, 50_000):
            connection.data_received(b"x" * min(50_000, size - at))

    assert [len((await one).body) for one in answers] == [limit, limit]
    assert (exact.dead, longer.dead) == (False, True)


async def test_a_limit_holds_for_every_answer_of_a_connection():
    """A reused connection reads as much of the next answer as of the first."""
    connection, _, _ = make_connection(answer_bytes_max=50_000)
    for size in (50_000, 3, 50_000):
        answer = send(connection)
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert len((await answer).body) == size

    assert not connection.dead


async def test_one_write_per_request():
    """Head, length and body are written in one piece."""
    connection, transport, owner = make_connection()

    future = send(connection, b'{"a":1}')
    connection.data_received(OK)

    assert transport.written == b'POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n{"a":1}'
    assert await future == Response(202, b"hi", 0)
    assert (connection.dead, connection.deadline, owner.gone_count) == (False, IDLE, 0)


async def test_big_body_is_written_whole():
    """A body that is too large to copy is written after its head."""
    connection, transport, _ = make_connection()
    body = bytes(range(256)) * 1024

    send(connection, body)

    assert transport.written == b"POST / HTTP/1.1\r\nContent-Length: 262144\r\n\r\n" + body


async def test_bytes_on_an_idle_connection_close_it():
    """Bytes without a request are never read as the next request's answer."""
    connection, transport, owner = make_connection()

    connection.data_received(OK)

    assert (connection.dead, transport.aborted, owner.gone_count) == (True, True, 1)


async def test_answer_before_the_request_was_written_spends_the_connection():
    """An answer that comes before its request is written counts, and the connection is closed."""
    connection, _, _ = make_connection(unsent=1)

    future = send(connection)
    connection.data_received(OK)

    assert (await future).status == 202
    assert connection.dead


@pytest.mark.parametrize(
    ("location", "host"),
    [
        (b"https://user:secret@Else.Example:8443/p?token=s", "else.example"),
        (b"/v2?token=s", "hook.example"),
        (b"//other.example/x", "other.example"),
        (b"http://[", None),
        (b"http://a\x80b/", None),
        (b"http://" + b"a" * 300 + b"/", None),
    ],
)
async def test_redirect_names_its_host_only(location, host):
    """Of a redirect's target only the host is reported, and nothing that may contain a secret."""
    connection, _, _ = make_connection()

    future = send(connection)
    connection.data_received(b"HTTP/1.1 307 T\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    assert (await future).location_host == host


async def test_location_of_a_success_is_ignored():
    """A 201 with a Location is a success, and the Location is ignored."""
    connection, _, _ = make_connection()

    future = send(connection)
    connection.data_received(b"HTTP/1.1 201 C\r\nLocation: http://x.example/\r\nContent-Length: 0\r\n\r\n")

    assert (await future).location_host is None


async def test_upgrade_is_answered_and_not_reused():
    """101 is an ordinary status, and its connection is not reused."""
    connection, _, _ = make_connection()

    future = send(connection)
    connection.data_received(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\njunk")

    assert (await future).status == 101
    assert connection.dead


async def test_reused_connection_closed_without_a_byte_asks_for_another():
    """If the peer closed a reused connection, the result is None, not a Fault."""
    connection, _, _ = make_connection()
    first = send(connection)
    connection.data_received(OK)
    await first

    second = send(connection)
    connection.connection_lost(ConnectionResetError())

    assert await second is None
    assert connection.dead


STRAY = [
    b"no",
    b"\x00",
    b"0\r\n\r\n",
    b"\r\n" * 100,
    b"\r\nno",
    b"noHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("stray", STRAY)
async def test_bytes_of_no_answer_on_a_reused_connection_ask_for_another(stray):
    """If bytes that begin no answer arrive on a reused connection, the request may be tried on a new one."""
    connection, transport, owner = make_connection()
    first = send(connection)
    connection.data_received(OK)
    await first
    answered = send(connection)

    connection.data_received(stray)

    assert await answered is None
    assert transport.aborted
    assert owner.gone_count == 1


@pytest.mark.parametrize("stray", STRAY)
async def test_bytes_of_no_answer_on_a_fresh_connection_are_a_fault(stray):
    """If bytes that begin no answer arrive on a fresh connection, the peer does not speak HTTP/1.1."""
    connection, _, _ = make_connection()
    answered = send(connection)

    connection.data_received(stray)

    assert (await answered).kind is FaultKind.PROTOCOL


async def test_a_line_break_before_the_close_is_no_byte_of_an_answer():
    """If a peer sends only a stray line break and closes a reused connection, the request may be tried on a new one."""
    connection, _, _ = make_connection()
    first = send(connection)
    connection.data_received(OK)
    await first
    answered = send(connection)

    connection.data_received(b"\r\n")
    connection.connection_lost(None)

    assert await answered is None


async def test_fresh_connection_closed_without_a_byte_is_a_fault():
    """If the peer closes a new connection without an answer, the result is a Fault."""
    connection, _, _ = make_connection()

    future = send(connection)
    connection.eof_received()

    fault = await future
    assert fault == Fault(FaultKind.CLOSED, "192.0.2.7 port 443 closed the connection without an answer", 0)


def test_a_connection_has_every_method_that_a_transport_calls():
    """Without inheriting from asyncio.Protocol, a connection has all of its methods, also those that are called under load alone."""
    called = {name for name in dir(asyncio.Protocol) if not name.startswith("_")}

    assert called <= set(dir(Connection))


async def test_the_hint_of_a_connection_is_told_when_it_closes():
    """What the dialer says about a peer that closes without an answer is part of the message."""
    connection, _, _ = make_connection()
    connection.closed_hint = "; if it expects TLS, use https"

    future = send(connection)
    connection.eof_received()

    assert (await future).message.endswith("without an answer; if it expects TLS, use https")


async def test_reused_connection_closed_within_the_answer_is_a_fault():
    """After one byte of an answer the request is not sent again silently."""
    connection, _, _ = make_connection()
    first = send(connection)
    connection.data_received(OK)
    await first

    second = send(connection)
    connection.data_received(b"H")
    connection.eof_received()

    assert (await second).kind is FaultKind.CLOSED


@pytest.mark.parametrize(
    ("unsent", "data", "words"),
    [
        (0, b"", "no answer within 10 s"),
        (5, b"", "not read within 10 s"),
        (0, b"HTTP/1.1 2", "not complete within 10 s"),
    ],
)
async def test_expiry_says_what_was_missing(unsent, data, words):
    """A timeout tells whether the peer did not read, did not answer or did not finish."""
    connection, transport, _ = make_connection(unsent=unsent)
    trace = connection.trace = Trace(lambda: Micros(0))
    future = send(connection)
    if data:
        connection.data_received(data)

    connection.expire()

    fault = await future
    assert fault.kind is FaultKind.TIMEOUT
    assert words in fault.message
    assert trace.unread is bool(unsent)
    assert transport.aborted


async def test_events_after_the_end_are_harmless():
    """An exchange ends once, and later callbacks of the loop about a dead connection raise nothing."""
    connection, _, owner = make_connection()
    send(connection)
    connection.abort()

    connection.data_received(OK)
    connection.expire()
    connection.eof_received()
    connection.connection_lost(OSError())
    connection.abort()

    assert owner.gone_count == 1


@given(st.lists(st.binary(min_size=1, max_size=60) | st.sampled_from(FRAGMENTS), max_size=8), st.booleans())
def test_every_exchange_ends(pieces, lost):
    """For any bytes, the exchange has exactly one result at the end of the stream."""

    async def run() -> Answer | None:
        connection, _, _ = make_connection()
        future = send(connection)
        for piece in pieces:
            connection.data_received(piece)
        connection.connection_lost(ConnectionResetError() if lost else None)
        return await asyncio.wait_for(future, 1)

    assert isinstance(asyncio.run(run()), Response | Fault)
