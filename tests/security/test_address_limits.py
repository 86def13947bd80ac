"""Many destinations, one victim: the load on an address is limited, however many channels and names point to it."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator

import pytest

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request, Response
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.sender import AsyncSender, SenderLimits, look_ups, shares
from aegis_stream.sender.pool import Channel

from .receivers import LOOPBACK, Names

REQUEST = Request(b"{}")
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class Victim:
    """Reads requests, and answers when told to."""

    def __init__(self) -> None:
        self.open = self.most = self.requests = 0
        self.answers = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.open += 1
        self.most = max(self.most, self.open)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"{}")
                self.requests += 1
                await self.answers.wait()
                writer.write(OK)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.open -= 1


@contextlib.asynccontextmanager
async def victim() -> AsyncIterator[Victim]:
    """Run a receiver on a free port of loopback."""
    one = Victim()
    server = await asyncio.start_server(one.handle, "127.0.0.1")
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        one.answers.set()
        for writer in one.writers:
            writer.close()
        await until(lambda: not one.open)
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def opening(port: int, limits: SenderLimits, *, timeout_s: float = 10.0):
    """Yield a function that opens channels of one sender, each for another name of the same address."""
    sender = AsyncSender(user_agent="Aegis/1", guard=LOOPBACK, resolver=Names(["127.0.0.1"]), limits=limits)
    channels: list[Channel] = []

    def open_channel(org_id: str) -> Channel:
        endpoint = Endpoint("http", f"name{len(channels)}.example", port, "/", is_address=False)
        channels.append(sender.open(Route(endpoint, (), None, timeout_s, org_id=org_id)))
        return channels[-1]

    try:
        yield open_channel
    finally:
        for channel in channels:
            channel.close()
        sender.close()
        await asyncio.sleep(0)


async def until(condition) -> None:
    """Run the loop until a condition is true; otherwise the test's timeout ends it."""
    while not condition():
        await asyncio.sleep(0.001)  # between two looks, not instead of one


async def test_connections_to_one_address_are_bounded_across_destinations():
    """Thirty channels with thirty names get four of eight places, another organization still gets one, and all requests arrive."""
    limits = SenderLimits(address_connections_max=8)
    async with victim() as receiver, opening(receiver.port, limits) as open_channel:
        flood = [
            asyncio.create_task(channel.post(REQUEST))
            for channel in [open_channel("org_flood") for _ in range(30)]
            for _ in range(3)
        ]
        await until(lambda: receiver.requests == 4)
        other = asyncio.create_task(open_channel("org_other").post(REQUEST))
        await until(lambda: receiver.requests == 5)
        most_while_hanging = receiver.most
        receiver.answers.set()
        answers = await asyncio.gather(other, *flood)

    assert most_while_hanging == 5
    assert receiver.most <= 8
    assert [one.status for one in answers] == [202] * 91
    assert receiver.requests == 91


async def test_connections_are_bounded_across_addresses():
    """However many destinations an organization has, at however many addresses, others find room at once."""
    limits = SenderLimits(all_connections_max=8)
    async with victim() as receiver, opening(receiver.port, limits) as open_channel:
        flood = [
            asyncio.create_task(channel.post(REQUEST))
            for channel in [open_channel("org_flood") for _ in range(30)]
            for _ in range(3)
        ]
        await until(lambda: receiver.requests == 4)
        other = asyncio.create_task(open_channel("org_other").post(REQUEST))
        await until(lambda: receiver.requests == 5)
        receiver.answers.set()
        answers = await asyncio.gather(other, *flood)

    assert receiver.most <= 8
    assert [one.status for one in answers] == [202] * 91


async def test_the_share_of_an_organization_is_named_as_the_reason():
    """An attempt that got no connection in time says that it is the organization's own connections that are in use."""
    limits = SenderLimits(all_connections_max=2)
    async with victim() as receiver, opening(receiver.port, limits, timeout_s=0.3) as open_channel:
        first = asyncio.create_task(open_channel("org_a").post(REQUEST))
        await until(lambda: receiver.requests == 1)
        refused = await open_channel("org_a").post(REQUEST)
        await first

    assert refused.kind is FaultKind.LIMIT
    assert refused.message == "all connections that one organization may have were in use for 0.3 s"


@pytest.mark.parametrize(
    "limits",
    [SenderLimits(all_connections_max=2), SenderLimits(address_connections_max=2)],
    ids=["all", "address"],
)
async def test_attempts_that_wait_cost_nothing(limits):
    """Attempts that wait for their organization's share do not wake each other; their channel says that it waits."""
    async with victim() as receiver, opening(receiver.port, limits) as open_channel:
        busy, waiting = open_channel("org_a"), open_channel("org_a")
        attempts = [asyncio.create_task(busy.post(REQUEST))]
        await until(lambda: receiver.requests == 1)
        asked = [0]
        check = waiting._dialer.dial

        async def dial(*args):
            asked[0] += 1
            return await check(*args)

        waiting._dialer.dial = dial
        attempts += [asyncio.create_task(waiting.post(REQUEST)) for _ in range(5)]
        await asyncio.sleep(0.2)
        asked_meanwhile, waits = asked[0], waiting.waits
        receiver.answers.set()
        answers = await asyncio.gather(*attempts)

    assert asked_meanwhile == 5
    assert (waits, waiting.waits) == (True, False)
    assert [one.status for one in answers] == [202] * 6


async def test_want_of_descriptors_is_waited_for(monkeypatch):
    """Where this process has no file descriptor left, an attempt waits for one, and names the reason if none comes."""
    loop, fails = asyncio.get_running_loop(), [2]
    connect = loop.create_connection

    async def create_connection(*args, **kwargs):
        if fails[0]:
            fails[0] -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return await connect(*args, **kwargs)

    monkeypatch.setattr(loop, "create_connection", create_connection)
    async with victim() as receiver:
        receiver.answers.set()
        async with opening(receiver.port, SenderLimits(), timeout_s=3) as open_channel:
            answer = await open_channel("org_a").post(REQUEST)
        fails[0] = 1000
        async with opening(receiver.port, SenderLimits(), timeout_s=0.3) as open_channel:
            refused = await open_channel("org_a").post(REQUEST)

    assert answer.status == 202
    assert refused.message == "this service cannot open another connection now: too many open files"


async def test_a_crowded_address_is_named_as_the_reason():
    """An attempt that got no place in time says so, without naming the address or other destinations."""
    limits = SenderLimits(address_connections_max=2)
    async with victim() as receiver, opening(receiver.port, limits, timeout_s=0.3) as open_channel:
        first = asyncio.create_task(open_channel("org_a").post(REQUEST))
        await until(lambda: receiver.requests == 1)
        refused = await open_channel("org_a").post(REQUEST)
        await first

    assert refused.kind is FaultKind.LIMIT
    assert refused.message == (
        "all connections that one organization may have to the address of name1.example were in use for 0.3 s"
    )


async def test_requests_to_one_address_are_paced_across_destinations():
    """Requests above the rate wait, on any channel; one that would wait for too long ends unsent."""
    async with victim() as receiver:
        receiver.answers.set()
        async with opening(receiver.port, SenderLimits(address_requests_per_s=100)) as open_channel:
            channels = [open_channel("org_a"), open_channel("org_b")]
            answers = await asyncio.gather(*(channels[n % 2].post(REQUEST) for n in range(30)))
            again = [await channels[0].post(REQUEST) for _ in range(3)]
        sent = receiver.requests
        async with opening(
            receiver.port, SenderLimits(address_requests_per_s=1), timeout_s=0.3
        ) as open_channel:
            first, late = await open_channel("org_a").post(REQUEST), await open_channel("org_b").post(REQUEST)

    assert all(isinstance(one, Response) for one in [*answers, *again])
    assert sent == 33
    assert first.status == 202
    assert (late.kind, late.message) == (
        FaultKind.LIMIT,
        "requests to this address are limited to 1 a second",
    )
    assert receiver.requests == 34


async def test_what_waits_for_its_turn_ends_with_its_channel():
    """Closing a channel ends a waiting request, and nothing of it is sent later."""
    async with victim() as receiver:
        receiver.answers.set()
        async with opening(receiver.port, SenderLimits(address_requests_per_s=2)) as open_channel:
            channel = open_channel("org_a")
            assert (await channel.post(REQUEST)).status == 202
            waiting = asyncio.create_task(channel.post(REQUEST))
            await asyncio.sleep(0)
            channel.close()
            ended = await waiting

    assert ended.kind is FaultKind.CLOSED
    assert receiver.requests == 1


async def test_waiting_for_a_place_takes_nothing_of_the_attempt_s_time():
    """An attempt that got its connection late has all its time for the answer."""
    limits = SenderLimits(all_connections_max=2)
    async with victim() as receiver, opening(receiver.port, limits, timeout_s=1.0) as open_channel:
        first = asyncio.create_task(open_channel("org_a").post(REQUEST))
        await until(lambda: receiver.requests == 1)
        second = asyncio.create_task(open_channel("org_a").post(REQUEST))
        await asyncio.sleep(0.7)
        receiver.answers.set()
        await first
        receiver.answers.clear()
        await until(lambda: receiver.requests == 2)
        await asyncio.sleep(0.6)
        receiver.answers.set()
        late = await second

    assert late.status == 202
    assert late.latency_us < 1_000_000


class Backlog:
    """A destination with more to send than its connections carry at once: each end of an attempt begins the next one."""

    def __init__(self, channel: Channel, count: int, window: int = 16) -> None:
        self.channel, self.left, self.window = channel, count, window
        self.under_way = self.limited = 0
        self.waits = False
        self.answers: list[Response] = []

    def begin(self) -> None:
        """Begin as many attempts as there is work and room for."""
        while self.left and self.under_way < self.window and not self.waits:
            self.left, self.under_way = self.left - 1, self.under_way + 1
            self.channel.start(REQUEST, self.ended, None)
            self.waits = self.channel.waits

    def ended(self, _: None, answer: Answer) -> None:
        """Note what came, and go on; what was not sent is sent again."""
        self.under_way -= 1
        self.waits = self.channel.waits
        if isinstance(answer, Response):
            self.answers.append(answer)
        else:
            assert answer.kind is FaultKind.LIMIT
            self.left, self.limited = self.left + 1, self.limited + 1
        self.begin()


@pytest.mark.parametrize("channels", [30, 100], ids=["enough places", "too few places"])
@pytest.mark.parametrize(
    "limits",
    [SenderLimits(all_connections_max=80), SenderLimits(address_connections_max=80)],
    ids=["all", "address"],
)
async def test_many_destinations_behind_one_address_use_their_connections_again(
    limits, channels, monkeypatch
):
    """Destinations that want more connections than there are keep theirs; each gets everything to a receiver that answers at once."""
    monkeypatch.setattr(shares, "TURN_S", 100.0)  # on a slow machine turns would make dials
    async with victim() as receiver, opening(receiver.port, limits) as open_channel:
        receiver.answers.set()
        backlogs = [Backlog(open_channel("org_a"), 40) for _ in range(channels)]
        for backlog in backlogs:
            backlog.begin()
        await until(lambda: all(len(one.answers) == 40 for one in backlogs))

    assert receiver.requests == 40 * channels
    assert len(receiver.writers) <= receiver.requests / 5, "a connection serves many requests"
    assert receiver.most <= 80


async def test_a_channel_does_not_wait_for_an_attempt_that_has_ended():
    """When the last attempt of a channel ends for a limit of our own, the channel says that another one may begin."""
    limits, said = SenderLimits(all_connections_max=2), []
    async with victim() as receiver, opening(receiver.port, limits, timeout_s=0.3) as open_channel:
        busy, other, waiting = (open_channel("org_a") for _ in range(3))
        attempts = [asyncio.create_task(busy.post(REQUEST))]
        await until(lambda: receiver.requests == 1)
        attempts.append(asyncio.create_task(other.post(REQUEST)))
        waiting.start(REQUEST, lambda _, answer: said.append((answer.kind, waiting.waits)), None)
        await until(lambda: said)
        await asyncio.gather(*attempts)

    assert said == [(FaultKind.LIMIT, False)]


async def test_want_of_descriptors_does_not_keep_attempts_spinning(monkeypatch):
    """However many attempts wait for a file descriptor, each tries no more often than it looks."""
    loop, tries = asyncio.get_running_loop(), [0]

    async def create_connection(*args, **kwargs):
        tries[0] += 1
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(loop, "create_connection", create_connection)
    async with victim() as receiver, opening(receiver.port, SenderLimits(), timeout_s=0.4) as open_channel:
        channel = open_channel("org_a")
        faults = await asyncio.gather(*(channel.post(REQUEST) for _ in range(20)))

    assert {one.kind for one in faults} == {FaultKind.LIMIT}
    assert tries[0] <= 40


class SlowNames(Names):
    """Resolves names that begin with dead when it is told to, and others at once."""

    def __init__(self) -> None:
        super().__init__(["127.0.0.1"])
        self.go_on = asyncio.Event()

    async def resolve(self, host: str, port: int) -> list[str]:
        if host.startswith("dead"):
            await self.go_on.wait()
        return await super().resolve(host, port)


@pytest.mark.parametrize("frees", [True, False], ids=["a place is free in time", "no place is free"])
async def test_waiting_for_a_place_to_look_a_name_up_is_no_attempt(monkeypatch, frees):
    """While an organization's look-ups hang, requests to another name of it wait, go out when a place is free, and are never blamed on it."""
    monkeypatch.setattr(look_ups, "PLACE_S", 0.02)
    names = SlowNames()
    async with victim() as receiver:
        receiver.answers.set()
        sender = AsyncSender(user_agent="Aegis/1", guard=LOOPBACK, resolver=names)
        dead = [
            asyncio.create_task(sender.look_ups.of("org").resolve(f"dead{number}", 443))
            for number in range(look_ups.ORGANIZATION_MAX)
        ]
        await asyncio.sleep(0)
        endpoint = Endpoint("http", "alive.example", receiver.port, "/", is_address=False)
        channel = sender.open(Route(endpoint, (), None, 10.0 if frees else 0.5, org_id="org"))
        waiting = [asyncio.create_task(channel.post(REQUEST)) for _ in range(5)]
        await until(lambda: channel.waits)
        if frees:
            names.go_on.set()
        answers = await asyncio.gather(*waiting)
        names.go_on.set()
        await asyncio.gather(*dead)
        channel.close()
        sender.close()

    if frees:
        assert [one.status for one in answers if isinstance(one, Response)] == [202] * 5
    else:
        assert [one.kind for one in answers if isinstance(one, Fault)] == [FaultKind.LIMIT] * 5
        assert receiver.requests == 0
