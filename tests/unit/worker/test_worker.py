"""What a worker does when the store fails for a moment, or a bug is met, in simulated time on a real store."""

import asyncio
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from aegis_stream.delivery.health import HealthTracker
from aegis_stream.delivery.pages import PEEK_EVENTS_MAX, SharedPages
from aegis_stream.delivery.read_ahead import ReadAhead
from aegis_stream.errors import StoreReplaced, Unavailable
from aegis_stream.worker.loader import BUG_PAUSE_S, READ_RETRY_FIRST_S, READ_RETRY_LONGEST_S
from support.said import Said
from support.simulation import Simulation

STORE_FAILED = Unavailable("the store cannot be read")


class Failing:
    """Passes everything on, but one method raises as long as it is told to.

    Attributes:
        left: how often it still raises.
        calls: how often the method was called.
    """

    def __init__(self, of: Any, method: str, left: int, error: Exception = STORE_FAILED) -> None:
        self._of, self._method, self._error = of, method, error
        self.left, self.calls = left, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if name != self._method:
            return found

        async def call(*given: Any, **named: Any) -> Any:
            self.calls += 1
            if self.left > 0:
                self.left -= 1
                raise self._error
            return await found(*given, **named)

        return call


@dataclass
class Slow:
    """A port one of whose methods takes some seconds."""

    of: Any
    method: str
    seconds: float

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.of, name)
        if name != self.method:
            return found

        async def call(*given: Any, **named: Any) -> Any:
            await asyncio.sleep(self.seconds)
            return await found(*given, **named)

        return call


@pytest.fixture
def sim(tmp_path):
    """Return a simulation that ends with the test."""
    made = Simulation(tmp_path)
    made.telemetry = Said()
    yield made
    made.close()


def test_a_worker_that_cannot_register_tries_again(sim):
    """On a full disk a worker waits for room instead of ending: as soon as the store takes a write, it delivers."""
    sim.append(3)
    sim.ledger = Failing(sim.ledger, "enlist", left=5)

    sim.start()
    sim.advance(10)

    assert sim.progress().delivered == 3
    assert len(sim.telemetry.named("worker.store_unavailable")) == 5


def test_a_worker_that_cannot_claim_at_first_tries_again(sim):
    """A store that fails just after a worker has registered ends no worker: it claims when the store is back."""
    sim.append(3)
    sim.ledger = Failing(sim.ledger, "claim", left=5)

    one = sim.start()
    sim.advance(10)

    assert not one.task.done()
    assert sim.progress().delivered == 3
    assert len(sim.telemetry.named("worker.store_unavailable")) == 5


def test_a_worker_that_cannot_listen_at_first_tries_again(sim):
    """Without a descriptor for its wake-ups a worker waits; the attempts leave no worker behind that would have a share."""
    failures = [STORE_FAILED] * 5

    class Ears:
        def listen(self, *given: Any) -> Any:
            if failures:
                raise failures.pop()
            return bells.listen(*given)

        def __getattr__(self, name: str) -> Any:
            return getattr(bells, name)

    bells, sim.bells = sim.bells, Ears()
    sim.append(3)

    sim.start()
    sim.advance(10)

    assert sim.progress().delivered == 3
    assert len(sim.run(sim.ledger.workers())) == 1


def test_a_worker_that_registers_without_knowing_it_leaves_nothing(sim):
    """A registration that is stored and reported as failed is removed, so that it has no share of the destinations."""

    class Unsure:
        """A ledger that enlists, and says that it failed, three times."""

        left = 3

        async def enlist(self, *given: Any) -> None:
            await ledger.enlist(*given)
            if self.left:
                self.left -= 1
                raise STORE_FAILED

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

    ledger, sim.ledger = sim.ledger, Unsure()
    sim.append(3)

    sim.start()
    sim.advance(6)

    assert sim.progress().delivered == 3
    assert len(sim.run(ledger.workers())) == 1


def test_a_destination_is_handed_over_with_all_its_outcomes(sim):
    """While the store takes no outcomes, another worker that joins gets no destination that has some, so nothing repeats."""
    one = sim.start()
    sim.run(sim.add_destination(sim.spec))
    sim.append(1)
    sim.advance(1)
    one.worker._settler.ledger = Failing(one.ledger, "settle", left=20)
    sim.append(5)
    sim.advance(1)

    another = sim.start()
    sim.advance(60)

    assert set(sim.receiver.accepted.values()) == {2}, "once for each destination"
    assert len(another.worker.roster) == 1


@pytest.mark.parametrize("known", [False, True], ids=["a new one", "one that a worker gives up"])
def test_whoever_is_claimed_hides_no_event_from_the_others(sim, monkeypatch, known):
    """A destination whose claim is the first to see that the log has grown keeps no event from the others of its organization."""
    if known:
        sim.run(sim.add_destination(sim.spec))
        first, second = sim.start(), sim.start()
        sim.advance(3 * sim.settings.delivery.lease_seconds)
        assert [len(one.worker.roster) for one in (first, second)] == [1, 1]
    else:
        first = sim.start()
    sim.advance(1.1)  # the next look at the store comes behind the claim
    with monkeypatch.context() as silent:
        silent.setattr(sim.bells, "notify", lambda *_: None)  # it comes behind the claim
        sim.append(1)

    if known:
        sim.kill(second if sim.destination.no in first.worker.roster else first)
        sim.run(sim.running[0].worker.leases.claim())
    else:
        sim.run(sim.add_destination(sim.spec))
    sim.advance(1)

    assert sim.progress().delivered == 1


def test_a_worker_that_joins_gets_its_share_in_small_steps(sim):
    """Between two renewals a worker hands over a tenth of its destinations at most, until the shares are even."""
    for _ in range(39):
        sim.run(sim.add_destination(sim.spec))
    one = sim.start()
    sim.advance(1)
    another = sim.start()
    sim.advance(1)
    held = [len(one.worker.roster)]
    for _ in range(9):
        sim.advance(sim.settings.delivery.lease_seconds / 3)
        held.append(len(one.worker.roster))

    moves = [before - after for before, after in pairwise([40, *held])]
    assert max(moves) <= 4
    assert (len(one.worker.roster), len(another.worker.roster)) == (20, 20)


def test_workers_that_come_and_go_move_no_more_than_one_that_stays(sim):
    """However often others join and end between two renewals, a worker hands over a tenth of its destinations once."""
    for _ in range(39):
        sim.run(sim.add_destination(sim.spec))
    one = sim.start()
    sim.advance(1)
    held = []
    for _ in range(4):
        other = sim.start()
        sim.advance(1)
        held.append(len(one.worker.roster))
        sim.kill(other)
        sim.advance(0.5)

    assert held == [36, 40, 40, 40]


def test_a_worker_that_stops_hands_over_at_once_what_has_nothing_in_flight(sim):
    """While one destination takes seconds to answer, another worker delivers to all others; then it has that one as well."""
    sim.receiver.latency_of = lambda event_ids: 6.0 if "e000000" in event_ids else 0.005
    one = sim.start()
    sim.append(1)
    sim.advance(0.5)
    for _ in range(3):
        sim.run(sim.add_destination(sim.spec))
    sim.advance(0.5)
    another = sim.start()
    one.stop.set()
    sim.advance(0.5)
    sim.append(1)
    sim.advance(0.5)
    early = one.task.done(), dict(sim.receiver.accepted), len(another.worker.roster)
    sim.advance(6)

    assert early == (False, {"e000001": 3}, 3)
    assert one.task.done()
    assert dict(sim.receiver.accepted) == {"e000000": 1, "e000001": 4}
    assert len(another.worker.roster) == 4
    sim.running.remove(one)


def test_a_worker_that_stops_stores_what_it_knows(sim):
    """A store that fails for a moment while a worker stops costs no repeats: what is known is stored when it is back."""
    one = sim.start()
    sim.append(1)
    sim.advance(1)
    one.worker._settler.ledger = Failing(one.ledger, "settle", left=3)
    sim.append(5)
    sim.advance(0.1)

    sim.stop(one)
    sim.start()
    sim.advance(5)

    assert set(sim.receiver.accepted.values()) == {1}


@pytest.mark.parametrize("ends", ["stops", "loses its leases"])
def test_a_worker_that_ends_waits_for_no_answer(sim, ends):
    """Answers that are still to be shown to people delay neither the end of a worker nor its start under a new name."""

    class Keeper:
        closed = False

        def close(self) -> None:
            self.closed = True

    one, keeper = sim.start(), Keeper()
    sim.advance(1)
    one.worker.loader.shared = replace(one.worker.loader.shared, answers=keeper)

    if ends == "stops":
        sim.stop(one)
    else:
        one.worker.leases.lost.set()
        sim.advance(1)

    assert keeper.closed


@pytest.mark.parametrize("after_s", [0.3, 0.99, 1.0])
def test_a_worker_that_stops_while_it_reads_a_destination_sends_nothing(sim, after_s):
    """A destination whose configuration is read while the worker stops gets no attempts: nobody would settle them."""
    sim.append(20)
    sim.directory = Slow(
        sim.directory, "destination", 0.5
    )  # it is read twice: after the claim, and because it is new
    requests, answers = [], sim.receiver.answers
    sim.receiver.answers = lambda event_ids: (requests.append(event_ids), answers(event_ids))[1]
    one = sim.start()
    sim.advance(after_s)

    sim.stop(one)
    sent = len(requests)
    sim.start()
    sim.advance(5)

    assert sent == 0
    assert set(sim.receiver.accepted.values()) == {1}


def test_a_destination_that_cannot_be_read_is_read_again(sim):
    """After a read that failed nobody need wake the destination: it is read again by itself, and its events arrive."""
    sim.append(3)
    sim.directory = Failing(sim.directory, "destination", left=3)
    sim.bells.deaf = True

    sim.start()
    sim.advance(READ_RETRY_FIRST_S * (1 + 2 + 4) + 2)

    assert sim.progress().delivered == 3
    assert len(sim.telemetry.named("destination.unreadable")) == 3


def test_a_destination_that_stays_unreadable_costs_little(sim):
    """The pause between reads doubles up to a minute, however long a destination cannot be read."""
    sim.append(1)
    sim.directory = Failing(sim.directory, "destination", left=10**9)
    sim.bells.deaf = True

    sim.start()
    sim.advance(3600)

    assert 3600 / READ_RETRY_LONGEST_S - 5 < sim.directory.calls < 3600 / READ_RETRY_LONGEST_S + 10


def test_a_look_that_failed_is_repeated(sim):
    """What a look at the store could not read is read by the next one, although nothing was committed in between."""
    sim.log = Failing(sim.log, "heads", left=10**9)
    sim.log.changed = lambda: 7  # no other process commits
    sim.bells.deaf = True
    sim.start()
    sim.advance(1)
    sim.append(3)
    sim.advance(5)
    before = sim.progress().delivered

    sim.log.left = 0
    sim.advance(2)

    assert (before, sim.progress().delivered) == (0, 3)


def test_no_attempt_starts_while_the_files_of_the_store_are_gone(sim):
    """Within a look of the loss the worker stops sending, and says so once; when the files are back it goes on by itself."""
    gone = []
    sim.log = Failing(sim.log, "no method", left=0)

    def changed() -> int:
        if gone:
            raise StoreReplaced("the database was removed")
        return 7

    sim.log.changed = changed
    one = sim.start()
    sim.append(1)
    sim.advance(1)
    gone.append(True)
    sim.advance(0.3)
    one.ledger.freeze()
    late = sim.append(3)
    sim.advance(5)
    meanwhile = [name for name in late if sim.receiver.accepted[name]]

    gone.clear()
    one.ledger.thaw()
    sim.advance(20)

    assert meanwhile == []
    assert len(sim.telemetry.named("store.replaced")) == 1
    assert sim.progress().delivered == 4


def test_no_attempt_starts_when_the_lease_could_be_over(sim):
    """A worker that cannot renew stops at the end of its lease, by its own clock; so nothing is sent twice."""
    one = sim.start()
    sim.append(3)
    sim.advance(1)
    one.ledger.freeze()
    sim.advance(sim.settings.delivery.lease_seconds)

    late = sim.append(3)
    sim.advance(5)
    meanwhile = [name for name in late if sim.receiver.accepted[name]]
    one.ledger.thaw()
    sim.advance(60)

    assert meanwhile == []
    assert set(sim.receiver.accepted.values()) == {1}
    assert sim.progress().delivered == 6
    assert sim.telemetry.named("worker.lease_lost") == [], "nobody else took the lease, so it goes on"


def test_a_renewal_that_failed_is_repeated_soon(sim):
    """While the store fails a renewal is tried fifteen times within a lease, and then three times again."""
    one = sim.start()
    one.worker.leases.ledger = renewing = Failing(one.ledger, "renew", left=8)
    lease_s = sim.settings.delivery.lease_seconds

    sim.advance(lease_s / 3 + 0.1)
    first = renewing.calls
    sim.advance(8 * lease_s / 15)
    sim.advance(0.1)
    repeated = renewing.calls
    sim.advance(lease_s)

    assert (first, repeated) == (1, 9)
    assert renewing.calls == 9 + 3
    assert sim.telemetry.named("worker.lease_lost") == []


@pytest.mark.parametrize("ends", ["well", "in a crash"])
def test_a_store_that_stalls_longer_than_the_lease_repeats_a_second(sim, ends):
    """While the store takes nothing attempts stop after a second; a crash then repeats what came until then, and else nothing."""
    one = sim.start()
    sim.append(10)
    sim.advance(1)
    one.ledger.freeze()

    ids = []
    for _ in range(300):
        ids += sim.append(10)
        sim.advance(0.1)
    meanwhile = sum(sim.receiver.accepted[name] for name in ids)
    if ends == "well":
        one.ledger.thaw()
    else:
        sim.kill(one)
        sim.start()
    sim.advance(10)
    repeats = sum(count - 1 for count in sim.receiver.accepted.values())

    assert 50 <= meanwhile <= 150
    assert repeats == (0 if ends == "well" else meanwhile)
    assert all(sim.receiver.accepted[name] for name in ids)
    assert sim.telemetry.named("worker.lease_lost") == []


def test_a_store_that_fails_at_once_stops_no_attempts(sim):
    """On a full disk deliveries go on, and are settled when there is room."""
    one = sim.start()
    sim.append(1)
    sim.advance(1)
    one.worker._settler.ledger = Failing(one.ledger, "settle", left=8)

    ids = sim.append(5)
    for _ in range(5):
        sim.advance(1)
        ids += sim.append(5)
    sim.advance(0.5)
    meanwhile = [name for name in ids if sim.receiver.accepted[name]]
    sim.advance(10)

    assert meanwhile == ids
    assert set(sim.receiver.accepted.values()) == {1}
    assert sim.progress().delivered == 31


# ── bugs ──


class BugError(Exception):
    """Something that must not happen."""


def test_a_bug_in_reading_a_destination_costs_no_other(sim):
    """While reading one destination meets a bug, the others are served; it is read again, and its events arrive."""
    sim.directory = Failing(sim.directory, "destination", left=3, error=BugError("with a secret"))
    one = sim.start()
    other = sim.run(sim.add_destination(sim.spec))
    sim.append(2)
    sim.advance(60)

    assert not one.task.done()
    assert sim.progress().delivered == 2
    assert sim.run(sim.directory.progress(other)).delivered == 2
    reasons = [line["reason"] for line in sim.telemetry.named("destination.unreadable")]
    assert len(reasons) == 3
    assert all(reason.startswith("a bug: BugError at test_worker.py:") for reason in reasons)


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ((HealthTracker, "take_stock"), 2),
        ((SharedPages, "forget"), 2),
        ((SharedPages, "read"), PEEK_EVENTS_MAX + 1),
        ((SharedPages, "peek"), 2),
        ((ReadAhead, "begin"), 2),
    ],
    ids=["settling", "settled", "reading", "reading at once", "waking"],
)
def test_a_bug_anywhere_in_a_delivery_ends_no_worker(sim, monkeypatch, place, count):
    """A bug halts its destination for a minute, wherever it is; then the destination goes on and loses nothing."""
    one = sim.start()
    sim.append(2)
    sim.advance(2)

    def fail(*_: object, **__: object) -> None:
        raise BugError

    monkeypatch.setattr(*place, fail)
    sim.append(count)
    sim.advance(5)
    monkeypatch.undo()
    sim.advance(BUG_PAUSE_S + 5)
    sim.append(1)
    sim.advance(5)

    assert not one.task.done()
    assert sim.telemetry.named("destination.halted") != []
    assert sim.progress().delivered == 3 + count
    assert sim.progress().health.failures_in_row == 0
