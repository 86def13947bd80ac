"""The wall clock is set, both ways and right again: the log is kept, retries keep to their policy, times recover, leases stay."""

import itertools
import time

import httpx

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.housekeeping import PAUSE_S
from faults.frame import Fault, Run
from faults.served import Served, served
from support.log import entries
from support.settings import make_settings
from support.simulation import EPOCH, Simulation, status

HOUR_S, DAY_S, YEAR_S = 3600, 86_400, 365 * 86_400
STEPS_S = {
    "an hour ahead": HOUR_S,
    "an hour back": -HOUR_S,
    "a day ahead": DAY_S,
    "a day back": -DAY_S,
    "a year ahead": YEAR_S,
    "a year back": -YEAR_S,
}
PLACES_S = {"1970": 60, "the end of 2038's clocks": (1 << 31) + 60, "2100": 4_102_444_800}
"""Clocks that show a certain time, seconds since 1970."""
POLICY = RetryPolicy(max_attempts=6, base_seconds=4.0, multiplier=2.0, max_seconds=60.0)
JITTER = 1.1
LATE_S = 3.0
"""How much later than its policy allows an attempt may begin, seconds: looks at the store, settlements, pacing."""
SMALL_STEP_S = 300
"""Within this, times of receipt wait for the clock instead of going back: docs/explanation/store.md."""
FOLLOWED_PART = 10
"""Retention's clock follows a wrong clock by this part of the time, and confirms a right one within this part of the distance."""


def _step(run: Run) -> tuple[str, int | None, int | None]:
    """Choose a step: its name, and either how far the clock is set or what it shows then, seconds."""
    names = [*STEPS_S, *PLACES_S, "by chance"]
    name = names[run.counts["runs"] % len(names)]
    if name == "by chance":
        return name, int(run.random.choice((-1, 1)) * 10 ** run.random.uniform(0, 9)), None
    return name, STEPS_S.get(name), PLACES_S.get(name)


# ── in simulated time: hours under a wrong clock ──


def set_simulated_clocks(run: Run) -> None:
    """Play steps of the clock in simulated time: under load and idle, with restarts of the worker."""
    for number in range(run.rounds):
        name, by_s, shows_s = _step(run)
        folder = run.folder / str(number)
        folder.mkdir()
        settings = make_settings(lease_seconds=120, retention_days=1, auto_redrive=True)
        sim = Simulation(
            folder,
            seed=run.random.randrange(1 << 30),
            settings=settings,
            spec=DestinationSpec(url="https://sink.example.com/in", retry=POLICY),
            look_s=30.0,
        )
        try:
            ahead_s = by_s if by_s is not None else shows_s - (EPOCH / 1e6 + sim.loop.seconds)
            _set_one(run, sim, name, int(ahead_s * 1e6))
        finally:
            sim.close()
        run.add(runs=1)


def _set_one(run: Run, sim: Simulation, name: str, ahead_us: int) -> None:
    """Set the clock, let hours pass, and set it right again."""
    share = run.random.choice((0.0, 0.3, 0.9))
    sim.receiver.answers = lambda _: status(500 if run.random.random() < share else 202)
    worker = sim.start()
    load = run.random.random() < 0.7
    restarts = run.random.random() < 0.3
    ids = sim.append(20)
    sim.advance(run.random.uniform(0, 30))
    sim.clock.skew_us = ahead_us
    wrong_at_s = sim.loop.seconds
    for _ in range(run.random.randrange(1, 4)):
        if load:
            ids += sim.append(run.random.randrange(1, 10))
        sim.advance(run.random.choice((1.0, 20.0, 3600.0)))
    if restarts:
        sim.stop(worker)
        worker = sim.start()
    sim.clock.skew_us = 0
    sim.advance(run.random.uniform(0, 5))
    sim.advance(_confirmed_after_s(ahead_us / 1e6, sim.loop.seconds - wrong_at_s))
    right_us = sim.clock.now()
    ids += sim.append(3)
    sim.receiver.answers = lambda _: status(202)
    sim.advance(180)
    _judge(run, sim, f"{name}, {share=}, {load=}, {restarts=}", ids)
    _judge_times(run, sim, f"{name}, {restarts=}", right_us, waits_max=2 if restarts else 1)
    epochs = {one.lease.epoch for one in sim.run(sim.ledger.claim(worker.worker.worker_id))[0]}
    run.expect(epochs == {2 if restarts else 1}, f"{name}: the lease changed hands: epoch {epochs}")


def _confirmed_after_s(ahead_s: float, wrong_s: float) -> float:
    """Return how long a right clock waits until retention's clock confirms it, at most: docs/explanation/store.md.

    Args:
        ahead_s: how far the clock was ahead.
        wrong_s: how long; for a tenth of it retention's clock is ahead then, and has to come back.
    """
    allowed_s = max(SMALL_STEP_S, min(ahead_s / FOLLOWED_PART, DAY_S))
    late_s = wrong_s / FOLLOWED_PART - allowed_s
    return late_s + PAUSE_S if ahead_s > 0 and late_s > 0 else 0


def _judge(run: Run, sim: Simulation, name: str, ids: list[str]) -> None:
    stored = sim.event_ids()
    run.expect(list(stored.values()) == ids, f"{name}: the log has {len(stored)} of {len(ids)} events")
    missing = [one for one in ids if not sim.receiver.accepted[one]]
    twice = [one for one in ids if sim.receiver.accepted[one] > 1]
    run.expect(not missing, f"{name}: {len(missing)} of {len(ids)} events have not arrived: {missing[:3]}")
    run.expect(not twice, f"{name}: {len(twice)} events arrived twice")
    run.add(acked=len(ids), delivered=len(ids) - len(missing), lost=len(missing), repeats=len(twice))


def _judge_times(run: Run, sim: Simulation, name: str, right_us: int, waits_max: int) -> None:
    """No retry was further away than its policy allows, and what was recorded under the right clock has the right time.

    Args:
        waits_max: how often a retry may wait as long as its policy says: once more after a worker has started.
    """
    for event_id in sim.receiver.accepted:
        times = sim.receiver.times(event_id)[: POLICY.max_attempts]  # later ones are redriven dead letters
        for number, (before, after) in enumerate(itertools.pairwise(times), 1):
            longest_s = waits_max * POLICY.delay_seconds(number, 1.0) + LATE_S
            run.expect(
                after - before <= longest_s,
                f"{name}: attempt {number + 1} of {event_id} came after {after - before:.1f} s, not {longest_s:.1f} s",
            )
    log = sim.run(entries(sim.log, sim.org.organization_no, 0, sim.sent, sim.sent))
    off_s = max(abs(one.received_at - right_us) for one in log[-3:]) / 1e6
    run.expect(off_s <= SMALL_STEP_S, f"{name}: times of receipt are {off_s:.0f} s off under the right clock")


# ── in real time: processes under a wrong clock ──


def set_real_clocks(run: Run) -> None:
    """Set the clock under a running service, with load and without, and set it right again."""
    with served(run) as one:
        one.begin(pause_s=0.02, batch=(1, 5))
        for _ in range(run.rounds):
            name, by_s, shows_s = _step(run)
            ahead_s = by_s if by_s is not None else shows_s - int(time.time())
            idle = run.random.random() < 0.3
            if idle:
                one.load.pause()
            one.injected.set_clock(ahead_s)
            time.sleep(0.3)  # the clock is wrong for a while
            _expect_answers(one, name)
            one.injected.set_clock(0)
            one.load.resume()
            one.recover()
            run.add(runs=1)
        one.load.pause()
        _expect_right_times(one)
        run.expect(one.processes() == one.pids, "a process was started anew")
        epochs = one.group.rows("SELECT DISTINCT lease_epoch FROM cursors")
        run.expect(epochs == [(1,)], f"the lease changed hands: {epochs}")
        one.end(told=("clock",))  # after a small step the newest event stays a little ahead of the clock


def _expect_answers(one: Served, name: str) -> None:
    """The API records and answers under the wrong clock."""
    event = one.load.make(one.client.organization.org_id, 10_000_000 + one.run.counts["runs"], 1)
    one.load.sent.update(event)
    answer = one.client.send(event.values())
    one.run.expect(answer.status_code == 202, f"{name}: ingest answered {answer.status_code}: {answer.text}")
    one.load.acked.update(event)
    for path in ("/readyz", "/metrics"):
        answer = httpx.get(one.group.url + path, trust_env=False, timeout=30)
        one.run.expect(answer.status_code == 200, f"{name}: {path} answered {answer.status_code}")


def _expect_right_times(one: Served) -> None:
    """What is recorded under the right clock has the right time."""
    event = one.load.make(one.client.organization.org_id, 20_000_000, 1)
    one.load.sent.update(event)
    one.client.record(event.values())
    one.load.acked.update(event)
    [(received_at,)] = one.group.rows("SELECT received_at FROM events ORDER BY position DESC LIMIT 1")
    off_s = abs(received_at / 1e6 - time.time())
    one.run.expect(off_s <= SMALL_STEP_S, f"times of receipt are {off_s:.0f} s off under the right clock")


FAULTS = (
    Fault(
        "clock-hours",
        "while the clock is an hour, a day or a year off for hours, shows 1970, 2038 or 2100, and after it is right again: the log is "
        "kept, no retry is further away than its policy allows, no lease changes hands, new events get the right time",
        set_simulated_clocks,
        rounds=20,
        seconds=300,
    ),
    Fault(
        "clock-service",
        "the same for the processes of a service, under load and idle: they answer, deliver, and go on",
        set_real_clocks,
        rounds=10,
        seconds=300,
    ),
)
