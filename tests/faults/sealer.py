"""Kills of the sealer: at random and at named points, under load, on both databases, in the modes sealed and stream.

A test process records events; a worker delivers those of one organization to a receiver; a sealer is killed again and again.
What was signed is collected all the time: from checkpoints.log, from the trees, from the stream. sealed_logs.py judges.
"""

import asyncio
import itertools
import signal
import time
from dataclasses import dataclass, field
from random import Random

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.ids import DestinationId, OrganizationId
from aegis_stream.domain.organization import ProofMode
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store import organizations, tree
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.stores import Stores, open_stores
from faults.forked import FILE_CALLS, ROLES, SEALER_POINTS, DieAt, Forker, Process
from faults.frame import Fault, Run
from faults.oracles import measure
from faults.receiver import CarelessReceiver, careless_receiver
from faults.sealed_logs import Recorded, Seen, judge, noted_in
from support.api import FakeLog
from support.directory import Directory
from support.postgres import shared_server
from support.service import OPERATOR_KEY, service_environment
from support.settings import make_settings
from support.stores import append_to, event

EVENTS = 10
"""Most events of a seal, so that a few dozen are a catch-up of several seals."""
SETTINGS = {
    "AEGIS_LOG_FORMAT": "json",
    "AEGIS_PROOF": "true",
    "AEGIS_PROOF_SECONDS": "1",
    "AEGIS_PROOF_EVENTS": str(EVENTS),
}
RETRY = RetryPolicy(max_attempts=20, base_seconds=0.05, max_seconds=1.0)
POINT_S = 3.0
"""How long a sealer may take to reach the point at which it kills itself; then it is killed anyway."""
CALLS_MAX = 4
"""A point is reached at its first call, or a later one: in the middle of a catch-up."""
FILE_CALLS_MAX = 40
BATCHES_MAX = 8
"""Most batches that are recorded while one sealer runs: a sealer that is slow to start must not make the judging slow."""
QUIET_S = 90.0
STOP_S = 10.0
LATEST = 3
"""So many of the newest organizations get events, beside the two that are there from the beginning."""


@dataclass
class Site:
    """Organizations whose logs are sealed by a process that is killed.

    Attributes:
        logs: by the organization's id; the first one is delivered to the receiver.
        seen: every checkpoint that anybody could see.
    """

    run: Run
    forker: Forker
    receiver: CarelessReceiver
    stores: Stores
    environment: dict[str, str]
    logs: dict[str, Recorded] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)

    def __post_init__(self) -> None:
        self.log = self.run.folder / "service.log"
        self.log.touch()

    async def begin(self) -> None:
        """Make an organization in each mode, and deliver the log of the first."""
        delivered = await self.add_organization(ProofMode.STREAM)
        await self.add_organization(ProofMode.SEALED)
        spec = DestinationSpec(url=self.receiver.url + "json", format="json", retry=RETRY)
        directory, now = Directory.of(self.stores), SystemClock().now()
        await directory.add_destination(delivered.no, DestinationId("dst_a"), spec, now, 10)
        self.worker = self.start("worker")

    async def add_organization(self, mode: ProofMode) -> Recorded:
        """Make an organization whose log is sealed in a mode."""
        org_id, now = OrganizationId(f"org_{len(self.logs)}"), SystemClock().now()
        db = self.stores.db
        no = await db.write(lambda unit: organizations.add(unit, org_id, org_id, now))
        await db.write(lambda unit: tree.set_mode(unit, no, mode))
        self.logs[org_id] = Recorded(no, org_id, mode)
        return self.logs[org_id]

    def start(self, role: str, die_at: DieAt | None = None) -> Process:
        """Start a process."""
        return self.forker.start(ROLES[role], self.environment, self.log, die_at)

    async def append(self, most: int) -> None:
        """Record events of an organization, 1 to `most`."""
        chance, logs = self.run.random, list(self.logs.values())
        log = chance.choice(logs[:2] + logs[2:][-LATEST:])
        count = chance.randint(1, most)
        batch = [event(f"e{len(log.acknowledged) + number}") for number in range(count)]
        await append_to(self.stores.log, log.no, batch, SystemClock().now())
        log.acknowledged |= {one.event_id: one.body.encode() for one in batch}

    async def kill_one(self, die_at: DieAt | None) -> None:
        """Start a sealer, record while it works, and kill it: where it kills itself, or after a while.

        Args:
            die_at: None for any moment.
        """
        chance = self.run.random
        if die_at is not None and "a key" in die_at.place:
            await self.add_organization(chance.choice((ProofMode.STREAM, ProofMode.SEALED)))
            die_at = DieAt(die_at.place, 1)
        for log in list(self.logs.values())[-LATEST:]:
            batch = [event(f"e{len(log.acknowledged) + number}") for number in range(EVENTS)]
            await append_to(self.stores.log, log.no, batch, SystemClock().now())
            log.acknowledged |= {one.event_id: one.body.encode() for one in batch}
        await self.append(5 * EVENTS)
        sealer = self.start("sealer", die_at)
        until_s = time.monotonic() + (POINT_S if die_at is not None else chance.uniform(0.001, 0.5))
        for batches in itertools.count():
            if (ended := sealer.wait(0.02)) or time.monotonic() > until_s:
                break
            if batches < BATCHES_MAX:
                await self.append(EVENTS)
            await self.look()
        if die_at is not None:
            self.run.add(**{"at_points" if ended else "past_points": 1})
        sealer.kill()
        await self.look()
        self.run.add(runs=1)

    async def look(self) -> None:
        """Collect what anybody can see that was signed."""
        for origin, size, root in noted_in(self.run.folder / "data"):
            self.seen.add(origin, size, root)
        for log in self.logs.values():
            found = await self.stores.db.read(lambda unit, no=log.no: tree.newest_tree(unit, no))
            if found is not None and found.note:
                self.seen.add_note(found.note)

    async def end(self) -> None:
        """Let a sealer and the worker finish, end them in good order, and judge."""
        sealer = self.start("sealer")
        began_s = time.monotonic()
        while not await self._is_quiet() and time.monotonic() < began_s + QUIET_S:
            sealer.wait(0.05)
        self.run.recovered(time.monotonic() - began_s)
        quiet = await self._is_quiet()
        self.run.expect(quiet, f"not everything is sealed and delivered after {QUIET_S:g} s")
        measure(self.run, [sealer.pid], self.run.folder / "data" / "aegis.db")
        for one in (sealer, self.worker):
            one.send(signal.SIGTERM)
            self.run.expect(one.wait(STOP_S), f"a process did not end within {STOP_S:g} s of SIGTERM")
        await self.look()
        said = self.log.read_text(errors="replace")
        for word in ("proof.refused", "Traceback"):
            self.run.expect(word not in said, f"the log says {word}: {said.partition(word)[2][:500]}")
        delivered = self.receiver.bodies("/json")
        for number, log in enumerate(self.logs.values()):
            await judge(self.run, self.stores, self.seen, log, delivered if number == 0 else None)

    async def _is_quiet(self) -> bool:
        """Tell whether only the checkpoint events of the last seals are unsealed, and everything is delivered."""
        states = await self.stores.db.read(lambda unit: tree.seal_states(unit, 0))
        if any(one.size is None or one.unsealed > (one.own or 0) for one in states):
            return False
        return len(set(self.receiver.bodies("/json"))) >= states[0].head


def _play(run: Run, database: str = "", file_calls: tuple[str, ...] = ()) -> None:
    """Open a store, start what is needed, and kill sealers.

    Args:
        database: URL of a PostgreSQL database; "" for a file.
    """
    with Forker() as forker, careless_receiver(Random(run.seed)) as receiver:
        more = {"AEGIS_DATABASE_URL": database} if database else {}
        settings = make_settings(
            data_dir=run.folder / "data",
            operator_key=OPERATOR_KEY,
            database_url=DatabaseUrl.parse(database) if database else None,
        )
        stores = open_stores(settings, FakeLog())
        try:
            environment = service_environment(run.folder, **SETTINGS, **more)
            one = Site(run, forker, receiver, stores, environment)
            asyncio.run(_kill(one, [*SEALER_POINTS, *file_calls, ""]))
        finally:
            stores.close()


async def _kill(one: Site, places: list[str]) -> None:
    """Kill a sealer in each round: at every named point in turn, in file-system calls, and at any moment ("")."""
    run = one.run
    run.random.shuffle(places)
    await one.begin()
    for number in range(run.rounds):
        place = places[number % len(places)]
        most = FILE_CALLS_MAX if place in FILE_CALLS else CALLS_MAX
        await one.kill_one(DieAt(place, run.random.randint(1, most)) if place else None)
    run.expect(run.counts.get("at_points", 0) > run.rounds // 5, "few sealers reached their point")
    await one.end()


def kill_sealer(run: Run) -> None:
    """Kill a sealer on a file, in the calls to its file system as well."""
    _play(run, file_calls=FILE_CALLS[:2])


def kill_sealer_on_postgres(run: Run) -> None:
    """Kill a sealer on PostgreSQL."""
    with shared_server().database() as url:
        _play(run, url)


FAULTS = (
    Fault(
        "sealer",
        "after SIGKILL of the sealer at any moment and at any step of a seal no size of a log is signed with two roots, the manifests in "
        "the stream have no gap, and what the receiver has verifies as complete",
        kill_sealer,
        rounds=26,
        seconds=300,
    ),
    Fault(
        "sealer-postgres",
        "the same on PostgreSQL",
        kill_sealer_on_postgres,
        rounds=22,
        seconds=300,
    ),
)
