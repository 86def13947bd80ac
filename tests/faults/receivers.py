"""Receivers that fail in every way, in simulated time: what they cost in requests, and what arrives once they are well."""

import shutil
from collections.abc import Callable
from random import Random

from aegis_stream.domain.attempt import RETRY_AFTER_MAX_S, Answer, FaultKind, RetryPolicy
from aegis_stream.domain.attempt import Fault as Failed
from aegis_stream.domain.destination import DestinationSpec
from faults.frame import Fault, Run
from support.settings import make_settings
from support.simulation import Simulation, status

POLICY = RetryPolicy(max_attempts=3, base_seconds=5.0, multiplier=2.0, max_seconds=60.0)
OUTAGE_S = 60
EVENTS_A_SECOND = 4
HEALED_S = 200
"""How long after its recovery a receiver has everything: the longest pause, a pause between two redrives, and some."""
PROBES_A_SECOND = 2
RETRY_AFTERS = {"7": 7, "0": 0, "junk": 0, "-5": 0, "400": 400, "315360000": RETRY_AFTER_MAX_S}
"""Texts of Retry-After, and for how long they must be respected, seconds: one header must not delay events for years."""

Mood = Callable[[Simulation, Random], Callable[[list[str]], Answer | None]]


def _always(answer: Answer | None) -> Mood:
    return lambda _sim, _chance: lambda _ids: answer


def _flaps(sim: Simulation, chance: Random) -> Callable[[list[str]], Answer | None]:
    period_s = chance.choice((0.1, 1.0, 7.0))
    return lambda _ids: status(202 if int(sim.loop.seconds / period_s) % 2 else 503)


def _by_chance(sim: Simulation, chance: Random) -> Callable[[list[str]], Answer | None]:
    answers = [
        status(202),
        status(202),
        status(500),
        status(429),
        None,
        Failed(FaultKind.CLOSED, "closed", 0),
    ]
    return lambda _ids: chance.choice(answers)


MOODS: dict[str, Mood] = {
    **{f"answers {code}": _always(status(code)) for code in (301, 401, 403, 404, 408, 410, 429, 500, 503)},
    **{f"fails by {kind.value}": _always(Failed(kind, "failed", 100)) for kind in
       (FaultKind.DNS, FaultKind.CONNECT, FaultKind.TLS, FaultKind.CLOSED, FaultKind.PROTOCOL)},
    **{f"answers 429, Retry-After: {text}": _always(status(429, text)) for text in RETRY_AFTERS},
    "is silent": _always(None),
    "flaps": _flaps,
    "fails by chance": _by_chance,
}  # fmt: skip


def fail_receivers(run: Run) -> None:
    """Let a receiver fail under a steady load in each way in turn, and be well again."""
    names = run.random.sample(sorted(MOODS), len(MOODS))
    for number in range(run.rounds):
        name = names[number % len(names)]
        folder = run.folder / str(number)
        folder.mkdir()
        sim = Simulation(
            folder,
            seed=run.random.randrange(1 << 30),
            settings=make_settings(lease_seconds=600),
            spec=DestinationSpec(url="https://sink.example.com/in", retry=POLICY),
            look_s=30.0,
        )
        try:
            _fail(run, sim, name)
        finally:
            sim.close()
        shutil.rmtree(folder)
        run.add(runs=1)


def _fail(run: Run, sim: Simulation, name: str) -> None:
    chance = run.random
    sim.start()
    rejected = set(sim.append(5)[1:3])  # these it never accepts, for their content

    def well(ids: list[str]) -> Answer:
        return status(400 if rejected & set(ids) else 202)

    sim.receiver.answers = well
    sim.advance(1)
    sim.receiver.answers = MOODS[name](sim, chance)
    began = len(sim.receiver.attempts)
    ids: list[str] = []
    for _ in range(OUTAGE_S // 3):
        ids += sim.append(3 * EVENTS_A_SECOND)
        sim.advance(3)
    requests = len(sim.receiver.attempts) - began
    bound = len(ids) * POLICY.max_attempts + OUTAGE_S * PROBES_A_SECOND
    run.expect(requests <= bound, f"{name}: {requests} requests for {len(ids)} events; the bound is {bound}")
    _expect_pauses(run, sim, name)
    sim.receiver.answers = well
    longest_s = RETRY_AFTERS.get(name.rpartition(": ")[2], 0)
    sim.advance(longest_s + HEALED_S)
    ids += sim.append(1)  # a success, if none was left to be sent: it brings dead letters back
    sim.advance(HEALED_S)
    missing = [
        one for one in sim.event_ids().values() if not sim.receiver.accepted[one] and one not in rejected
    ]
    run.expect(
        not missing, f"{name}: {len(missing)} events have not arrived after it was well: {missing[:3]}"
    )
    refused = [number for number, one in sim.event_ids().items() if not sim.receiver.accepted[one]]
    run.expect(
        sim.dead() == refused, f"{name}: dead letters {sim.dead()[:5]}, but {refused[:5]} were rejected"
    )
    run.expect(sim.retries() == {}, f"{name}: {len(sim.retries())} events still wait")
    run.add(
        acked=sim.sent, delivered=len(sim.receiver.accepted), dead_letters=len(sim.dead()), lost=len(missing)
    )


def _expect_pauses(run: Run, sim: Simulation, name: str) -> None:
    """No event is sent again before the time that Retry-After names."""
    pause_s = RETRY_AFTERS.get(name.rpartition(": ")[2], 0)
    last: dict[str, float] = {}
    for one in sim.receiver.attempts:
        for event_id in one.event_ids:
            early = last.get(event_id, -1e9) + pause_s > one.at_s + 0.01
            run.expect(not early, f"{name}: {event_id} was sent again before {pause_s} s were over")
            if getattr(one.answer, "status", 0) == 429:
                last[event_id] = one.at_s


FAULTS = (
    Fault(
        "receiver-fails",
        "a receiver that rejects, is silent, closes, flaps or names any Retry-After under a steady load gets no more requests than the "
        "policy allows; once it is well it has everything, and only what it rejects for its content is a dead letter",
        fail_receivers,
        rounds=8,
        seconds=300,
    ),
)
