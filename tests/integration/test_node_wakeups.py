"""Wake-ups between nodes on one PostgreSQL database: who hears what, how often, and what a lost connection costs."""

import asyncio
from contextlib import ExitStack

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.postgres.wakeups import (
    CHANNEL,
    PAYLOAD_BYTES_MAX,
    NodeListener,
    NodeNotifier,
    heads_of,
    payloads,
)
from support.pgbouncer import running_pgbouncer
from support.postgres import shared_server
from support.simulation import SeededRandom

GONE = DatabaseUrl.parse("postgresql://nobody@127.0.0.1:9/none?connect_timeout=1")


class Ear:
    """Remembers rings, and lets a test wait for one."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def __call__(self, organization_no: int, head: int) -> None:
        self.heard.append((organization_no, head))

    async def hears(self, ring: tuple[int, int]) -> None:
        async with asyncio.timeout(60):
            while ring not in self.heard:
                await asyncio.sleep(0.01)


async def until(condition) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def url():
    """Make an empty database."""
    with shared_server().database() as made:
        yield DatabaseUrl.parse(made)


@pytest.fixture
async def nodes(tmp_path, url):
    """Make what opens notifiers and listeners of nodes, each in its own directory; close them at the end."""
    with ExitStack() as stack:

        class Nodes:
            def notifier(self, node: str) -> NodeNotifier:
                made = NodeNotifier(url, tmp_path / node, SeededRandom(1))
                stack.callback(made.close)
                return made

            def listener(self, node: str, ear: Ear, at: DatabaseUrl = url) -> NodeListener:
                made = NodeListener(at, tmp_path / node, f"wrk_{node}", ear, SeededRandom(1))
                stack.callback(made.close)
                return made

        yield Nodes()


async def test_a_worker_of_another_node_hears(nodes):
    """What is told on one node wakes the workers of the others: grown logs, and changed destinations."""
    ear = Ear()
    listener = nodes.listener("one", ear)
    await until(lambda: listener.hears)
    notifier = nodes.notifier("two")

    notifier.notify(7, 3)
    notifier.notify(8, 1)
    notifier.notify_changes()

    for ring in ((7, 3), (8, 1), (0, 0)):
        await ear.hears(ring)


async def test_a_worker_of_the_same_node_hears_once(nodes):
    """On one machine the socket alone wakes a worker: the database tells it nothing that it has heard already."""
    ear = Ear()
    listener = nodes.listener("one", ear)
    await until(lambda: listener.hears)
    nodes.notifier("one").notify(7, 3)
    await ear.hears((7, 3))

    nodes.notifier("two").notify(7, 4)
    await ear.hears((7, 4))

    assert ear.heard == [(7, 3), (7, 4)]


async def test_many_rings_of_a_moment_are_few_notifications(nodes, url):
    """A process that commits often notifies the database at most every few milliseconds, with the newest head of each log."""
    with psycopg.connect(url.conninfo(), autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        notifier = nodes.notifier("one")
        for head in range(1, 2001):
            notifier.notify(head % 3 + 1, head)
            if head % 100 == 0:
                await asyncio.sleep(0)
        told = []
        for one in connection.notifies(timeout=60):
            told.append(heads_of(one.payload, but=""))
            if 2000 in told[-1].values():
                break

    newest = {no: head for one in told for no, head in one.items()}
    assert newest == {1: 1998, 2: 1999, 3: 2000}
    assert len(told) < 200


async def test_a_connection_that_is_cut_is_made_again(nodes):
    """After the server has cut all connections both sides are back by themselves."""
    ear = Ear()
    listener = nodes.listener("one", ear)
    notifier = nodes.notifier("two")
    await until(lambda: listener.hears)
    notifier.notify(7, 1)
    await ear.hears((7, 1))

    shared_server().terminate_backends()
    await until(lambda: not listener.hears)
    await until(lambda: listener.hears)
    head = 1
    async with asyncio.timeout(60):
        while (7, head) not in ear.heard or head == 1:
            head += 1
            notifier.notify(7, head)
            await asyncio.sleep(0.2)


async def test_a_worker_that_cannot_be_woken_says_so(nodes, url):
    """Behind a pooler, and without the database, a worker knows that it must look more often."""
    deaf = nodes.listener("one", Ear(), GONE)
    with running_pgbouncer(shared_server()) as pooler:
        behind = nodes.listener("two", Ear(), DatabaseUrl.parse(pooler.url(url.safe().rpartition("/")[2])))
        await asyncio.sleep(1.0)
        hears = deaf.hears, behind.hears

    assert hears == (False, False)


async def test_telling_costs_the_event_loop_nothing_when_the_database_is_gone(tmp_path):
    """Without the database the calls return at once, and the workers of this machine are woken."""
    ear = Ear()
    listener = NodeListener(GONE, tmp_path, "wrk_1", ear, SeededRandom(1))
    notifier = NodeNotifier(GONE, tmp_path, SeededRandom(1))
    began_s = asyncio.get_running_loop().time()
    for head in range(1, 1001):
        notifier.notify(1, head)
    took_s = asyncio.get_running_loop().time() - began_s

    await ear.hears((1, 1000))
    notifier.close()
    listener.close()

    assert took_s < 1


@given(st.dictionaries(st.integers(0, 2**22), st.integers(0, 2**40), max_size=2000))
def test_texts_tell_all_heads_within_the_limit(heads):
    """However many logs have grown, each text is within the server's limit, and together they tell everything."""
    texts = list(payloads("0123456789", heads))

    assert all(len(text) <= PAYLOAD_BYTES_MAX for text in texts)
    told: dict[int, int] = {}
    for text in texts:
        told |= heads_of(text, but="another")
        assert heads_of(text, but="0123456789") == {}
    assert told == heads


@pytest.mark.parametrize("text", ["", "x", "node 1", "node 1:2:3", "node a:1", "node 1:1  2:2"])
def test_a_text_of_somebody_else_tells_nothing(text):
    """Whoever may use the database can notify; what is not of our form wakes nobody."""
    assert heads_of(text, but="own") == {}
