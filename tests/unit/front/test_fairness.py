"""Promises about clients beside each other: what one of them holds or sends costs the others neither place nor time."""

import asyncio

import pytest

from aegis_stream.front.answer import make_answer
from aegis_stream.front.contract import CALLS_AT_ONCE, READS_AT_ONCE, Admitted
from aegis_stream.front.head import NO_HEAD
from support.front import EchoReception, connect, make_bounds

POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b"GET /a HTTP/1.1\r\nHost: x\r\n" + b"X-Padding: " + b"x" * 6000 + b"\r\n"


class Calls(EchoReception):
    """Answers every request in its turn; counts it for the organization that its path names, or for the network."""

    def __init__(self, bounds) -> None:
        super().__init__(bounds.shares)
        self.begun: list[str] = []

    def admit(self, head, connection):
        """Admit everything."""

        def work(_: bytes) -> None:
            self.begun.append(connection.address)
            connection.answer(make_answer(200, [], b""))

        owner = "org" if head.path.startswith("/org") else connection.address
        return Admitted(owner, self.body_max, lambda body, one: one.call(body, work))


async def rounds(count: int) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_thousand_calls_of_one_client_delay_the_others_by_a_round():
    """Calls are begun a few at a time, and networks take turns: a newcomer is served before the rest of the flood."""
    bounds = make_bounds(connections_max=1000)
    reception = Calls(bounds)
    for _ in range(100):
        connect(reception, bounds, "192.0.2.1")[0].data_received(GET % b"flood" * 2)
    assert len(reception.begun) == CALLS_AT_ONCE, "no more in this round"

    connect(reception, bounds, "192.0.2.2")[0].data_received(GET % b"one")
    await rounds(3)

    assert "192.0.2.2" in reception.begun[: 2 * CALLS_AT_ONCE]
    assert len(reception.begun) <= 4 * CALLS_AT_ONCE
    await rounds(300)
    assert len(reception.begun) == 201, "nobody is forgotten"


async def test_a_call_that_gives_way_while_it_waits_is_never_begun():
    """A waiting call holds its body; when that is too much, it is refused, and its turn passes to the next."""
    bounds = make_bounds(bytes_max=20_000)
    reception = Calls(bounds)
    taken = [bounds.turns.take() for _ in range(CALLS_AT_ONCE)]
    one, other = (connect(reception, bounds) for _ in range(2))

    for connection, *_ in (one, other):
        connection.data_received(POST % (12_000, b"x" * 12_000))
    for _ in taken:
        bounds.turns.end()
    await rounds(5)

    assert one[1].written.startswith(b"HTTP/1.1 503 ")
    assert other[1].written.startswith(b"HTTP/1.1 200 ")
    assert len(reception.begun) == 1
    assert bounds.shares.bytes == 0


async def test_answers_that_need_no_application_take_turns_too():
    """A refusal by the head alone is cheap, and a quarter of a megabyte of such requests is not answered in one go."""

    class Closed(EchoReception):
        def admit(self, head, connection):
            return make_answer(404, [], b"")

    bounds = make_bounds()
    connection, transport, _ = connect(Closed(bounds.shares), bounds)
    connection.data_received(GET % b"x" * 1000)

    assert transport.written.count(b"HTTP/1.1 404") <= CALLS_AT_ONCE
    await rounds(1500)
    assert transport.written.count(b"HTTP/1.1 404") == 1000


@pytest.mark.parametrize(
    "piece",
    [POST % (900_000, b"x" * 50), LARGE[:100]],
    ids=["body", "head"],
)
async def test_unfinished_requests_are_read_in_turns(piece):
    """In one round a few pieces of unfinished requests are read; all others stay in their sockets, and networks take turns."""
    bounds = make_bounds(connections_max=1000)
    reception = EchoReception(bounds.shares)
    many = [connect(reception, bounds, "192.0.2.1") for _ in range(100)]
    for connection, *_ in many:
        connection.data_received(piece)
    one = connect(reception, bounds, "192.0.2.2")
    one[0].data_received(POST % (10, b"12345"))
    assert all(transport.reading_paused for _, transport, _ in (*many, one))

    await rounds(1)
    assert sum(not transport.reading_paused for _, transport, _ in many) <= READS_AT_ONCE
    await rounds(2)
    if piece.startswith(b"GET"):  # the others are counted for the same organization as `one`
        assert not one[1].reading_paused
    await rounds(100)
    assert not any(transport.reading_paused for _, transport, _ in (*many, one)), "everybody has a turn"


async def test_clients_behind_one_address_do_not_lose_their_places_to_each_other():
    """A connection is counted for its organization as soon as that is known: an address full of strangers does not end it."""
    bounds = make_bounds(connections_max=10)
    reception = Calls(bounds)
    connection, transport, _ = connect(reception, bounds)
    connection.data_received(GET % b"org/events")

    strangers = [connect(reception, bounds) for _ in range(50)]

    assert not transport.closed
    assert [one[1].closed for one in strangers].count(False) == 9
    connection.data_received(GET % b"someone")
    assert bounds.shares.holder("org").connections == 0, "its next call is nobody's that is known"


async def test_what_came_ahead_is_counted():
    """Requests behind one that is being answered are held, and whoever holds most of them gives way."""
    bounds = make_bounds(bytes_max=100_000)
    reception = EchoReception(bounds.shares, later=True)
    clients = [connect(reception, bounds) for _ in range(3)]
    for connection, *_ in clients:
        connection.data_received(POST % (3, b"one") + GET % b"ahead" * 1300)

    assert bounds.shares.bytes <= 100_000
    assert [transport.closed for _, transport, _ in clients].count(True) == 1


async def test_a_large_head_is_counted_and_let_go():
    """A head is counted while it arrives and while its request is served; an idle connection keeps nothing of a large one."""
    bounds = make_bounds()
    connection, _, reception = connect(EchoReception(bounds.shares, later=True), bounds)

    connection.data_received(LARGE)
    assert bounds.shares.bytes == len(LARGE)
    connection.data_received(b"\r\n")
    assert bounds.shares.bytes == len(LARGE) + 2
    reception.owed.pop().answer(make_answer(200, [], b""))

    assert bounds.shares.bytes == 0
    assert connection.head is NO_HEAD


@pytest.mark.parametrize(
    ("pieces", "refused"),
    [
        ([b"GET / HTTP/1.1\r", b"\nHost: x\r", b"\n\r\n"], False),
        ([b"\r", b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"], False),
        ([b"GET / HTTP/1.1\r\nHo", b"st: x\n"], True),
        ([b"GET / HTTP/1.1", b"\n"], True),
        ([b"GET / HTTP/1.1\r\n", b"\n"], True),
        ([b"\x16", b"\x03"], True),
    ],
)
async def test_each_piece_of_a_head_is_looked_at_once(pieces, refused):
    """What can be no head is refused wherever the pieces are cut, though what was looked at is not looked at again."""
    bounds = make_bounds()
    connection, transport, _ = connect(Calls(bounds), bounds)
    for piece in pieces:
        connection.data_received(piece)

    assert transport.written.startswith(b"HTTP/1.1 400 " if refused else b"HTTP/1.1 200 ")
