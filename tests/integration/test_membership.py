"""Shares of several `aegis serve` on one database: what each of them takes for its share, and who reports the store's sums."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aegis_stream.api.counts import open_counts, share_counts
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.errors import Unavailable
from aegis_stream.serving.membership import FOLLOW_S, LEASE_S, RENEW_S, Membership
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.opening import Location
from aegis_stream.store.processes import new_process_id, registered
from aegis_stream.store.sqlite.database import SqliteDatabase
from support.api import FakeLog
from support.clock import SteadyClock
from support.simulation import SeededRandom


class WatchedDatabase:
    """A database that counts writes, and fails while it is broken."""

    def __init__(self, db, *, broken=False):
        self._db = db
        self.broken = broken
        self.writes = 0

    def peek(self, work):
        """Read at once, or not at all."""
        return None if self.broken else self._db.peek(work)

    async def read(self, work):
        """Read."""
        if self.broken:
            raise Unavailable("the test's database is gone")
        return await self._db.read(work)

    async def write(self, work):
        """Write."""
        self.writes += 1
        if self.broken:
            raise Unavailable("the test's database is gone")
        return await self._db.write(work)


class SharedLocation(Location):
    """The place of a database that several machines use."""

    @property
    def shared(self) -> bool:
        """Say so."""
        return True


@dataclass
class Nodes:
    """Several nodes on one database, whose turns a test takes.

    Args:
        shared: they are on machines of their own; False for one machine.
    """

    folder: Path
    shared: bool = True
    clock: SteadyClock = field(default_factory=SteadyClock)
    telemetry: FakeLog = field(default_factory=FakeLog)

    def __post_init__(self):
        self.db = SqliteDatabase(self.folder / "aegis.db", self.clock)
        self.db.migrate()
        location = SharedLocation if self.shared else Location
        self.location = location(DatabaseUrl(self.folder / "aegis.db"), self.folder / "bell")
        self._made = []

    def make(self, api_processes=1, db=None) -> Membership:
        """Start a node; it is registered at its first turn."""
        number = len(self._made)
        node = f"{number if self.shared else 0:010x}"
        fd = share_counts(api_processes)
        standing = open_counts(fd, 0).standing
        os.close(fd)
        made = Membership(
            db or self.db,
            self.location,
            node,
            new_process_id(node, Micros(number), SeededRandom(number)),
            api_processes,
            standing,
            self.clock,
            self.telemetry,
        )
        self._made.append(made)
        return made

    def close(self):
        """Close everything."""
        for one in self._made:
            one.close()
        self.db.close()

    async def pass_by(self, seconds, *living) -> None:
        """Let time pass while some nodes take their turns."""
        for _ in range(round(seconds / RENEW_S)):
            self.clock.at += int(RENEW_S * SECOND)
            for one in living:
                await one.renew()


@pytest.fixture
def nodes(tmp_path):
    """Make a database that several machines share."""
    made = Nodes(tmp_path)
    yield made
    made.close()


def shares(*members):
    """Return by how much each divides its limits."""
    return [one.standing.api_processes for one in members]


def reporters(nodes, *members):
    """Return which of them report the sums over the store."""
    return [at for at, one in enumerate(members) if one.standing.reports(nodes.clock.steady())]


async def test_all_nodes_together_keep_to_the_limit(nodes):
    """Each node divides by the API processes of all nodes, whichever came first."""
    one, two = nodes.make(2), nodes.make(3)
    await one.renew()
    alone = shares(one)
    await two.renew()
    await nodes.pass_by(RENEW_S, one, two)

    assert alone == [2]
    assert shares(one, two) == [5, 5]


async def test_a_node_that_leaves_gives_its_share_back_at_the_next_turn(nodes):
    """After an orderly end the others have the whole limit within a renewal."""
    one, two = nodes.make(), nodes.make()
    for member in (one, two):
        await member.renew()
    await two.leave()
    await nodes.pass_by(RENEW_S, one)

    assert shares(one) == [1]


async def test_a_node_that_is_lost_gives_its_share_back_within_ten_seconds(nodes):
    """A machine that is gone counts for a lease, and then no more; the others are not undivided before that."""
    one, two = nodes.make(), nodes.make()
    await nodes.pass_by(20, one, two)
    await nodes.pass_by(LEASE_S - RENEW_S, one)
    early = shares(one)
    await nodes.pass_by(2 * RENEW_S, one)

    assert (early, shares(one)) == ([2], [1])
    assert LEASE_S + RENEW_S + FOLLOW_S < 10


async def test_one_node_reports_the_sums_and_the_next_one_takes_over(nodes):
    """At any moment at most one node reports; when it is lost the one that was registered next does, within ten seconds."""
    members = [nodes.make() for _ in range(3)]
    await nodes.pass_by(10, *members)
    first = reporters(nodes, *members)
    seen = []
    for _ in range(5):
        await nodes.pass_by(RENEW_S, *members[1:])
        seen.append(reporters(nodes, *members))

    assert first == [0]
    assert all(len(one) <= 1 for one in seen)
    assert seen[-1] == [1]


async def test_a_node_that_cannot_renew_keeps_its_share_and_stops_reporting(nodes):
    """Without the database a node goes on with the share it has; what it reports ends before another one may begin."""
    failing = WatchedDatabase(nodes.db)
    one, two = nodes.make(db=failing), nodes.make()
    await nodes.pass_by(20, one, two)
    failing.broken = True
    await nodes.pass_by(30, one, two)

    assert shares(one, two) == [2, 1]
    assert reporters(nodes, one, two) == [1]


async def test_a_node_that_cannot_reach_the_database_says_why_once(nodes):
    """An outage is logged once with its reason, and so is the next one."""
    failing = WatchedDatabase(nodes.db)
    one = nodes.make(db=failing)
    for broken in (True, False, True):
        failing.broken = broken
        await nodes.pass_by(10, one)

    assert [line[:2] for line in nodes.telemetry.lines] == [("warning", "service.store_unavailable")] * 2
    assert all(values["reason"] for _, _, values in nodes.telemetry.lines)


async def test_after_an_outage_nobody_takes_the_shares_of_the_others(nodes):
    """When all have been silent for longer than a lease, the first to return waits a lease before it takes others for gone."""
    members = [nodes.make() for _ in range(3)]
    await nodes.pass_by(20, *members)
    nodes.clock.at += 3600 * SECOND  # nobody could renew
    await members[1].renew()
    returned = shares(members[1]), reporters(nodes, *members)
    await nodes.pass_by(RENEW_S, *members)
    await nodes.pass_by(2 * LEASE_S, members[1], members[2])

    assert returned == ([3], [])
    assert shares(*members[1:]) == [2, 2]
    assert reporters(nodes, *members[1:]) == [0]


async def test_a_node_that_starts_takes_nobody_for_gone_at_once(nodes):
    """A start right after an outage finds the time of all others over, and leaves them a lease to return."""
    one = nodes.make()
    await nodes.pass_by(10, one)
    nodes.clock.at += 60 * SECOND
    fresh = nodes.make()
    await fresh.renew()
    begun = shares(fresh)
    await nodes.pass_by(2 * LEASE_S, fresh)

    assert (begun, shares(fresh)) == ([2], [1])


async def test_on_one_machine_the_dead_are_told_from_the_living_at_once(tmp_path):
    """Two services on one data directory share the limits; when one is killed the other one has them at its next turn."""
    nodes = Nodes(tmp_path, shared=False)
    one, two = nodes.make(), nodes.make()
    for member in (one, two, one):
        await member.renew()
    both = shares(one, two), reporters(nodes, one, two)
    one.close()  # as the kernel does for a process that is killed
    await two.renew()

    assert both == ([2, 2], [0])
    assert (shares(two), reporters(nodes, two)) == ([1], [0])
    nodes.close()


async def test_on_one_machine_nothing_is_written_while_nothing_changes(tmp_path):
    """An idle service does not write to its disk for its registration."""
    nodes = Nodes(tmp_path, shared=False)
    counting = WatchedDatabase(nodes.db)
    one = nodes.make(db=counting)
    await one.renew()
    written = counting.writes
    await nodes.pass_by(3600, one)

    assert (written, counting.writes) == (1, 1)
    assert reporters(nodes, one) == [0]
    nodes.close()


async def test_a_service_whose_disk_is_full_reports_all_the_same(tmp_path):
    """On one machine the sums are reported although the registration cannot be written."""
    nodes = Nodes(tmp_path, shared=False)
    failing = WatchedDatabase(nodes.db, broken=True)
    one = nodes.make(4, db=failing)
    await one.renew()

    assert reporters(nodes, one) == [0]
    assert shares(one) == [4]
    nodes.close()


async def test_the_end_of_a_process_removes_its_registration(nodes):
    """Nothing is left of a process that ends in good order."""
    one = nodes.make()
    await one.renew()
    await one.leave()

    assert nodes.db.read_now(registered) == []
    assert list((nodes.folder / "bell").iterdir()) == []
