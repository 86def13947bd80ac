"""A store that fails, clocks that are set, wake-ups that are lost, workers that end: whole histories in simulated time.

Two organizations share the store and the workers: `world.py`. A history is a function of its seed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from aegis_stream.delivery.pages import PEEK_EVENTS_MAX
from faults.frame import Fault, Run
from faults.store_faults import KINDS
from faults.world import LEASE_S, MOODS, VICTIM_NO, World

STEPS = 20
"""Things that happen in a random history."""
LAG_S = 1.5
"""Within so many seconds events arrive while neither store nor worker fails: a lost wake-up costs one look."""
AFTER_STORE_S = 70.0
"""How much longer the faults of the store may delay events: the longest pause before a read is tried again."""
AFTER_WORKER_S = 2.0 * LEASE_S
"""How long the end of a worker may delay events."""
HOUR_US = 3600 * 1_000_000


@contextmanager
def world_of(seed: int) -> Iterator[World]:
    """Make a world that ends with the block."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder), seed)
        try:
            yield world
        finally:
            world.close()


def end(world: World, run: Run) -> None:
    """Heal everything, and assert that what was recorded has arrived by itself and as it should."""
    world.heal()
    for place in world.victim.places:
        if place.paused:
            world.pause(place, enabled=True)
    took_s = world.settle_down()
    for tenant in (world.bystander, world.victim):
        world.record_again(tenant)
    for place in world.victim.places:
        world.redrive_all(place)
    world.settle_down()
    world.check_ledger()
    world.check_blame()
    run.add(
        runs=1,
        failed_calls=world.faults.failed,
        acked=sum(len(one.acknowledged) for one in (world.bystander, world.victim)),
        delivered=sum(len(place.receiver.accepted) for place in world.places),
        repeats=sum(place.repeats for place in world.bystander.places),
        repeats_max=sum(place.repeats_allowed for place in world.bystander.places),
    )
    run.recovered(took_s)


# ── each call once ──


def short_history(world: World) -> None:
    """Do everything once that a store is called for: record, read, settle, renew, claim, retry, replay, redrive, take over."""
    calm, moody = world.bystander, world.victim
    one = world.start()
    for tenant in (calm, moody):
        world.record(tenant, 3)
    world.advance(1)
    moody.places[0].mood = "broken"
    moody.places[1].mood = "picky"
    world.record(moody, 2)
    world.advance(3)
    moody.places[0].mood = moody.places[1].mood = "ok"
    world.advance(15)
    for tenant in (calm, moody):
        world.record(tenant, PEEK_EVENTS_MAX + 8)
    world.advance(0.02)
    world.end_worker(one, released=True)
    one = world.start()
    world.record(calm, 2)
    world.advance(3)
    world.pause(moody.places[0], enabled=False)
    world.redrive_all(moody.places[1])
    world.replay(moody.places[1])
    world.advance(2)
    world.pause(moody.places[0], enabled=True)
    world.allow_repeats()
    world.stop(one)
    world.start()
    world.record(moody, 2)
    world.advance(8)
    world.check()


def calls_of(seed: int, kind: str) -> int:
    """Return how many calls of a short history can fail in a way."""
    with world_of(seed) as world:
        world.faults.fail_from(1 << 60, 1, KINDS[kind])
        short_history(world)
        return world.faults.calls


def play_calls(run: Run, kind: str) -> None:
    """Let calls of the store fail in one way, one or a few in each run of the short history; enough rounds take every call."""
    count = calls_of(run.seed, kind)
    numbers = range(count) if run.rounds >= count else run.random.sample(range(count), run.rounds)
    for number in numbers:
        times = run.random.choice((1, 1, 2, 5))
        with told(f"call {number} of {count} fails {times} times"), world_of(run.seed) as world:
            world.faults.fail_from(number, times, KINDS[kind])
            short_history(world)
            end(world, run)
    run.add(calls=count)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what was played, if it fails."""
    try:
        yield
    except BaseException:
        print(what)
        raise


# ── random histories ──

Step = Callable[[World, Random], None]


def records(world: World, chance: Random) -> None:
    """Somebody records events."""
    world.record(chance.choice((world.bystander, world.victim)), chance.choice((1, 1, 3, 20, 80)))


def time_passes(world: World, chance: Random) -> None:
    """Nothing happens for a while."""
    world.advance(chance.choice((0.001, 0.02, 0.5, 3.0, 11.0, 70.0, 200.0)))


def receiver_changes_its_mind(world: World, chance: Random) -> None:
    """A receiver of the one organization answers otherwise from now on."""
    place = chance.choice(world.victim.places)
    place.mood = chance.choice(sorted(MOODS))
    place.disliked = {chance.randrange(17)} if chance.random() < 0.3 else set()


def wake_ups_are_lost(world: World, chance: Random) -> None:
    """A share of the wake-ups is lost from now on."""
    world.rings_lost = chance.choice((0.0, 0.3, 1.0))


def clock_is_set(world: World, chance: Random) -> None:
    """The wall clock is set ahead, or back, or right."""
    world.clock.skew_us = chance.choice((0, -1, 1, -24, 24, 24 * 365)) * HOUR_US


def somebody_administers(world: World, chance: Random) -> None:
    """Somebody pauses, resumes, redrives or replays a destination of the one organization."""
    place = chance.choice(world.victim.places)
    match chance.randrange(4):
        case 0:
            world.redrive_all(place)
        case 1:
            world.replay(place)
        case other:
            world.pause(place, enabled=other == 2)


def worker_ends(world: World, chance: Random) -> None:
    """A worker is killed, or its machine is lost, or it is stopped in good order; another one starts."""
    if world.running:
        world.trouble(AFTER_WORKER_S)
        one = world.running[0]
        one.ledger.thaw()
        match chance.randrange(3):
            case 0:
                world.allow_repeats()
                world.stop(one)
            case other:
                world.end_worker(one, released=other == 1)
    world.start()


def worker_joins(world: World, chance: Random) -> None:
    """Another worker shares the work: destinations that are idle are handed over."""
    if len(world.running) < 3:
        world.trouble(AFTER_WORKER_S)
        world.start()


def worker_is_stopped_for_long(world: World, chance: Random) -> None:
    """A worker cannot reach the store for longer than its lease, while another one is there; then it goes on."""
    if world.running:
        seconds = chance.choice((3.0, LEASE_S + 5.0))
        world.trouble(seconds + AFTER_WORKER_S)
        one = world.running[0]
        since = world.cursors()
        one.ledger.freeze()
        world.start()
        world.advance(seconds)
        world.allow_repeats(since)
        one.ledger.thaw()


def store_fails(world: World, chance: Random) -> None:
    """A share of the store's calls fails for a while, in one way."""
    seconds = chance.choice((0.3, 3.0, 30.0))
    world.trouble(seconds + AFTER_STORE_S)
    world.faults.fail_some(chance.choice((0.05, 0.5, 1.0)), KINDS[chance.choice(sorted(KINDS))])
    since = world.cursors()
    things_go_on(world, chance, seconds)
    world.faults.heal()
    world.allow_what_was_taken_over(since)


def store_stalls(world: World, chance: Random) -> None:
    """Each write is held up, for longer than a lease or not."""
    seconds = chance.choice((0.5, 8.0, LEASE_S + 5.0))
    world.trouble(3 * seconds + AFTER_WORKER_S)
    since = world.cursors()
    world.faults.stall_s = seconds
    things_go_on(world, chance, seconds)
    world.faults.heal()
    world.allow_what_was_taken_over(since)


def store_fails_for_one(world: World, chance: Random) -> None:
    """The part of the store that belongs to the one organization cannot be read or written for a while."""
    world.faults.fail_some(
        chance.choice((0.3, 1.0)), KINDS[chance.choice(("EIO", "BUSY", "ENOSPC"))], only=VICTIM_NO
    )
    things_go_on(world, chance, chance.choice((3.0, 30.0)))
    world.faults.heal()


def things_go_on(world: World, chance: Random, seconds: float) -> None:
    """Let time pass in which events are recorded."""
    for _ in range(3):
        records(world, chance)
        world.advance(seconds / 3)


OF_ONE: tuple[Step, ...] = (
    records,
    records,
    time_passes,
    time_passes,
    receiver_changes_its_mind,
    wake_ups_are_lost,
    clock_is_set,
    somebody_administers,
    store_fails_for_one,
)
"""What concerns one organization alone, or must not be felt by anybody."""
OF_ALL: tuple[Step, ...] = (
    *OF_ONE,
    worker_ends,
    worker_joins,
    worker_is_stopped_for_long,
    store_fails,
    store_fails,
    store_stalls,
)


def play_histories(run: Run, steps: tuple[Step, ...]) -> None:
    """Let things happen at random; assert after each what always holds, and at the end that everything has arrived."""
    for number in range(run.rounds):
        seed = run.seed + number
        with told(f"the seed of this history is {seed}"):
            run_history(seed, steps, run)


def run_history(seed: int, steps: tuple[Step, ...], run: Run) -> None:
    """Play one history."""
    chance = Random(seed)
    with world_of(seed) as world:
        world.start()
        for _ in range(STEPS):
            chance.choice(steps)(world, chance)
            world.check()
        end(world, run)
        assert world.late(LAG_S) == []


PROMISE = "Without a new event everything acknowledged arrives, and no receiver is blamed for the store."
FAULTS = (
    *(
        Fault(f"simulated-call-{kind}", PROMISE, partial(play_calls, kind=kind), rounds=15, seconds=300)
        for kind in KINDS
    ),
    Fault(
        "simulated-history",
        f"Whatever fails, in whatever order: {PROMISE[0].lower()}{PROMISE[1:]}",
        partial(play_histories, steps=OF_ALL),
        rounds=25,
        seconds=600,
    ),
    Fault(
        "simulated-isolation",
        "What fails for one organization, its part of the store included, delays and repeats nothing of the other one.",
        partial(play_histories, steps=OF_ONE),
        rounds=25,
        seconds=600,
    ),
)
