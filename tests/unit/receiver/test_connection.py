"""Promises of aegis_stream.receiver.connection: HTTP/1.1 with limits, driven by bytes without a socket."""

import asyncio

import pytest

from aegis_stream.receiver import connection as connection_module
from aegis_stream.receiver.connection import (
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    IDLE_S,
    LINGER_S,
    REQUEST_S,
    WAITING_MAX,
    Connection,
)
from aegis_stream.receiver.intake import refused, reply_with


class FakeHandler:
    """Answers 200 to every request and keeps it."""

    body_bytes_max = 1000

    def __init__(self, latency_s=0.0):
        self.latency_s = latency_s
        self.requests = []

    def answer(self, request):
        self.requests.append(request)
        return reply_with(200, {"n": len(self.requests)})

    def refuse_body(self):
        return refused(413, "too long")


class FakeTransport(asyncio.Transport):
    """Keeps what is written and whether the connection is open."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.state = "open"
        self.reading = True

    def write(self, data):
        assert self.state == "open"
        self.written += data

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.state = "half-closed"

    def close(self):
        self.state = "closed"

    def abort(self):
        self.state = "aborted"

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    @property
    def statuses(self):
        return [int(part[:3]) for part in self.written.split(b"HTTP/1.1 ")[1:]]


class FakeTimers:
    """Replaces the event loop: its time moves only when the test moves it."""

    def __init__(self):
        self.now = 1000.0
        self.timers = []

    def time(self):
        return self.now

    def create_future(self):
        return asyncio.get_running_loop().create_future()

    def call_later(self, delay_s, callback):
        self.timers.append((self.now + delay_s, callback))

    def advance(self, seconds):
        self.now += seconds
        # Timers with equal times fire in any order; the reverse order is the hardest.
        due = [timer for timer in reversed(self.timers) if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _, callback in due:
            callback()


class Line:
    """One connection with its fakes."""

    def __init__(self, latency_s=0.0, others=None):
        self.handler, self.transport, self.timers = FakeHandler(latency_s), FakeTransport(), FakeTimers()
        self.others = set() if others is None else others
        self.connection = Connection(self.handler, self.others)
        self.connection._loop = self.timers
        self.connection._active_at = self.timers.now
        self.connection.connection_made(self.transport)

    def send(self, data):
        self.connection.data_received(data)

    def pass_time(self, seconds):
        self.timers.advance(seconds)
        self.connection.expire(self.timers.now)


@pytest.fixture
async def line():
    """A connection without latency."""
    return Line()


def make_request(body=b"{}", *headers, target=b"/audit"):
    """Return the bytes of a POST."""
    lines = [b"POST " + target + b" HTTP/1.1", b"Host: h", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


async def test_a_request_arrives_whole_however_it_is_cut(line):
    """The handler gets the same request, whether bytes arrive one by one or together."""
    data = make_request(b'{"a": 1}', b"X-Name: a", b"x-name:  b ", target=b"/audit?x=1")

    for byte in data:
        line.send(bytes([byte]))
    line.send(data)

    first, second = line.handler.requests
    assert first == second
    assert (first.method, first.target, first.body) == ("POST", "/audit?x=1", b'{"a": 1}')
    assert first.headers == {"host": "h", "x-name": "a, b", "content-length": "8"}
    assert line.transport.statuses == [200, 200]
    assert line.transport.state == "open"


async def test_pipelined_requests_are_answered_in_one_write(line):
    """Pipelined requests are answered together, in order."""
    writes = []
    line.transport.write = writes.append

    line.send(make_request(b"1") + make_request(b"2") + make_request(b"3"))

    assert [request.body for request in line.handler.requests] == [b"1", b"2", b"3"]
    assert len(writes) == 1
    assert writes[0].index(b'{"n":1}') < writes[0].index(b'{"n":2}') < writes[0].index(b'{"n":3}')


async def test_a_chunked_body_is_put_together(line):
    """Chunked bodies are joined; trailers do not become headers."""
    line.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    line.send(b"2\r\n{}\r\n1\r\n \r\n0\r\nAuthorization: late\r\n\r\n")

    assert line.handler.requests[0].body == b"{} "
    assert "authorization" not in line.handler.requests[0].headers


@pytest.mark.parametrize(
    ("head", "state"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "open"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "closed"),
        (b"GET / HTTP/1.0\r\n\r\n", "closed"),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "open"),
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "closed"),
    ],
)
async def test_the_connection_is_kept_as_the_client_wishes(line, head, state):
    """Keep-alive and close follow HTTP/1.1 and 1.0; after an upgrade request the connection is closed."""
    line.send(head)

    assert line.transport.statuses == [200]
    assert line.transport.state == state


async def test_the_answer_to_head_is_a_head(line):
    """HEAD gets the length of the body and no body."""
    line.send(b"HEAD / HTTP/1.1\r\n\r\n")

    assert b"Content-Length: 7\r\n" in line.transport.written
    assert line.transport.written.endswith(b"\r\n\r\n")


async def test_a_client_that_waits_is_told_to_go_on(line):
    """Expect: 100-continue is answered before the body, unless the body will be rejected."""
    head, _, body = make_request(b"{}", b"Expect: 100-continue").partition(b"{}")

    line.send(head)
    assert line.transport.statuses == [100]
    line.send(b"{}" + body)
    assert line.transport.statuses == [100, 200]

    line.send(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    assert line.transport.statuses == [100, 200, 413]


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"\x16\x03\x01\x02\x00\x01"], 400),
        ([b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], 400),
        ([b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"], 400),
        ([b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n"], 413),
        ([b"POST / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n"], 413),
        ([b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e9\r\n" + b"x" * 1001], 413),
        ([b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n"], 431),
        ([b"GET /" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1\r\n\r\n"], 431),
        ([b"GET / HTTP/1.1\r\nA: "] + [b"x" * 1024] * 65, 431),
        ([b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "] + [b"x" * 1024] * 67, 413),
    ],
)
async def test_what_is_too_much_is_refused_and_dropped(line, pieces, status):
    """Malformed or unlimited input gets one answer; the handler gets nothing, and later input is not parsed."""
    for piece in pieces:
        line.send(piece)
    line.send(make_request() * 3)

    assert line.transport.statuses == [status]
    assert line.transport.state == "half-closed"
    assert line.handler.requests == []


async def test_a_refused_client_is_let_go():
    """After a rejection the client has two seconds to read it."""
    line = Line()
    line.send(b"nonsense\r\n\r\n")

    line.pass_time(LINGER_S)
    assert line.transport.state == "half-closed"
    line.pass_time(0.1)
    assert line.transport.state == "aborted"


async def test_a_long_pipeline_is_not_a_long_head(line):
    """Many requests in one read, the last one incomplete, do not count as one head."""
    requests = make_request(b"x" * 900) * 100

    line.send(requests[:-910])
    line.send(requests[-910:])

    assert line.transport.statuses == [200] * 100


async def test_an_idle_connection_is_closed(line):
    """A connection without a request is closed after the idle time."""
    line.send(make_request())

    line.pass_time(IDLE_S)
    assert line.transport.state == "open"
    line.pass_time(0.1)
    assert line.transport.state == "closed"


async def test_a_slow_drip_is_ended(line):
    """A request has a minute from its first byte to its last, however often bytes arrive."""
    line.send(b"POST / HTTP/1.1\r\n")
    for _ in range(61):
        line.pass_time(REQUEST_S / 60)
        if line.transport.state == "open":
            line.send(b"A: b\r\n")

    assert line.transport.statuses == [408]
    assert line.transport.state == "half-closed"


async def test_there_is_a_limit_on_connections():
    """One connection too many is answered 503; the others stay open."""
    others = {object() for _ in range(CONNECTIONS_MAX)}

    line = Line(others=others)

    assert line.transport.statuses == [503]
    assert line.transport.state == "half-closed"
    line.connection.connection_lost(None)
    assert len(others) == CONNECTIONS_MAX


async def test_delayed_replies_keep_their_order():
    """With latency every reply is sent on time and in order, even if timers fire in another order."""
    line = Line(latency_s=0.05)

    line.send(make_request(b"1") + make_request(b"2"))
    assert line.transport.written == b""
    line.pass_time(0.05)

    assert line.transport.statuses == [200, 200]
    assert line.transport.written.index(b'{"n":1}') < line.transport.written.index(b'{"n":2}')


async def test_a_delayed_last_reply_is_sent_before_the_end():
    """Connection: close takes effect after the reply and those before it."""
    line = Line(latency_s=0.05)

    line.send(make_request(b"1") + make_request(b"2", b"Connection: close") + make_request(b"3"))
    assert line.transport.state == "open"
    line.pass_time(0.05)

    assert line.transport.statuses == [200, 200]
    assert line.transport.state == "closed"


async def test_a_flood_of_delayed_requests_is_held_back():
    """Above a number of delayed replies nothing more is read until some are sent."""
    line = Line(latency_s=1)

    line.send(make_request() * (WAITING_MAX + 1))
    assert not line.transport.reading
    line.pass_time(1)

    assert line.transport.reading


async def test_a_client_that_does_not_read_is_not_read(line):
    """If replies are not read, no more requests are read; a client that never reads them is disconnected."""
    line.connection.pause_writing()
    assert not line.transport.reading
    line.connection.resume_writing()
    assert line.transport.reading

    line.connection.pause_writing()
    line.pass_time(IDLE_S + 0.1)
    assert line.transport.state == "aborted"


async def test_finishing_sends_what_is_owed():
    """When the receiver stops, delayed replies are sent immediately; an incomplete request gets none."""
    line = Line(latency_s=60)
    line.send(make_request() + b"POST / HTTP/1.1\r\n")

    line.connection.finish()

    assert line.transport.statuses == [200]
    assert line.transport.state == "closed"


async def test_a_lost_connection_is_forgotten():
    """After the end nothing is written, even if timers are left."""
    line = Line(latency_s=1)
    line.send(make_request())

    line.connection.connection_lost(None)
    line.pass_time(10)
    line.connection.finish()
    line.connection.abort()

    assert line.transport.written == b""
    assert line.others == set()
    assert line.connection.closed.done()


async def test_equal_answers_are_made_once(line):
    """The bytes of a frequent answer are rendered once."""
    connection_module._encode.cache_clear()
    reply = reply_with(202, {})
    line.handler.answer = lambda _request: reply

    line.send(make_request() * 10)

    assert connection_module._encode.cache_info().misses == 1
