"""The answer reader and the connection, fed by hand: no socket, and an event loop only for futures."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Response
from aegis_stream.sender.address_limiter import AddressLimiter
from aegis_stream.sender.watch import IDLE
from aegis_stream.sender.wire import (
    BODY_BYTES_MAX,
    FRAMING_BYTES_MAX,
    HEAD_BYTES_MAX,
    HEADER_LINES_MAX,
    INTERIM_MAX,
    AnswerReader,
    Connection,
)

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


def read(*pieces: bytes) -> AnswerReader:
    """Feed pieces to a new reader until the answer is over."""
    reader = AnswerReader()
    for piece in pieces:
        if reader.feed(piece):
            break
    return reader


def summary(reader: AnswerReader) -> tuple:
    """Return all that a reader has learnt."""
    return (
        reader.over,
        reader.rejection,
        reader.keep,
        reader.status,
        reader.body,
        reader.retry_after,
        reader.location,
    )


def test_whole_answer_is_read_and_the_connection_kept():
    """An answer with a length is complete at its last byte, and the connection can be reused."""
    reader = read(OK)

    assert summary(reader) == (True, None, True, 202, b"hi", None, None)


def test_reader_serves_one_answer_after_the_other():
    """No attribute of an answer carries over to the next one."""
    reader = read(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 1\r\n\r\nx")
    assert (reader.status, reader.retry_after) == (429, "7")

    reader.begin()

    assert reader.feed(OK)
    assert summary(reader) == (True, None, True, 202, b"hi", None, None)


VALID = [
    OK,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.1 503 Later\r\nretry-AFTER: 120\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy",
    b"HTTP/1.1 302 Found\r\nLocation: https://else.example/x?y\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 " + b"r" * 100 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"b" * 20000,
]


@given(st.sampled_from(VALID), st.lists(st.integers(0, 400), max_size=12))
def test_splits_do_not_matter(answer, cuts):
    """An answer is read alike however the network splits it."""
    whole = summary(read(answer))

    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in itertools.pairwise(edges) if a < b]

    assert summary(read(*pieces)) == whole
    assert whole[0]


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=10))
def test_arbitrary_bytes_never_raise(pieces):
    """No bytes make the reader raise, and it has a result at the end of the stream."""
    reader = read(*pieces)
    reader.end()

    assert reader.rejection is None or (reader.over and not reader.keep)


FRAGMENTS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.0 099 \r\n",
    b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Location: http://[\r\n",
    b"\r\n",
    b"\n",
    b"abc",
    b"3\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b" fold\r\n",
    b"\x00",
]


@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=12), st.integers(1, 9))
def test_shuffled_grammar_never_raises(fragments, size):
    """Nearly valid answers in any order and any pieces never raise and never keep a connection that must be closed."""
    data = b"".join(fragments)
    reader = read(*(data[i : i + size] for i in range(0, len(data), size)))
    reader.end()

    assert not (reader.keep and reader.rejection)
    assert not reader.keep or reader.status >= 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 1234 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_MAX + 1),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (HEADER_LINES_MAX + 1) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_BYTES_MAX + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 " + b"r" * HEAD_BYTES_MAX + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1 << 20, 997])
def test_ambiguous_or_endless_answers_are_refused(answer, size):
    """An ambiguous or endless answer is rejected."""
    reader = read(*(answer[i : i + size] for i in range(0, len(answer), size)))

    assert reader.over
    assert reader.rejection
    assert not reader.keep


@pytest.mark.parametrize(
    "junk",
    [OK, b"x", b"H", b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n", b"\x00", b"HTTP/1.1 100 C\r\n\r\n"],
)
@pytest.mark.parametrize(
    "answer",
    [OK, b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n"],
)
def test_bytes_after_the_answer_spend_the_connection(answer, junk):
    """An answer with bytes after it counts, but its connection is not reused."""
    expected = read(answer)

    reader = read(answer + junk)

    assert (reader.status, reader.body, reader.rejection) == (expected.status, expected.body, None)
    assert expected.keep
    assert not reader.keep


def test_body_is_cut_at_the_limit():
    """A body of exactly 16 KiB is complete; a longer one is truncated and its connection is not reused."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

    exact = read(head % BODY_BYTES_MAX + b"x" * BODY_BYTES_MAX)
    longer = read(head % (BODY_BYTES_MAX + 1), b"x" * BODY_BYTES_MAX, b"y")

    assert (len(exact.body), exact.keep) == (BODY_BYTES_MAX, True)
    assert (longer.body, longer.over, longer.keep, longer.rejection) == (
        b"x" * BODY_BYTES_MAX,
        True,
        False,
        None,
    )


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


@pytest.mark.parametrize("limit", [1, BODY_BYTES_MAX, 192 * 1024])
def test_endless_chunk_extension_ends(limit):
    """Framing without a body is bounded too, beside whatever may be read of the body; the status counts."""
    reader = AnswerReader(limit)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=")

    fed = 0
    while not reader.feed(b"z" * 4096):
        fed += 4096
        assert fed <= limit + FRAMING_BYTES_MAX

    assert (reader.status, reader.rejection, reader.keep) == (200, None, False)


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True),
        (b"HTTP/1.0 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nConte", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
    ],
)
def test_end_of_stream(answer, whole):
    """The end of the stream ends an answer without a length, and truncates every other."""
    reader = read(answer)

    assert reader.end() is whole
    assert not reader.keep


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


async def test_fresh_connection_closed_without_a_byte_is_a_fault():
    """If the peer closes a new connection without an answer, the result is a Fault."""
    connection, _, _ = make_connection()

    future = send(connection)
    connection.eof_received()

    fault = await future
    assert fault == Fault(FaultKind.CLOSED, "192.0.2.7 port 443 closed the connection without an answer", 0)


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
    future = send(connection)
    if data:
        connection.data_received(data)

    connection.expire()

    fault = await future
    assert fault.kind is FaultKind.TIMEOUT
    assert words in fault.message
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
