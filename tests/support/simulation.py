"""Runs a worker on a real store in simulated time: hours of outage in milliseconds, reproducible from a seed.

The event loop's clock jumps to the next timer as soon as nothing is left to do, the store works without threads, and the
receiver is a script. So a run is deterministic: it depends only on the test.
"""

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from aegis_stream.control import organizations
from aegis_stream.control.deps import StoreDeps
from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request, Response
from aegis_stream.domain.destination import Destination, DestinationSpec
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.domain.ids import DestinationId, Micros, new_id
from aegis_stream.domain.rollup import HOURS
from aegis_stream.domain.trace import Trace
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.settings import Settings
from aegis_stream.store import rollups
from aegis_stream.store.dead_letter_jobs import DeadLetterWork
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.nodes import new_worker_id
from aegis_stream.store.records import key_of
from aegis_stream.store.retention import Retention
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.telemetry import Log
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from aegis_stream.worker import Worker, WorkerDeps
from support.directory import Directory
from support.settings import make_settings
from support.sql import raw

EPOCH = 1_700_000_000_000_000
STORE_LATENCY_S = 0.002


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: when a real selector would sleep, the loop's clock advances."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        self.loop.turns += 1
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the simulation waits for something that cannot happen")
        if not ready and timeout:
            self.loop.seconds += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when all tasks wait.

    Attributes:
        turns: how often it has looked for something to do.
    """

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self.seconds, self.turns = 1000.0, 0
        super().__init__(selector)

    def time(self) -> float:
        return self.seconds


class SimClock:
    """The wall clock of a simulation; `skew_us` moves it ahead or back."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew_us = 0

    def now(self) -> Micros:
        return Micros(EPOCH + int(self._loop.seconds * 1e6) + self.skew_us)

    def steady(self) -> Micros:
        return Micros(int(self._loop.seconds * 1e6))


class SeededRandom:
    """Random numbers from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)

    def chance(self) -> float:
        return self._random.random()

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


@dataclass
class Attempt:
    """One request as the receiver got it."""

    at_s: float
    event_ids: list[str]
    body: bytes
    answer: Answer
    path_suffix: str = ""


def split_plain(request: Request) -> list[bytes]:
    """Return the events in a request of format json or ndjson, as they are stored."""
    if request.content_type != "application/x-ndjson":
        return [request.body]
    return [line for line in request.body.split(b"\n") if line]


@dataclass
class ScriptedReceiver:
    """Answers as the test says, and records everything.

    Args:
        answers: called with the ids in a request; returns the answer, or None to hang until the attempt times out.
        latency_of: how long the answer to a request with these ids takes, seconds; `latency_s` where it is not given.
        split: finds the events in a request, for formats other than json and ndjson.
    """

    loop: VirtualLoop
    answers: Callable[[list[str]], Answer | None]
    latency_s: float = 0.005
    latency_of: Callable[[list[str]], float] | None = None
    timeout_s: float = 10.0
    split: Callable[[Request], list[bytes]] = split_plain
    attempts: list[Attempt] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, bytes] = field(default_factory=dict)
    in_flight: int = 0
    in_flight_most: int = 0

    def open(self, route: Route, trace: Trace | None = None) -> "ScriptedChannel":
        self.route = route
        return ScriptedChannel(self)

    async def post(self, request: Request) -> Answer:
        events = self.split(request)
        event_ids = [msgspec.json.decode(event)["event"]["id"] for event in events]
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        try:
            answer = self.answers(event_ids)
            latency_s = self.latency_of(event_ids) if self.latency_of is not None else self.latency_s
            await asyncio.sleep(latency_s if answer is not None else self.timeout_s)
        finally:
            self.in_flight -= 1
        if answer is None:
            answer = timeout(self.timeout_s)
        self.attempts.append(Attempt(self.loop.time(), event_ids, request.body, answer, request.path_suffix))
        if isinstance(answer, Response) and 200 <= answer.status < 300:
            self.accepted.update(event_ids)
            self.bodies.update(zip(event_ids, events, strict=True))
        return answer

    def times(self, event_id: str) -> list[float]:
        """Return when this event was attempted, seconds of the loop."""
        return [one.at_s for one in self.attempts if event_id in one.event_ids]


class ScriptedChannel:
    """Attempts in flight to a scripted receiver; like the real channel, it ends them when it is closed."""

    waits = False

    def __init__(self, receiver: ScriptedReceiver) -> None:
        self._receiver = receiver
        self._under_way: dict[asyncio.Task[Answer], Callable[[Answer], None]] = {}

    def start(self, request: Request, ended: Callable[[Any, Answer], None], token: object) -> None:
        attempt = asyncio.get_running_loop().create_task(self._receiver.post(request))
        self._under_way[attempt] = lambda answer: ended(token, answer)
        attempt.add_done_callback(self._end)

    async def post(self, request: Request) -> Answer:
        return await self._receiver.post(request)

    def close(self) -> None:
        under_way, self._under_way = self._under_way, {}
        for attempt, ended in under_way.items():
            attempt.cancel()
            ended(Fault(FaultKind.CLOSED, "the channel was closed", 0))

    def _end(self, attempt: "asyncio.Task[Answer]") -> None:
        ended = self._under_way.pop(attempt, None)
        if ended is not None and not attempt.cancelled():
            ended(attempt.result())


def status(code: int, retry_after: str | None = None) -> Response:
    """An answer with this status."""
    return Response(code, b"", 5000, retry_after)


def timeout(seconds: float = 10.0) -> Fault:
    """No answer in time."""
    return Fault(FaultKind.TIMEOUT, f"no answer within {seconds:g} s", int(seconds * 1e6))


class Bells:
    """Notifier and bells in one; `deaf` loses every ring, `loses` says which rings are lost for one worker."""

    def __init__(self) -> None:
        self.ears: list[Callable[[int, int], None]] = []
        self.deaf = False
        self.loses: Callable[[], bool] = lambda: False

    def listen(self, _: str, on_ring: Callable[[int, int], None]) -> "_Ear":
        self.ears.append(on_ring)
        return _Ear(self, on_ring)

    def notify(self, organization_no: int, head: int) -> None:
        for ear in list(self.ears):
            if not self.deaf and not self.loses():
                ear(organization_no, head)

    def notify_changes(self) -> None:
        self.notify(0, 0)


@dataclass
class _Ear:
    bells: Bells
    on_ring: Callable[[int, int], None]
    hears: bool = True

    def close(self) -> None:
        self.bells.ears.remove(self.on_ring)


class FreezableLedger:
    """A ledger whose process can be stopped (SIGSTOP) and killed (SIGKILL): calls of a stopped one wait, calls of a killed one never return."""

    def __init__(self, ledger: StoredLedger) -> None:
        self._ledger = ledger
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.dead = False

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)

        async def call(*values: Any) -> Any:
            await self._thawed.wait()
            if self.dead:
                raise Unavailable("this process was killed")
            result = await method(*values)
            await asyncio.sleep(STORE_LATENCY_S)  # a commit takes time, and other tasks run meanwhile
            return result

        return call


def open_without_threads(path: Path, clock: SimClock) -> SqliteDatabase:
    """Open a database that works in the caller's thread."""
    return SqliteDatabase(path, clock, threads=False)


@dataclass
class Running:
    """A running worker."""

    worker: Worker
    ledger: FreezableLedger
    stop: asyncio.Event
    task: asyncio.Task[None]


MOODS: dict[str, Answer | None] = {
    "ok": status(202),
    "broken": status(500),
    "full": status(429, "30"),
    "locked": status(401),
    "picky": status(400),
    "gone": Fault(FaultKind.CONNECT, "connection refused", 300),
    "silent": None,
}
"""How a receiver answers: with a status, a fault, or never."""


class Simulation:
    """A store, an organization, a destination, a scripted receiver, and workers that start and stop."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        settings: Settings | None = None,
        spec: DestinationSpec | None = None,
        look_s: float = 0.25,
        open_database: Callable[[Path, SimClock], SqliteDatabase] = open_without_threads,
    ) -> None:
        self.loop, self.look_s = VirtualLoop(), look_s
        asyncio.set_event_loop(self.loop)
        self.clock, self.random, self.bells = SimClock(self.loop), SeededRandom(seed), Bells()
        self.settings = settings or make_settings(lease_seconds=20)
        self.db = open_database(folder / "aegis.db", self.clock)
        self.db.migrate()
        self.db._writer.connection.execute(
            "PRAGMA synchronous = OFF"
        )  # durability has its own tests; this is about logic
        self.log, self.ledger = StoredLog(self.db), StoredLedger(self.db)
        self.directory = Directory(self.db, Vault(GivenKeys((MasterKey(b"k" * 32),)), self.random))
        self.ingest = Ingest(self.log, self.clock, self.random, self.bells, 1 << 30)
        self.receiver = ScriptedReceiver(self.loop, lambda _: status(202))
        self.telemetry = Log("json", "error")
        self.retention = Retention(self.db)
        self.dead_letters = DeadLetterWork(self.db, self.clock, self.random, audit_actions=False)
        deps = StoreDeps(self.db, self.clock, self.random, False, 1000, lambda _: None, self.directory.sealer)
        self.org = self.run(organizations.create(deps, "Sim", "org_sim")).key
        self.spec = spec or DestinationSpec(
            url="https://sink.example.com/in", retry=self.settings.retry.policy
        )
        self.route = Route(Endpoint("https", "sink.example.com", 443, "/in", False), (), None, 10.0)
        self.route_of: Callable[[Destination], Route] = lambda _: self.route
        self.destination = self.run(self.add_destination(self.spec))
        self.running: list[Running] = []
        self.sent = 0

    # ── time ──

    def run(self, work: Any) -> Any:
        """Run a coroutine to its end, in simulated time."""
        return self.loop.run_until_complete(work)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(seconds))

    # ── doing things ──

    async def add_destination(self, spec: DestinationSpec) -> Destination:
        dst_id = DestinationId(new_id("dst", self.clock.now(), self.random.random_bytes(10)))
        made = await self.directory.add_destination(
            self.org.organization_no, dst_id, spec, self.clock.now(), 1000
        )
        self.bells.notify_changes()
        return made

    def append(self, count: int = 1, **event: Any) -> list[str]:
        """Record events; return their ids."""
        ids = [f"e{self.sent + number:06d}" for number in range(count)]
        self.sent += count
        items = [
            msgspec.json.encode({"event": {"id": one, "dataset": "sim"} | event, "n": number})
            for number, one in enumerate(ids)
        ]
        recorded = self.run(self.ingest.record(self.org.organization_no, self.org.org_id, items))
        assert recorded.accepted == count
        return ids

    def change(self, change: Callable[[DestinationSpec], DestinationSpec]) -> None:
        """Change the destination's configuration."""
        self.run(
            self.directory.change_destination(
                self.org.organization_no,
                self.destination.dst_id,
                change,
                self.clock.now(),
                probe=self.settings.delivery.auto_redrive,
            )
        )
        self.bells.notify_changes()

    def redrive(self, event_ids: list[str] | None = None) -> int:
        """Make dead letters pending again."""
        moved = self.run(self.directory.redrive(self.destination, event_ids))
        self.bells.notify_changes()
        return moved

    # ── workers ──

    def start(self) -> Running:
        """Start a worker."""
        ledger = FreezableLedger(self.ledger)
        worker = Worker(
            WorkerDeps(
                log=self.log,
                ledger=ledger,
                directory=self.directory,
                retention=self.retention,
                dead_letters=self.dead_letters,
                sender=self.receiver,
                clock=self.clock,
                random=self.random,
                telemetry=self.telemetry,
                listen=self.bells.listen,
                route_of=self.route_of,
                new_worker_id=lambda: new_worker_id("5141c0de00", self.clock.now(), self.random),
                settings=self.settings,
                look_s=self.look_s,
            )
        )
        stop = asyncio.Event()
        one = Running(worker, ledger, stop, self.loop.create_task(worker.run(stop)))
        self.running.append(one)
        self.advance(0.01)
        return one

    def stop(self, one: Running) -> None:
        """Stop a worker as SIGTERM does."""
        one.stop.set()
        self.run(one.task)
        self.running.remove(one)

    def kill(self, one: Running) -> None:
        """Stop a worker as SIGKILL does: it settles nothing more. Its socket is gone, so its leases are released immediately."""
        self.crash(one)
        self.run(self.ledger.retire(one.worker.worker_id))

    def crash(self, one: Running) -> None:
        """Stop a worker as the loss of its machine does: its leases must expire."""
        one.ledger.dead = True
        one.task.cancel()
        self.run(asyncio.gather(one.task, return_exceptions=True))
        self.running.remove(one)

    def close(self) -> None:
        """End everything."""
        for one in list(self.running):
            one.ledger.thaw()
            self.crash(one)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.db.close()
        asyncio.set_event_loop(None)
        self.loop.close()

    # ── looking ──

    def progress(self) -> Any:
        return self.run(self.directory.progress(self.destination))

    def history(self) -> tuple[int, int]:
        """Return events delivered and attempts failed, by the hours of the destination's history."""
        key, ever = key_of(self.destination), (Micros(0), Micros(2**60))
        found = self.db.read_now(lambda unit: rollups.between(unit, key, HOURS, HOURS.step_s, ever))
        return sum(one.delivered for one in found), sum(one.failures for one in found)

    def retries(self) -> dict[int, tuple[int, int]]:
        """Return sequence → (attempts, due_at) of all retries."""
        rows = self.db.read_now(
            lambda db: raw(db).rows("SELECT sequence, attempts, due_at FROM retries ORDER BY sequence")
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def dead(self) -> list[int]:
        """Return the sequences of all dead letters."""
        return [
            row[0]
            for row in self.db.read_now(
                lambda db: raw(db).rows("SELECT sequence FROM dead_letters ORDER BY sequence")
            )
        ]

    def attempts(self) -> dict[int, list[tuple[int, str]]]:
        """Return sequence → (number, state) of every attempt in the store, in their order."""
        found: dict[int, list[tuple[int, str]]] = {}
        for first, last, number, state in self.db.read_now(
            lambda db: raw(db).rows(
                "SELECT first_sequence, last_sequence, attempt, state FROM attempts ORDER BY attempt_no"
            )
        ):
            for sequence in range(first, last + 1):
                found.setdefault(sequence, []).append((number, state))
        return found

    def event_ids(self) -> dict[int, str]:
        """Return sequence → id of the whole log."""
        return self.run(self.log.event_ids(self.org.organization_no, 1, 2**39))
