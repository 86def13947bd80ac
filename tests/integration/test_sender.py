"""The sender against small servers on loopback, over plain HTTP; TLS is in test_sender_tls.py."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from aegis_stream.domain.attempt import FaultKind, Request
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.errors import Invalid
from aegis_stream.sender import AsyncSender, Channel, SenderLimits

REQUEST = Request(b'{"a":1}')
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi"
LATE_S = 0.6
"""A timeout of 0.3 s, a quarter of a second of grace, and a little for a busy machine."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakeGuard:
    """Allows all addresses but those named."""

    def __init__(self, *forbidden: str) -> None:
        self.forbidden = forbidden
        self.asked: list[str] = []

    def check(self, address: str) -> str | None:
        self.asked.append(address)
        return "points to private network" if address in self.forbidden else None


class FakeResolver:
    """Gives the configured answers one after the other, and then repeats the last one."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Server:
    """A server on loopback that notes what it read and how many connections it had."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self.closed = asyncio.Event()
        self.tasks: set = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.handler(reader, writer)
        finally:
            self.closed.set()
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(length))


@contextlib.asynccontextmanager
async def serving(make_handler: Callable[["Server"], Handler]) -> AsyncIterator[Server]:
    """Run a server whose handler knows it."""
    server = Server(None)  # type: ignore[arg-type]
    server.handler = make_handler(server)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks)
        await asyncio.sleep(0.01)  # for the loop to drop the sockets


def answering(*answers: bytes, close: bool = False) -> Callable[[Server], Handler]:
    """Answer each request of a connection with the next of these, the last one for ever."""

    def make(server: Server) -> Handler:
        async def handle(reader, writer) -> None:
            left = list(answers)
            while True:
                await server.read(reader)
                writer.write(left.pop(0) if len(left) > 1 else left[0])
                await writer.drain()
                if close:
                    return

        return handle

    return make


@contextlib.asynccontextmanager
async def open_channel(
    port: int,
    *,
    host: str = "127.0.0.1",
    timeout_s: float = 10.0,
    limits: SenderLimits | None = None,
    answer_bytes_max: int = 16 * 1024,
    **kwargs,
) -> AsyncIterator[Channel]:
    """Open a channel, and close it."""
    sender = AsyncSender(user_agent="Aegis/1", limits=limits, **({"guard": FakeGuard()} | kwargs))
    endpoint = Endpoint("http", host, port, "/in?k=secret", is_address=host[0].isdigit())
    headers = (("Authorization", "Bearer secret"),)
    channel = sender.open(Route(endpoint, headers, None, timeout_s, answer_bytes_max))
    try:
        yield channel
    finally:
        channel.close()
        sender.close()
        await asyncio.sleep(0)


async def test_connection_is_reused():
    """Sequential posts use one connection, each with exactly the promised headers."""
    async with serving(answering(OK)) as server, open_channel(server.port) as channel:
        answers = [await channel.post(REQUEST) for _ in range(5)]

    assert [(a.status, a.body) for a in answers] == [(202, b"hi")] * 5
    assert all(0 < a.latency_us < 5_000_000 for a in answers)
    assert (server.connections, server.bodies) == (1, [REQUEST.body] * 5)
    assert server.heads[0] == (
        b"POST /in?k=secret HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer secret\r\nUser-Agent: Aegis/1\r\n"
        b"Content-Type: application/json\r\nContent-Length: 7\r\n\r\n" % server.port
    )


async def test_content_type_belongs_to_the_request():
    """Requests of different content types share a connection, not a head."""
    async with serving(answering(OK)) as server, open_channel(server.port) as channel:
        for content_type in ("a/b", "c/d", "a/b"):
            await channel.post(Request(b"x", content_type))
        fault = await channel.post(Request(b"x", "a/b\r\nX: y"))

    assert [head.split(b"Content-Type: ")[1][:3] for head in server.heads] == [b"a/b", b"c/d", b"a/b"]
    assert fault.kind is FaultKind.PROTOCOL


async def test_path_suffix_belongs_to_the_request():
    """A path suffix is only in the request line of its own request, on a new and on a reused connection."""
    plain, suffixed = Request(b"x"), Request(b"x", path_suffix="/evt%201")
    other = Request(b"x", path_suffix="/evt_2")
    async with serving(answering(OK)) as server, open_channel(server.port) as channel:
        for request in (suffixed, plain, other, suffixed, plain):
            assert (await channel.post(request)).status == 202
        fault = await channel.post(Request(b"x", path_suffix="/a b"))
        last = await channel.post(plain)

    assert [head.partition(b"\r\n")[0] for head in server.heads] == [
        b"POST /in/evt%201?k=secret HTTP/1.1",
        b"POST /in?k=secret HTTP/1.1",
        b"POST /in/evt_2?k=secret HTTP/1.1",
        b"POST /in/evt%201?k=secret HTTP/1.1",
        b"POST /in?k=secret HTTP/1.1",
        b"POST /in?k=secret HTTP/1.1",
    ]
    assert len({head.partition(b"\r\n")[2] for head in server.heads}) == 1
    assert (server.connections, fault.kind, last.status) == (1, FaultKind.PROTOCOL, 202)


async def test_path_suffix_survives_a_stale_connection():
    """A request that is tried again on a fresh connection goes to the same path."""
    async with serving(answering(OK, close=True)) as server, open_channel(server.port) as channel:
        for number in range(3):
            assert (await channel.post(Request(b"x", path_suffix=f"/evt_{number}"))).status == 202

    assert [head.split(b"?")[0] for head in server.heads] == [b"POST /in/evt_%d" % one for one in range(3)]
    assert server.connections == 3


async def test_answers_are_read_as_far_as_the_route_says():
    """Of a long answer as many bytes are read as the format needs, also beyond the usual 16 KiB."""
    body = b"y" * 100_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving(answering(answer)) as server:
        async with open_channel(server.port, answer_bytes_max=len(body)) as channel:
            whole = [await channel.post(REQUEST) for _ in range(2)]
        connections = server.connections
        async with open_channel(server.port, answer_bytes_max=len(body) - 1) as channel:
            cut = await channel.post(REQUEST)

    assert [one.body for one in whole] == [body, body]
    assert connections == 1
    assert cut.body == body[:-1]


async def test_posts_at_the_same_time_have_connections_of_their_own():
    """Answers come back to the post they belong to, and the connections are shared afterwards."""

    def make(server: Server) -> Handler:
        async def handle(reader, writer) -> None:
            while True:
                await server.read(reader)
                body = server.bodies[-1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        return handle

    async with serving(make) as server, open_channel(server.port) as channel:
        for _ in range(3):
            answers = await asyncio.gather(*(channel.post(Request(b"%d" % i)) for i in range(20)))
            assert [a.body for a in answers] == [b"%d" % i for i in range(20)]

    assert server.connections == 20


async def test_stale_connection_is_replaced_unseen():
    """After the peer closed a connection, the next post succeeds on a new one."""
    async with serving(answering(OK, close=True)) as server, open_channel(server.port) as channel:
        answers = [await channel.post(REQUEST) for _ in range(5)]

    assert [a.status for a in answers] == [202] * 5
    assert [a.repeated for a in answers] == [False, *[True] * 4], "the peer may have got these twice"
    assert server.connections == 5


async def test_stale_is_tried_once_only():
    """A peer that answers once and then closes every connection is tried twice, not endlessly."""
    served = 0

    def make(server: Server) -> Handler:
        async def handle(reader, writer) -> None:
            nonlocal served
            await server.read(reader)
            served += 1
            if served == 1:
                writer.write(OK)
                await server.read(reader)

        return handle

    async with serving(make) as server, open_channel(server.port) as channel:
        first = await channel.post(REQUEST)
        second = await channel.post(REQUEST)

    assert first.status == 202
    assert second.kind is FaultKind.CLOSED
    assert server.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(status):
    """A redirect is an answer with the target's host, and the target gets no request."""
    answer = (
        b"HTTP/1.1 %d Go\r\nLocation: http://else.example/?k=secret\r\nContent-Length: 0\r\n\r\n" % status
    )
    resolver = FakeResolver(AssertionError())
    async with (
        serving(answering(answer)) as server,
        open_channel(server.port, resolver=resolver) as channel,
    ):
        response = await channel.post(REQUEST)

    assert (response.status, response.location_host, resolver.asked) == (status, "else.example", 0)


async def test_big_body_is_cut_and_the_connection_closed():
    """Of an endless body 16 KiB are read; the status counts and the connection is closed."""

    def make(server: Server) -> Handler:
        async def handle(reader, writer) -> None:
            await server.read(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
                await writer.drain()

        return handle

    async with serving(make) as server, open_channel(server.port) as channel:
        response = await channel.post(REQUEST)
        await asyncio.wait_for(server.closed.wait(), 5)

    assert (response.status, response.body) == (200, b"x" * 16384)


async def test_compressed_body_is_left_as_it_is():
    """Content-Encoding is never acted on."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    async with serving(answering(answer)) as server, open_channel(server.port) as channel:
        response = await channel.post(REQUEST)

    assert response.body == b"\x1f\x8b\x08\x00"


@pytest.mark.parametrize(
    ("prefix", "drip"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x"),
    ],
)
async def test_drip_fed_answer_meets_the_deadline(prefix, drip):
    """Bytes that keep coming do not extend the attempt."""

    def make(server: Server) -> Handler:
        async def handle(reader, writer) -> None:
            await server.read(reader)
            writer.write(prefix)
            while not reader.at_eof() and not writer.transport.is_closing():
                writer.write(drip)
                await asyncio.sleep(0.01)

        return handle

    loop = asyncio.get_running_loop()
    async with serving(make) as server, open_channel(server.port, timeout_s=0.3) as channel:
        began = loop.time()
        fault = await channel.post(REQUEST)
        took = loop.time() - began
        await asyncio.wait_for(server.closed.wait(), 5)

    assert fault.kind is FaultKind.TIMEOUT
    assert 0.29 <= took < LATE_S
    assert fault.message.endswith("within 0.3 s")


async def test_peer_that_never_reads_meets_the_deadline():
    """A request that the peer does not read ends at the attempt's deadline, and its memory is released."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with open_channel(listener.getsockname()[1], timeout_s=0.3) as channel:
            fault = await channel.post(Request(b"x" * 20_000_000))

            assert not channel._connections

    assert fault.kind is FaultKind.TIMEOUT
    assert fault.message == "the request was not read within 0.3 s"
    assert 290_000 < fault.latency_us < LATE_S * 1e6


@pytest.mark.parametrize("junk", [OK, b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n", b"junk", b"\x00"])
async def test_what_follows_an_answer_is_nobodys_answer(junk):
    """A second response or junk closes the connection; the next request gets its own answer on a new one."""
    async with serving(answering(OK + junk)) as server, open_channel(server.port) as channel:
        answers = [await channel.post(REQUEST) for _ in range(3)]

    assert [(a.status, a.body) for a in answers] == [(202, b"hi")] * 3
    assert server.connections == 3


async def test_bytes_on_an_idle_connection_close_it():
    """An answer without a request closes the connection, so it is never read as another request's answer."""
    go = asyncio.Event()

    def make(server: Server) -> Handler:
        async def handle(reader, writer) -> None:
            await server.read(reader)
            writer.write(OK)
            await go.wait()
            writer.write(b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n")
            assert await reader.read() == b""

        return handle

    async with serving(make) as server, open_channel(server.port) as channel:
        first = await channel.post(REQUEST)
        go.set()
        await asyncio.wait_for(server.closed.wait(), 5)
        second = await channel.post(REQUEST)

    assert (first.status, second.status, server.connections) == (202, 202, 2)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", 204),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\nhello", 304),
        (b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101),
        (b"HTTP/1.1 407 P\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 407),
        (b"HTTP/1.1 999 " + b"?" * 100 + b"\r\nContent-Length: 0\r\n\r\n", 999),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 202 A\r\nContent-Length: 0\r\n\r\n", 202),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
    ],
)
async def test_odd_answers_are_answers(answer, status):
    """Unusual statuses and framings are reported unchanged, twice in a row."""
    once = b"HTTP/1.0" in answer
    async with serving(answering(answer, close=once)) as server, open_channel(server.port) as channel:
        answers = [await channel.post(REQUEST) for _ in range(2)]

    assert [a.status for a in answers] == [status] * 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: gzip\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 70_000 + b"\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
    ],
)
async def test_hostile_answers_are_faults(answer):
    """An ambiguous answer is a PROTOCOL fault, and its connection is closed."""
    async with serving(answering(answer)) as server, open_channel(server.port) as channel:
        faults = [await channel.post(REQUEST) for _ in range(2)]

    assert [fault.kind for fault in faults] == [FaultKind.PROTOCOL] * 2
    assert server.connections == 2


async def test_refused_connection_is_told():
    """A refused connection is a fault that names address and port, and no secret."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with open_channel(port) as channel:
            fault = await channel.post(REQUEST)

    assert (fault.kind, fault.message) == (FaultKind.CONNECT, f"connection refused by 127.0.0.1 port {port}")


async def test_the_next_address_is_tried():
    """Of two allowed addresses the one that answers is used."""
    async with (
        serving(answering(OK)) as server,
        open_channel(
            server.port, host="hook.test", resolver=FakeResolver(["127.0.0.9", "127.0.0.1"])
        ) as channel,
    ):
        response = await channel.post(REQUEST)

    assert response.status == 202


async def test_forbidden_address_is_not_connected_to():
    """The fault has the guard's reason, and the server gets nothing, for an address and for a name."""
    guard = FakeGuard("127.0.0.1")
    async with serving(answering(OK)) as server:
        async with open_channel(server.port, guard=guard) as channel:
            by_address = await channel.post(REQUEST)
        resolver = FakeResolver(["127.0.0.1"])
        async with open_channel(server.port, host="hook.test", guard=guard, resolver=resolver) as channel:
            by_name = await channel.post(REQUEST)

    assert (by_address.kind, by_name.kind) == (FaultKind.FORBIDDEN, FaultKind.FORBIDDEN)
    assert by_address.message == "127.0.0.1 points to private network"
    assert by_name.message == "hook.test points to private network"  # and not the address
    assert server.connections == 0


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"], ["127.0.0.1"] * 9 + ["127.0.0.2"]]
)
async def test_one_forbidden_address_denies_all(addresses):
    """A name with an allowed and a forbidden address is not connected to."""
    async with (
        serving(answering(OK)) as server,
        open_channel(
            server.port, host="hook.test", guard=FakeGuard("127.0.0.2"), resolver=FakeResolver(addresses)
        ) as channel,
    ):
        fault = await channel.post(REQUEST)

    assert fault.kind is FaultKind.FORBIDDEN
    assert server.connections == 0


async def test_every_connect_asks_the_guard():
    """Addresses are checked at each connect, also those that were allowed before."""
    guard = FakeGuard()
    resolver = FakeResolver(["127.0.0.1"])
    async with (
        serving(answering(OK, close=True)) as server,
        open_channel(server.port, host="hook.test", guard=guard, resolver=resolver) as channel,
    ):
        first = await channel.post(REQUEST)
        guard.forbidden = ("127.0.0.1",)
        second = await channel.post(REQUEST)

    assert first.status == 202
    assert second.kind is FaultKind.FORBIDDEN
    assert guard.asked == ["127.0.0.1"] * 2


async def test_a_name_is_never_resolved_behind_the_guards_back():
    """A resolver's answer that is not an address is forbidden, not resolved by the loop."""
    async with open_channel(1, host="hook.test", resolver=FakeResolver(["localhost"])) as channel:
        fault = await channel.post(REQUEST)

    assert (fault.kind, fault.message) == (
        FaultKind.FORBIDDEN,
        "hook.test points to something that is not an IP address",
    )


@pytest.mark.parametrize("answer", [socket.gaierror(socket.EAI_NONAME, "x"), UnicodeError("label"), []])
async def test_name_without_address_is_told(answer):
    """A name that does not resolve is a DNS fault that says so."""
    async with open_channel(80, host="hook.test", resolver=FakeResolver(answer)) as channel:
        fault = await channel.post(REQUEST)

    assert fault.kind is FaultKind.DNS
    assert fault.message.startswith("name hook.test does not resolve")


async def test_slow_resolver_meets_the_deadline():
    """Resolving counts towards the attempt; all posts that wait for it end in time."""

    class Slow:
        async def resolve(self, host: str, port: int) -> list[str]:
            await asyncio.Event().wait()
            return []

    async with open_channel(80, host="hook.test", resolver=Slow(), timeout_s=0.3) as channel:
        faults = await asyncio.gather(*(channel.post(REQUEST) for _ in range(3)))

    assert [fault.kind for fault in faults] == [FaultKind.TIMEOUT] * 3
    assert all(fault.latency_us < LATE_S * 1e6 for fault in faults)


async def test_system_resolver_knows_localhost():
    """Without a resolver of its own the sender asks the system."""
    async with serving(answering(OK)) as server, open_channel(server.port, host="localhost") as channel:
        response = await channel.post(REQUEST)

    assert response.status == 202
    assert b"Host: localhost:%d\r\n" % server.port in server.heads[0]


async def test_burst_of_connects_asks_the_name_server_once():
    """Connections opened at the same time share one look-up."""
    resolver = FakeResolver(["127.0.0.1"])
    async with (
        serving(answering(OK)) as server,
        open_channel(server.port, host="hook.test", resolver=resolver) as channel,
    ):
        await asyncio.gather(*(channel.post(REQUEST) for _ in range(10)))

    assert (server.connections, resolver.asked) == (10, 1)


async def test_many_content_types_are_bounded():
    """A channel caches only a few heads, however many content types there are."""
    async with serving(answering(OK)) as server, open_channel(server.port) as channel:
        for i in range(40):
            assert (await channel.post(Request(b"x", f"a/{i}"))).status == 202

        assert len(channel._heads) <= 16


async def test_stale_connection_gives_way_at_the_bound():
    """A new connection can be made although idle ones use up the limit."""

    def make(server: Server) -> Handler:
        async def handle(reader, writer) -> None:
            await server.read(reader)
            writer.write(OK)
            await server.read(reader)  # and closes, as if it had done so while idle

        return handle

    async with (
        serving(make) as server,
        open_channel(server.port, limits=SenderLimits(connections_max=2)) as channel,
    ):
        await asyncio.gather(channel.post(REQUEST), channel.post(REQUEST))
        answers = await asyncio.gather(channel.post(REQUEST), channel.post(REQUEST))

    assert [a.status for a in answers] == [202, 202]


def make_silent(server: Server) -> Handler:
    """Read and say nothing."""

    async def handle(reader, writer) -> None:
        await server.read(reader)
        await reader.read()

    return handle


async def test_cancelled_post_closes_its_connection():
    """After cancellation the peer sees the connection end, and the next post gets an answer of its own."""
    async with serving(make_silent) as server, open_channel(server.port) as channel:
        task = asyncio.ensure_future(channel.post(REQUEST))
        while not server.bodies:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.closed.wait(), 5)

        assert not channel._connections


async def test_close_ends_what_is_under_way():
    """After close, posts that wait for an answer, a name or a connection end as CLOSED, and so do later ones."""

    class Slow:
        async def resolve(self, host: str, port: int) -> list[str]:
            await asyncio.Event().wait()
            return []

    async with (
        serving(make_silent) as server,
        open_channel(server.port, limits=SenderLimits(connections_max=1)) as busy,
        open_channel(server.port, host="hook.test", resolver=Slow()) as resolving,
    ):
        tasks = [asyncio.ensure_future(channel.post(REQUEST)) for channel in (busy, busy, resolving)]
        while not server.bodies:
            await asyncio.sleep(0)
        busy.close()
        resolving.close()
        faults = [*(await asyncio.wait_for(asyncio.gather(*tasks), 5)), await busy.post(REQUEST)]

    assert [fault.kind for fault in faults] == [FaultKind.CLOSED] * 4


async def test_connections_have_a_bound():
    """With more posts than connections the others wait, and all are served."""
    async with (
        serving(answering(OK)) as server,
        open_channel(server.port, limits=SenderLimits(connections_max=3, idle_max=2)) as channel,
    ):
        answers = await asyncio.gather(*(channel.post(REQUEST) for _ in range(50)))

        assert len(channel._connections) <= 2

    assert [a.status for a in answers] == [202] * 50


async def test_waiting_for_a_turn_meets_the_deadline():
    """A post that gets no connection within its time says that all were in use."""
    async with (
        serving(make_silent) as server,
        open_channel(server.port, timeout_s=0.3, limits=SenderLimits(connections_max=1)) as channel,
    ):
        faults = await asyncio.gather(channel.post(REQUEST), channel.post(REQUEST))

    assert [fault.kind for fault in faults] == [FaultKind.TIMEOUT, FaultKind.LIMIT]
    assert "all 1 connections were in use" in faults[1].message


async def test_idle_connection_is_closed():
    """An idle connection is closed after idle_s."""
    async with (
        serving(answering(OK)) as server,
        open_channel(server.port, limits=SenderLimits(idle_s=0.1)) as channel,
    ):
        await channel.post(REQUEST)
        await asyncio.wait_for(server.closed.wait(), 5)

        assert not channel._idle


async def test_truncated_answer_is_a_fault():
    """An answer shorter than its Content-Length is a fault."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"
    async with serving(answering(answer, close=True)) as server, open_channel(server.port) as channel:
        fault = await channel.post(REQUEST)

    assert fault.kind is FaultKind.CLOSED


async def test_no_message_holds_a_secret():
    """Faults and the repr of a channel contain neither the query nor a header's value."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with open_channel(unused.getsockname()[1]) as channel:
            fault = await channel.post(REQUEST)

    assert "secret" not in f"{fault} {channel!r}"


async def test_bad_header_is_refused_at_open():
    """A route that cannot be written is rejected before a channel is opened."""
    sender = AsyncSender(user_agent="Aegis/1", guard=FakeGuard())
    endpoint = Endpoint("http", "127.0.0.1", 80, "/", is_address=True)

    with pytest.raises(Invalid):
        sender.open(Route(endpoint, (("X", "a\r\nb"),), None, 1.0))


def test_uvloop_does_the_same():
    """On uvloop, whose transports are not asyncio's, exchange, stale reuse, deadline and cancellation work alike."""

    async def run() -> None:
        await test_connection_is_reused()
        await test_stale_connection_is_replaced_unseen()
        await test_stale_is_tried_once_only()
        await test_big_body_is_cut_and_the_connection_closed()
        await test_peer_that_never_reads_meets_the_deadline()
        await test_what_follows_an_answer_is_nobodys_answer(OK)
        await test_cancelled_post_closes_its_connection()
        await test_close_ends_what_is_under_way()
        await test_refused_connection_is_told()
        await test_slow_resolver_meets_the_deadline()

    uvloop.run(run())
