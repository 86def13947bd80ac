"""Two organizations on one store that fails: what happens to them in a simulation, and what must hold whatever happens.

One organization's receivers do what they like. The other one's accept everything, at once; so all that it may notice are the
faults of the store and of the workers, which both share.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec

from aegis_stream.control import organizations
from aegis_stream.control.deps import StoreDeps
from aegis_stream.domain.attempt import Answer, Response, RetryPolicy
from aegis_stream.domain.destination import Destination, DestinationSpec
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.domain.ids import DestinationId, ReplayId, new_id
from aegis_stream.domain.trace import Trace
from aegis_stream.errors import AegisError, Unavailable
from faults.store_faults import BASE, FailingVfs, Faults, open_failing
from support.said import Said
from support.settings import make_settings
from support.simulation import MOODS, Running, ScriptedReceiver, Simulation, status

VICTIM_NO = 70_000
"""The number of the organization that faults may be aimed at: no other value of a statement is equal to it."""
LEASE_S = 20
ATTEMPT_S = 10.0
"""How long a receiver may take for an answer, seconds."""
QUIET_S = 4500
"""Within so many seconds after the last fault everything has its outcome. A clock that is set may put off by an hour what the receiver put off."""
CALM_S = 120
"""So long nothing must happen at the end, seconds: longer than any pause before something is tried again."""


@dataclass
class Place:
    """A destination with its receiver, and what a test knows of it.

    Attributes:
        cursor: the highest that was seen.
        repeats_allowed: how often an event of it may have arrived once more, because a worker ended.
        refused: attempts of an event that its receiver did not accept.
    """

    destination: Destination
    receiver: ScriptedReceiver
    mood: str = "ok"
    paused: bool = False
    cursor: int = 0
    repeats_allowed: int = 0
    refused: int = 0
    disliked: set[int] = field(default_factory=set)

    @property
    def repeats(self) -> int:
        """How often events arrived again that had been accepted before."""
        return sum(count - 1 for count in self.receiver.accepted.values())


class Receivers:
    """Opens a channel to the receiver of a host."""

    def __init__(self) -> None:
        self.by_host: dict[str, ScriptedReceiver] = {}

    def open(self, route: Route, trace: Trace | None = None) -> Any:
        """Return a channel to where the route leads."""
        return self.by_host[route.endpoint.host].open(route, trace)


@dataclass
class Tenant:
    """An organization: its destinations, and the events that it was told are stored.

    Attributes:
        acknowledged: id → body; empty where a submission that was refused had stored it, with an earlier time.
        refused: ids of events that were rejected because of a fault; they may be stored or not.
    """

    organization: Any
    places: list[Place] = field(default_factory=list)
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    recorded_s: dict[str, float] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


class World(Simulation):
    """Two organizations with two destinations each, one store, any number of workers.

    Attributes:
        victim: the organization whose receivers fail.
        bystander: the organization whose receivers never do.
        troubled: spans of time in which the store or a worker failed, seconds of the event loop.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance, self.faults = Random(seed), Faults(Random(-seed))
        self._files = FailingVfs(self.faults)
        super().__init__(
            folder,
            seed=seed,
            settings=make_settings(lease_seconds=LEASE_S),
            look_s=1.0,
            open_database=open_failing(self.faults),
        )
        self.telemetry = Said()  # type: ignore[assignment] # it keeps what the workers say
        self.receiver = Receivers()  # type: ignore[assignment] # a sender all the same
        self.route_of = _route_of
        self.bells.loses = lambda: self.chance.random() < self.rings_lost
        self.rings_lost = 0.0
        self.troubled: list[tuple[float, float]] = []
        self.bystander = Tenant(self.org)
        self.observer = apsw.Connection(str(folder / "aegis.db"), vfs=BASE)
        self.observer.set_busy_timeout(1000)
        self.observer.execute(
            "UPDATE organizations SET org_no = ? WHERE org_no <> ?", (0, self.org.organization_no)
        )
        self.observer.execute(
            "INSERT INTO organizations (org_no, org_id, name, created_at) VALUES (?, 'org_before', 'x', 0)",
            (VICTIM_NO - 1,),
        )
        deps = StoreDeps(self.db, self.clock, self.random, False, 1000, lambda _: None, self.directory.sealer)
        self.victim = Tenant(self.run(organizations.create(deps, "Victim", "org_victim")).key)
        assert self.victim.organization.organization_no == VICTIM_NO
        self.run(
            self.directory.delete_destination(
                self.org.organization_no, self.destination.dst_id, self.clock.now()
            )
        )
        for tenant, name in ((self.bystander, "calm"), (self.victim, "moody")):
            for format_ in ("json", "ndjson"):
                tenant.places.append(self._add_place(tenant, f"{name}-{format_}.example.com", format_))

    def _add_place(self, tenant: Tenant, host: str, format_: Any) -> Place:
        spec = DestinationSpec(
            url=f"https://{host}/in", format=format_, retry=RetryPolicy(3, 10.0, 2.0, 60.0, 0.1)
        )
        dst_id = DestinationId(new_id("dst", self.clock.now(), self.random.random_bytes(10)))
        adding = self.directory.add_destination(
            tenant.organization.organization_no, dst_id, spec, self.clock.now(), 1000
        )
        made: Destination = self.run(adding)
        receiver = ScriptedReceiver(self.loop, lambda _: status(202), timeout_s=ATTEMPT_S)
        place = Place(made, receiver)
        if tenant is not self.bystander:
            receiver.answers = lambda event_ids: self._answer(place, event_ids)
        self.receiver.by_host[host] = receiver
        return place

    @property
    def places(self) -> list[Place]:
        """All destinations."""
        return [*self.bystander.places, *self.victim.places]

    def _answer(self, place: Place, event_ids: list[str]) -> Answer | None:
        disliked = any(int(one[1:]) % 17 in place.disliked for one in event_ids)
        answer = MOODS["picky" if disliked else place.mood]
        if not (isinstance(answer, Response) and answer.status < 300):
            place.refused += len(event_ids)
        return answer

    # ── what people do ──

    def record(self, tenant: Tenant, count: int) -> None:
        """Record events; those that are rejected because the store fails are remembered as such."""
        ids = [f"e{self.sent + number:06d}" for number in range(count)]
        self.sent += count
        items = [msgspec.json.encode({"event": {"id": one, "dataset": "sim"}, "n": 1}) for one in ids]
        self._record(tenant, ids, items)

    def record_again(self, tenant: Tenant) -> None:
        """Record what was rejected once more, as a client does."""
        ids = sorted(tenant.refused)
        if ids:
            self._record(
                tenant,
                ids,
                [msgspec.json.encode({"event": {"id": one, "dataset": "sim"}, "n": 1}) for one in ids],
            )

    def _record(self, tenant: Tenant, ids: list[str], items: list[bytes]) -> None:
        organization = tenant.organization
        try:
            recorded = self.run(self.ingest.record(organization.organization_no, organization.org_id, items))
        except Unavailable:
            tenant.refused.update(ids)
            return
        assert recorded.rejected == []
        tenant.refused.difference_update(ids)
        tenant.recorded_s |= dict.fromkeys(ids, self.loop.time())
        for at, one in enumerate(recorded.events):
            known = recorded.appended is not None and at in recorded.appended.duplicates
            tenant.acknowledged[one.event_id] = b"" if known else one.body.encode()

    def attempt(self, work: Any) -> bool:
        """Do something that the store may refuse at present; tells whether it did it."""
        try:
            self.run(work)
        except AegisError:
            return False
        self.bells.notify_changes()
        return True

    def pause(self, place: Place, *, enabled: bool) -> bool:
        """Pause or resume a destination."""
        destination = place.destination
        done = self.attempt(
            self.directory.change_destination(
                destination.organization_no,
                destination.dst_id,
                lambda spec: replace(spec, enabled=enabled),
                self.clock.now(),
                probe=True,
            )
        )
        place.paused = not enabled if done else place.paused
        return done

    def redrive_all(self, place: Place) -> bool:
        """Make all dead letters of a destination pending."""
        return self.attempt(self.directory.redrive(place.destination, None))

    def replay(self, place: Place) -> bool:
        """Send a part of the log once more."""
        head = self._row(
            "SELECT head FROM organizations WHERE org_no = ?", place.destination.organization_no
        )[0]
        if not head:
            return False
        first = self.chance.randint(1, head)
        replay_id = ReplayId(new_id("rpl", self.clock.now(), self.random.random_bytes(10)))
        last = self.chance.randint(first, head)
        return self.attempt(
            self.directory.add_replay(place.destination, replay_id, first, last, self.clock.now())
        )

    # ── what workers do ──

    def end_worker(self, one: Running, *, released: bool) -> None:
        """End a worker in the middle of what it does, as kill -9 does, or as the loss of its machine, which releases nothing."""
        self.allow_repeats()
        self.crash(one)
        if released:
            self.attempt(self.ledger.retire(one.worker.worker_id))

    def cursors(self) -> list[int]:
        """Return how far the bystander's destinations have come, as it is stored."""
        return [self.cursor_of(place) for place in self.bystander.places]

    def allow_repeats(self, since: list[int] | None = None) -> None:
        """Allow what is in flight or not settled to arrive once more, because a worker ends, or has lost its leases.

        Args:
            since: the cursors of the moment from which on it could settle nothing; None for this one.
        """
        for place, cursor in zip(self.bystander.places, since or self.cursors(), strict=True):
            place.repeats_allowed += len(self._ids(place, cursor))

    def allow_what_was_taken_over(self, since: list[int]) -> None:
        """Allow repeats if the store took no renewal for so long that another worker may take over, now or before.

        Args:
            since: the cursors of the moment from which on little could be settled.
        """
        now_s = self.loop.time()
        if len(self.running) > 1 or any(one.worker.leases.term.until_s <= now_s for one in self.running):
            self.allow_repeats(since)

    def trouble(self, seconds: float) -> None:
        """Learn that from now on, and for so long, the store or the workers are to blame for delays."""
        now_s = self.loop.time()
        self.troubled.append((now_s, now_s + seconds))

    # ── looking, beside the store that fails ──

    def _row(self, text: str, *values: Any) -> Any:
        return self.observer.execute(text, values).fetchone()

    def _rows(self, text: str, *values: Any) -> list[Any]:
        return self.observer.execute(text, values).fetchall()

    def cursor_of(self, place: Place) -> int:
        """Return the cursor of a destination as it is stored."""
        cursor: int = self._row("SELECT cursor FROM cursors WHERE dst_no = ?", place.destination.no)[0]
        return cursor

    def counts_of(self, place: Place) -> tuple[int, int, int]:
        """Return retries, dead letters and failed attempts as they are stored."""
        text = "SELECT retrying, dead_letters, failed_attempts FROM cursors WHERE dst_no = ?"
        found: tuple[int, int, int] = self._row(text, place.destination.no)
        return found

    def _ids(self, place: Place, after: int = 0, last: int = 1 << 39) -> list[str]:
        text = "SELECT event_id FROM events WHERE position > ? AND position <= ? ORDER BY position"
        base = place.destination.organization_no << 40
        return [row[0] for row in self._rows(text, base + after, base + last)]

    def check(self) -> None:
        """Assert what holds at every moment."""
        for one in self.running:
            assert not one.task.done(), f"a worker has ended: {one.task}"
        assert self.telemetry.named("destination.halted") == []
        for place in self.places:
            cursor = self.cursor_of(place)
            assert cursor >= place.cursor, "a cursor has moved back"
            place.cursor = cursor
            self._check_passed(place, cursor)

    def _check_passed(self, place: Place, cursor: int) -> None:
        excused = {
            row[0]
            for table in ("retries", "dead_letters")
            for row in self._rows(f"SELECT sequence FROM {table} WHERE dst_no = ?", place.destination.no)
        }
        for sequence, event_id in enumerate(self._ids(place, 0, cursor), 1):
            assert place.receiver.accepted[event_id] or sequence in excused, f"{event_id} was passed"

    def is_quiet(self) -> bool:
        """Tell whether everything is delivered, or a dead letter, and stored as such."""
        return all(
            self.cursor_of(place) == len(self._ids(place)) and self.counts_of(place)[0] == 0
            for place in self.places
        ) and not self._rows("SELECT 1 FROM replays WHERE finished_at IS NULL")

    # ── the end ──

    def heal(self) -> None:
        """End all faults."""
        self.faults.heal()
        self.rings_lost = 0.0
        for place in self.places:
            place.mood, place.disliked = "ok", set()
        for one in self.running:
            one.ledger.thaw()

    def settle_down(self) -> float:
        """Wait, without a new event, until all is quiet and stays so; returns how long that took, seconds."""
        began_s = quiet_s = self.loop.time()
        seen: Any = None
        while self.loop.time() - quiet_s < CALM_S:
            assert self.loop.time() - began_s < QUIET_S, f"it does not end quiet: {self.state()}"
            self.advance(5)
            self.check()
            now = [self._complaints(), [len(place.receiver.attempts) for place in self.places]]
            if now != seen or not self.is_quiet():
                seen, quiet_s = now, self.loop.time()
        return quiet_s - began_s

    def _complaints(self) -> int:
        """Return how much the workers have said about themselves; that the clock was set, retention says rightly."""
        return sum(not name.startswith("retention.") for name, _ in self.telemetry.lines)

    def check_ledger(self) -> None:
        """Assert that everything acknowledged is in the log, in order, and has arrived as it was recorded."""
        for tenant in (self.bystander, self.victim):
            base = tenant.organization.organization_no << 40
            rows = self._rows(
                "SELECT position - ?, event_id, body FROM events WHERE org_no = ? ORDER BY position",
                base,
                tenant.organization.organization_no,
            )
            assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
            stored = {row[1]: row[2].encode() for row in rows}
            assert len(stored) == len(rows)
            lost = [
                one
                for one, body in tenant.acknowledged.items()
                if (body or stored.get(one)) != stored.get(one, b"")
            ]
            assert lost == [], "acknowledged events are lost"
            assert stored.keys() - tenant.acknowledged.keys() <= tenant.refused
            for place in tenant.places:
                assert place.receiver.accepted.keys() == stored.keys(), self.state()
                assert all(stored[one] == body for one, body in place.receiver.bodies.items())

    def check_blame(self) -> None:
        """Assert that nothing is blamed on a receiver that it did not do, and that nothing repeats without a reason."""
        for place in self.bystander.places:
            assert self.counts_of(place)[1:] == (0, 0), "a receiver that accepts everything is blamed"
            assert place.repeats <= place.repeats_allowed, f"{place.repeats} repeats"
        for place in self.victim.places:
            assert self.counts_of(place)[2] <= place.refused, "more failed attempts than rejections"

    def late(self, lag_s: float) -> list[str]:
        """Return the bystander's events that came later than that, although neither store nor worker failed meanwhile."""
        found = []
        for place in self.bystander.places:
            arrived = _arrivals(place.receiver)
            for event_id, recorded_s in self.bystander.recorded_s.items():
                if arrived[event_id] - recorded_s > lag_s and not self._was_troubled(
                    recorded_s, arrived[event_id]
                ):
                    found.append(f"{event_id}: {arrived[event_id] - recorded_s:.3f} s")
        return found

    def _was_troubled(self, first_s: float, last_s: float) -> bool:
        return any(begin_s <= last_s and end_s >= first_s for begin_s, end_s in self.troubled)

    def state(self) -> str:
        """Describe where everything stands."""
        return "; ".join(
            f"{place.destination.spec.url}: cursor {self.cursor_of(place)} of {len(self._ids(place))}, "
            f"retries, dead letters, failed: {self.counts_of(place)}"
            for place in self.places
        )

    def close(self) -> None:
        """End everything."""
        self.faults.heal()
        self.observer.close()
        super().close()
        self._files.unregister()


def _arrivals(receiver: ScriptedReceiver) -> dict[str, float]:
    arrived: dict[str, float] = {}
    for one in receiver.attempts:
        for event_id in one.event_ids:
            arrived.setdefault(event_id, one.at_s)
    return arrived


def _route_of(destination: Destination) -> Route:
    host = destination.spec.url.split("/")[2]
    return Route(Endpoint("https", host, 443, "/in", False), (), None, ATTEMPT_S)
