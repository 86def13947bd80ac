"""What the parts of one destination learn from its answers: promises of delivery/learning.py, with real recovery and health."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis_stream.delivery.health import HealthTracker
from aegis_stream.delivery.learning import Learning
from aegis_stream.delivery.recovery import REDRIVE_PAUSE_S, Recovery
from aegis_stream.delivery.weigh import Lessons, Weighed
from aegis_stream.delivery.work import Limits, Work
from aegis_stream.domain.attempt import Failure, FailureScope
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text
from aegis_stream.formats import REGISTRY
from support.clock import T0, SteadyClock
from support.pure import ON_SOURCE
from support.said import Said

pytestmark = ON_SOURCE

DOWN = Failure(FailureScope.DESTINATION, "answered 500", 500)
BLOCKED = Failure(FailureScope.EVENT, "answered 400", 400)
NOTHING = Lessons(None, None, succeeded=False, overload=False, warnings=())
NOW = Micros(T0 + 3)
WAITING, DIED, IN_FLIGHT = 77, 5, 4


@dataclass
class FakePacing:
    """Keeps what it is told."""

    failures_in_row: int = 0
    told: list[tuple[Any, ...]] = field(default_factory=list)

    def succeeded(self, *told: Any) -> None:
        self.told.append(("succeeded", *told))
        self.failures_in_row = 0

    def failed(self, *told: Any) -> None:
        self.told.append(("failed", *told))
        self.failures_in_row += 1

    def slow_down(self, *told: Any) -> None:
        self.told.append(("slow_down", *told))

    def forget_failures(self) -> None:
        self.told.append(("forget_failures",))
        self.failures_in_row = 0


@dataclass
class FakeAccount:
    """An account, as far as an answer concerns it."""

    pacing: FakePacing
    recovery: Recovery
    tracker: HealthTracker
    shared: Any = field(default_factory=lambda: SimpleNamespace(clock=SteadyClock(T0, ahead_us=3)))
    agenda: Any = field(default_factory=lambda: SimpleNamespace(limits=Limits(100, 5000)))
    attempts: Any = field(
        default_factory=lambda: SimpleNamespace(
            in_flight=range(IN_FLIGHT), format=replace(REGISTRY["ndjson"], frame_bytes=1)
        )
    )
    waiting: int = WAITING
    died: int = DIED
    dead_letters: int = 3
    retrying: int = 2
    marked: int = 0

    def mark(self) -> None:
        self.marked += 1


@dataclass
class Bench:
    """What learns, with its parts."""

    learning: Learning
    account: FakeAccount
    pacing: FakePacing
    recovery: Recovery
    said: Said

    def weighed(self, work: Work | None = None, **lessons: Any) -> bool:
        """Learn lessons from a request that began at 40 and was answered at 50."""
        weighed = Weighed(None, [], (), replace(NOTHING, **lessons))
        return self.learning.weighed(weighed, work or work_of(b"{}"), 1500, 50.0)


def make(*, failures_in_row: int = 0, ailing: bool = False) -> Bench:
    """Make what learns of a destination."""
    said, pacing, recovery = Said(), FakePacing(failures_in_row), Recovery(enabled=True, ailing=ailing)
    tracker = HealthTracker(Health(), cast(Any, said), {"destination_id": "dst_1", "org_id": "org_1"})
    account = FakeAccount(pacing, recovery, tracker)
    return Bench(Learning(cast(Any, account)), account, pacing, recovery, said)


def work_of(*bodies: bytes) -> Work:
    """Build a request."""
    work = Work(cast(Any, None), 101, 100 + len(bodies), range(101, 101 + len(bodies)), [*bodies], 1)
    work.began_s = 40.0
    return work


# ── success ──


def test_a_success_is_learned():
    """Pacing learns the latency, how many were in flight with it, and when; health learns when; nothing is redriven."""
    bench = make()
    bench.learning.succeeded(1500, 50.0)

    assert bench.pacing.told == [("succeeded", 1500, IN_FLIGHT + 1, 50.0)]
    assert bench.learning.tracker.succeeded_at_s == 50.0
    assert (bench.recovery.under_way, bench.account.marked) == (False, 0)


@pytest.mark.parametrize("ill", [{"ailing": True}, {"failures_in_row": 1}])
def test_the_first_success_after_a_failure_is_a_recovery(ill):
    """What died by then becomes pending again, with the next settlement; the success after it is a success like others."""
    bench = make(**ill)
    bench.learning.succeeded(1500, 50.0)
    died_by, marked = bench.recovery.take(), bench.account.marked
    bench.learning.succeeded(1500, 200.0)

    assert (died_by, marked) == (NOW, 1)
    assert bench.recovery.ailing is False
    assert (bench.recovery.under_way, bench.account.marked) == (False, 1)


def test_a_recovery_with_nothing_dead_asks_for_no_settlement():
    """Where nothing died there is nothing to redrive and nothing to store."""
    bench = make(ailing=True)
    bench.account.died = 0
    bench.learning.succeeded(1500, 50.0)

    assert (bench.recovery.under_way, bench.account.marked) == (False, 0)


def owing() -> Bench:
    """Return what learns of a destination that recovered at 50 and again at 60, within the pause."""
    bench = make(ailing=True)
    bench.learning.succeeded(1500, 50.0)
    bench.recovery.take()
    bench.weighed(failure=DOWN)
    bench.learning.succeeded(1500, 60.0)
    return bench


def test_a_redrive_that_is_owed_begins_after_the_pause():
    """Of two recoveries in a short time the second is owed a redrive; it begins when the pause is over, and only then."""
    bench = owing()
    due_at_s, marked = bench.learning.redrive_at_s, bench.account.marked
    bench.learning.redrive_if_owed(50.0 + REDRIVE_PAUSE_S - 1)
    early = bench.recovery.under_way
    bench.learning.redrive_if_owed(50.0 + REDRIVE_PAUSE_S)

    assert (due_at_s, marked, early) == (50.0 + REDRIVE_PAUSE_S, 1, False)
    assert (bench.recovery.under_way, bench.account.marked) == (True, 2)
    assert bench.learning.redrive_at_s is None


def test_a_success_begins_a_redrive_that_is_owed():
    """The first success after the pause does so, too, although nothing failed before it."""
    bench = owing()
    bench.learning.succeeded(1500, 50.0 + REDRIVE_PAUSE_S)

    assert (bench.recovery.under_way, bench.account.marked) == (True, 2)


def test_a_redrive_that_is_owed_waits_while_the_destination_fails():
    """It has no time as long as the destination fails: the next success tells."""
    bench = owing()
    bench.pacing.failures_in_row = 1
    bench.learning.redrive_if_owed(500.0)

    assert bench.learning.redrive_at_s is None
    assert (bench.recovery.under_way, bench.account.marked) == (False, 1)


def test_nothing_is_redriven_that_is_not_owed():
    """Without a recovery there is no redrive."""
    bench = make()
    bench.learning.redrive_if_owed(500.0)

    assert (bench.recovery.under_way, bench.account.marked) == (False, 0)


# ── answers that were no plain success ──


def test_a_failure_of_the_destination_is_learned():
    """Pacing learns of it, with what waits and when the attempt began; the next success is a recovery; people see it."""
    bench = make()
    smaller = bench.weighed(failure=DOWN, shown=(103, DOWN), succeeded=True)
    health = bench.learning.tracker.health

    assert not smaller
    assert bench.pacing.told == [("failed", DOWN, WAITING, 50.0, 40.0)]
    assert bench.recovery.ailing
    assert (health.last_error_message, health.last_error_sequence, health.last_error_at) == (
        "answered 500",
        103,
        NOW,
    )


def test_a_rejected_event_is_shown_and_slows_nothing_down():
    """A failure about an event is no failure of the destination; with others that were accepted the answer is a success."""
    bench = make()
    bench.weighed(shown=(104, BLOCKED), succeeded=True)
    rejected = make()
    rejected.weighed(shown=(104, BLOCKED))

    assert bench.pacing.told == [("succeeded", 1500, IN_FLIGHT + 1, 50.0)]
    assert rejected.pacing.told == []
    for one in (bench, rejected):
        assert one.learning.tracker.health.last_error_sequence == 104
        assert not one.recovery.ailing


def test_an_overload_slows_down():
    """A destination that accepts and asks for less is sent less."""
    bench = make()
    bench.weighed(succeeded=True, overload=True)

    assert bench.pacing.told[1:] == [("slow_down", 50.0)]


def test_warnings_are_logged():
    """Each warning of an answer is logged, the same one not again within the hour."""
    bench = make()
    for _ in range(2):
        bench.weighed(warnings=("one", "two"))

    assert [one["reason"] for one in bench.said.named("destination.warning")] == ["one", "two"]


@pytest.mark.parametrize(("size", "limit", "smaller"), [(3000, 1501, True), (3000, 1500, False)])
def test_requests_become_smaller_after_one_that_was_too_large(size, limit, smaller):
    """The bytes of its events count, with what the format adds; no request is made larger than it may be already."""
    bench = make()
    bench.account.agenda.limits = Limits(100, limit)
    said = bench.weighed(work_of(b"x" * (size // 2 - 1), b"x" * (size // 2 - 1)), too_large=True)

    assert said is smaller
    assert bench.learning.tracker.health.batch_bytes_max == (size // 2 if smaller else None)


def test_a_request_that_was_too_large_is_told_once_an_hour():
    """After a change of the destination requests are as large as before; the same finding is not logged again."""
    bench = make()
    for _ in range(2):
        bench.weighed(work_of(b"x" * 1499, b"x" * 1499), too_large=True)
        bench.learning.forget()

    assert len(bench.said.named("destination.warning")) == 1


# ── what is not an answer ──


@pytest.mark.parametrize(
    ("failures_in_row", "before", "ailing"), [(1, False, True), (0, False, False), (0, True, True)]
)
def test_a_change_of_the_destination_begins_anew(failures_in_row, before, ailing):
    """What failed, and how large requests may be, is forgotten; but the first success after failures stays a recovery."""
    bench = make(failures_in_row=failures_in_row, ailing=before)
    bench.learning.tracker.health = Health(batch_bytes_max=2000, last_error_message="old")
    bench.learning.forget()

    assert bench.pacing.told == [("forget_failures",)]
    assert bench.learning.tracker.health == Health(last_error_message="old")
    assert bench.recovery.ailing is ailing


@pytest.mark.parametrize(("before", "after"), [(0, 1), (3, 3)])
def test_a_halt_is_shown(before, after):
    """A destination that a bug halted is failing, with the reason, about no event; that is stored."""
    bench = make(failures_in_row=before)
    bench.learning.halted(DOWN)
    health = bench.learning.tracker.health

    assert bench.pacing.failures_in_row == after
    assert (health.last_error_message, health.last_error_sequence, health.last_error_at) == (
        "answered 500",
        None,
        NOW,
    )
    assert bench.account.marked == 1


@pytest.mark.parametrize(("holds", "follows"), [(True, "wait in the log"), (False, "stay in the log only")])
def test_too_many_failed_events_are_told(holds, follows):
    """The warning says how many there are of each kind, and what follows."""
    bench = make()
    for _ in range(2):
        bench.learning.say_full(holds=holds)
    [said] = bench.said.named("destination.warning")

    assert said["reason"].startswith("3 dead letters and 2 retries")
    assert follows in said["reason"]


@pytest.mark.parametrize(("age_s", "told"), [(60, 0), (61, 1)])
def test_events_that_the_destination_drops_for_their_age_are_told(age_s, told):
    """An event that is older than the destination stores is warned of, at the time of the wall clock."""
    bench = make()
    bench.account.shared.clock.at = T0 + 61 * SECOND - 3
    event = b'{"event":{"id":"e1"},"@timestamp":"%s"}' % to_text(Micros(T0 + (61 - age_s) * SECOND)).encode()
    bench.learning.warn_of_age(replace(REGISTRY["ndjson"], age_max_s=60), event)
    bench.learning.warn_of_age(replace(REGISTRY["ndjson"], age_max_s=60), event)

    said = [one["reason"] for one in bench.said.named("destination.warning")]
    assert ["the backlog has events older than" in one for one in said] == [True] * told
