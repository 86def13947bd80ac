"""From name to connection, with an event loop whose connects have scripted results."""

import asyncio
import errno
import socket
import ssl

import pytest

from aegis_stream.domain.attempt import FaultKind
from aegis_stream.domain.endpoint import Endpoint
from aegis_stream.sender.address_limiter import AddressLimiter, AddressLimiters
from aegis_stream.sender.dial import ADDRESSES_TRIED_MAX, AddressFull, ConnectFailed, Dialer, NoDescriptor
from aegis_stream.sender.look_ups import LookUpsFull, TooManyAddresses
from aegis_stream.sender.wire import Connection


class FakeTransport:
    """Says where it is connected to."""

    def __init__(self, peer: tuple | None) -> None:
        self.peer = peer
        self.aborted = False

    def get_extra_info(self, name: str):
        return self.peer if name == "peername" else None

    def abort(self) -> None:
        self.aborted = True


class FakeOwner:
    """Does not care."""

    def opened(self, connection: Connection) -> None:
        pass

    def gone(self, connection: Connection) -> None:
        pass


class FakeGuard:
    """Allows everything."""

    def check(self, address: str) -> str | None:
        return None


class FakeResolver:
    """Gives one answer and counts."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.asked = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


FULL = ("192.0.2.66", "192.0.2.67")
"""Addresses that have no place left."""


@pytest.fixture
def connects(monkeypatch):
    """Replace the loop's connects: {address: peername or exception or None to hang}; returns what was tried."""

    def plan(outcomes: dict) -> list[str]:
        tried: list[str] = []

        async def create_connection(factory, host, port):
            tried.append(host)
            outcome = outcomes[host]
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is None:
                await asyncio.Event().wait()
            transport = FakeTransport(outcome)
            protocol = factory()
            protocol.connection_made(transport)
            return transport, protocol

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
        return tried

    return plan


async def dial(answer, *, timeout_s: float = 10.0, context: ssl.SSLContext | None = None) -> Connection:
    """Dial a name that resolves to this answer."""
    endpoint = Endpoint("http", "hook.test", 80, "/", is_address=False)
    dialer = make_dialer(endpoint, context, FakeResolver(answer), timeout_s)
    return await dialer.dial(make, asyncio.get_running_loop().time() + timeout_s)


def make_dialer(endpoint, context, resolver, timeout_s) -> Dialer:
    """Build a dialer with a guard that allows everything."""
    return Dialer(
        endpoint,
        context,
        guard=FakeGuard(),
        resolver=resolver,
        limiters=AddressLimiters(100),
        timeout_s=timeout_s,
    )


def make(peer: str, limiter: AddressLimiter) -> Connection:
    """Build a connection with an owner that does nothing."""
    if limiter.address in FULL:
        raise AddressFull(limiter)
    return Connection(FakeOwner(), lambda: 0.0, host="hook.test", peer=peer, limiter=limiter)


async def failure(answer, **kwargs) -> ConnectFailed:
    """Dial, and return why not."""
    with pytest.raises(ConnectFailed) as caught:
        await dial(answer, **kwargs)
    return caught.value


async def test_address_that_swallows_packets_leaves_time_for_the_next(connects):
    """A first address that never answers has a short head start only."""
    tried = connects({"192.0.2.1": None, "192.0.2.2": ("192.0.2.2", 80)})

    connection = await dial(["192.0.2.1", "192.0.2.2"], timeout_s=0.2)

    assert not connection.dead
    assert tried == ["192.0.2.1", "192.0.2.2"]


async def test_addresses_tried_are_bounded(connects):
    """An attempt tries only a few of a name's many addresses."""
    addresses = [f"192.0.2.{i}" for i in range(1, 100)]
    tried = connects(dict.fromkeys(addresses, ConnectionRefusedError()))

    refused = await failure(addresses)

    assert tried == addresses[:ADDRESSES_TRIED_MAX]
    assert refused.kind is FaultKind.CONNECT


@pytest.mark.parametrize("peer", [("192.0.2.9", 80), ("nonsense", 80)])
async def test_another_peer_than_the_checked_one_is_refused(connects, peer):
    """A connection to another address than the checked one is closed before anything is written."""
    connects({"192.0.2.1": peer})

    refused = await failure(["192.0.2.1"])

    assert refused.kind is FaultKind.FORBIDDEN
    assert refused.message == "hook.test port 80 was reached at a different address than the checked one"


async def test_peer_without_a_name_has_gone(connects):
    """A socket without a peer is a failed connect, not a forbidden address."""
    connects({"192.0.2.1": ()})

    refused = await failure(["192.0.2.1"])

    assert (refused.kind, refused.message) == (
        FaultKind.CONNECT,
        "hook.test port 80 closed the connection at once",
    )


async def test_a_hang_up_over_plain_http_names_https(connects):
    """A peer that closes a plain connection without an answer may expect TLS, so the message names https."""
    connects({"192.0.2.1": ("192.0.2.1", 80)})
    connection = await dial(["192.0.2.1"])

    assert connection.closed_hint == "; if it expects TLS, the URL must begin with https://"


async def test_spelling_of_an_address_does_not_matter(connects):
    """Two spellings of one IPv6 address are the same address."""
    connects({"2001:DB8:0::1": ("2001:db8::1", 80, 0, 0)})

    assert not (await dial(["2001:DB8:0::1"])).dead


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionRefusedError(), "connection refused by hook.test port 80"),
        (OSError(errno.EHOSTUNREACH, "x"), "hook.test port 80 cannot be reached: no route to host"),
        (OSError(errno.EIO, "x"), "no connection to hook.test port 80: input/output error"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "no connection to hook.test port 80: connection timed out"),
        (OSError("x"), "no connection to hook.test port 80: the connection was lost"),
    ],
)
async def test_failed_connects_are_told_in_words(connects, error, message):
    """Every kind of failed connect has a message with host and port."""
    connects({"192.0.2.1": error})

    refused = await failure(["192.0.2.1"])

    assert (refused.kind, refused.message) == (FaultKind.CONNECT, message)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.parametrize("addresses", [["192.0.2.1"], ["192.0.2.1", "192.0.2.2"]])
async def test_what_this_process_lacks_is_not_the_destinations_fault(connects, number, addresses):
    """Want of descriptors or memory here is told apart from a connect that failed; no other address is tried then."""
    tried = connects(dict.fromkeys(addresses, OSError(number, "x")))

    with pytest.raises(NoDescriptor) as caught:
        await dial(addresses)

    assert "this service cannot open another connection now" in caught.value.message
    assert tried == addresses[:1]


async def test_dials_behind_one_that_found_no_place_to_look_up_do_not_wait_one_after_the_other():
    """All dials of a channel learn of our limit from the one that waited for a place."""
    resolver = FakeResolver(LookUpsFull())
    endpoint = Endpoint("http", "hook.test", 80, "/", is_address=False)
    dialer = make_dialer(endpoint, None, resolver, 10.0)
    deadline = asyncio.get_running_loop().time() + 10

    ended = await asyncio.gather(*(dialer.dial(make, deadline) for _ in range(20)), return_exceptions=True)

    assert [type(one) for one in ended] == [LookUpsFull] * 20
    assert resolver.asked == 1


async def test_connect_that_hangs_is_a_timeout(connects):
    """No answer to a connect ends with the attempt's time."""
    connects({"192.0.2.1": None})

    refused = await failure(["192.0.2.1"], timeout_s=0.05)

    assert (refused.kind, refused.message) == (
        FaultKind.TIMEOUT,
        "no connection to hook.test port 80 within 0.05 s",
    )


async def test_name_server_trouble_is_told_apart():
    """A name server that does not answer is told apart from a name that does not exist."""
    busy = await failure(socket.gaierror(socket.EAI_AGAIN, "x"))
    absent = await failure(socket.gaierror(socket.EAI_NONAME, "x"))

    assert (busy.kind, absent.kind) == (FaultKind.DNS, FaultKind.DNS)
    assert "does not answer" in busy.message
    assert absent.message == "name hook.test does not resolve"


async def test_too_many_addresses_are_told():
    """A name with too many addresses is a DNS fault that names the limit."""
    refused = await failure(TooManyAddresses(4000))

    assert refused.kind is FaultKind.DNS
    assert refused.message.startswith("name hook.test has 4,000 addresses; the limit is 64")


async def test_failed_look_up_is_shared_by_a_burst():
    """Simultaneous posts that fail for the same name cause one look-up."""
    resolver = FakeResolver(OSError())
    endpoint = Endpoint("http", "hook.test", 80, "/", is_address=False)
    dialer = make_dialer(endpoint, None, resolver, 1.0)
    deadline = asyncio.get_running_loop().time() + 1.0

    results = await asyncio.gather(*(dialer.dial(make, deadline) for _ in range(5)), return_exceptions=True)

    assert all(isinstance(result, ConnectFailed) for result in results)
    assert resolver.asked == 1


async def test_peer_that_hangs_up_at_once_is_told(connects, monkeypatch):
    """A connection closed between its opening and the first request is a fault, not an assertion."""
    connects({"192.0.2.1": ("192.0.2.1", 80)})
    monkeypatch.setattr(Connection, "connection_made", lambda self, transport: self.abort())

    refused = await failure(["192.0.2.1"])

    assert refused.kind is FaultKind.CLOSED


async def test_a_crowded_address_is_passed_over_for_the_next(connects):
    """If an organization has its share at one address of a name, the next address is tried."""
    tried = connects({"192.0.2.2": ("192.0.2.2", 80)})

    connection = await dial([FULL[0], "192.0.2.2"])

    assert not connection.dead
    assert tried == ["192.0.2.2"]
    with pytest.raises(AddressFull):
        await dial(list(FULL))


async def test_only_one_dial_looks_for_an_address_that_works(connects):
    """While no address of a name is known to work, one dial of a burst tries them; the others follow it."""
    tried = connects({"192.0.2.1": None, "192.0.2.2": ("192.0.2.2", 80)})
    endpoint = Endpoint("http", "hook.test", 80, "/", is_address=False)
    dialer = make_dialer(endpoint, None, FakeResolver(["192.0.2.1", "192.0.2.2"]), 1.0)
    deadline = asyncio.get_running_loop().time() + 1.0

    await asyncio.gather(*(dialer.dial(make, deadline) for _ in range(16)))

    assert sorted(tried) == ["192.0.2.1"] + ["192.0.2.2"] * 16


async def test_dials_that_wait_for_another_end_in_time(connects):
    """Dials that wait for one that finds no address that works end as late ones do."""
    connects({"192.0.2.1": None, "192.0.2.2": None})
    endpoint = Endpoint("http", "hook.test", 80, "/", is_address=False)
    dialer = make_dialer(endpoint, None, FakeResolver(["192.0.2.1", "192.0.2.2"]), 0.1)
    deadline = asyncio.get_running_loop().time() + 0.1

    results = await asyncio.gather(*(dialer.dial(make, deadline) for _ in range(5)), return_exceptions=True)

    assert {(one.kind, one.message) for one in results} == {
        (FaultKind.TIMEOUT, "no connection to hook.test port 80 within 0.1 s")
    }
