"""A destination that says anything about the events of a request: every event ends as its last word says, in few requests.

The receiver keeps book: what it has said about each event, and which requests it is owed because of what it said. So each
request is either the next attempt of events that are due, or exactly what an earlier answer left to be sent again.
"""

import contextlib
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Accepted, Response, Verdict
from aegis_stream.domain.destination import BatchPolicy, DestinationSpec, Filter
from support.settings import make_settings
from support.simulation import Simulation
from support.spoken import BAD_FOR_NOW, DOWN, REFUSED, TAKEN, UNJUDGED, Spoken

ATTEMPTS_MAX = 3
EVENTS_MAX = 250
"""Fewer than an outage would hold back, so that every event keeps its schedule."""
AT_ONCE_S = 1.0
"""Longest time until what was left open is sent again: some round trips, and far less than the delay of a retry."""
GOOD = [TAKEN, TAKEN, TAKEN, Accepted(200, overload=True), Accepted(200, warning="look at this")]


@dataclass
class Batch:
    """Events that were sent in one request, and what had to be sent again of them."""

    size: int
    poison: int
    halvings: int = 0
    tails: int = 0
    judged_at_s: float = 0.0


@dataclass
class Moody:
    """A receiver that refuses some events for good, fails now and then, and says so in one way or another.

    Args:
        time: seconds of the simulation.
        poison: events that it always refuses.
        trouble: how often it fails for an event that is not poison, 0–1.
        ways: numbers of the ways in which it answers, of those in `answer`.
        faithful: no worker is killed, so that nothing may be sent twice.

    Attributes:
        said: last word about each event.
        failed: attempts of each event that failed by what it said.
        owed: requests that must come, because events of an earlier one were not told apart or not judged.
        halves: requests that may come, each with the other half: a batch that fails at its last attempt is halved if others are
            accepted meanwhile, and then that attempt does not count.
    """

    spoken: Spoken
    random: Random
    time: Callable[[], float]
    poison: set[str]
    trouble: float
    ways: list[int]
    faithful: bool = True
    said: dict[str, Verdict] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    owed: dict[tuple[str, ...], Batch] = field(default_factory=dict)
    halves: dict[tuple[str, ...], tuple[tuple[str, ...], Batch]] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    requests: int = 0

    def answer(self, ids: list[str]) -> Response:
        """Judge the events of a request."""
        self.requests += 1
        if tuple(ids) in self.halves:
            self._take_back(tuple(ids))
        batch = self.owed.pop(tuple(ids), None)
        if batch is None:
            assert not (self.faithful and any(self._is_settled(one) for one in ids))
            batch = Batch(len(ids), len(self.poison.intersection(ids)))
            self.batches.append(batch)
        elif self.faithful:
            assert self.time() - batch.judged_at_s <= AT_ONCE_S
        batch.judged_at_s = self.time()
        ways = [self._as_one, self._each, self._up_to_the_first, self._cut_short]
        return self.spoken.say(ids, ways[self.random.choice(self.ways)](ids, batch))

    def _as_one(self, ids: list[str], batch: Batch) -> Verdict:
        """Say one word about the request, as most destinations do."""
        if self.poison.intersection(ids):
            if len(ids) > 1:
                batch.halvings += 1
                middle = len(ids) // 2
                self.owed |= {tuple(ids[:middle]): batch, tuple(ids[middle:]): batch}
                return REFUSED
            return self._note(ids, REFUSED)
        if self.random.random() < self.trouble:
            if len(ids) > 1 and all(self.failed[one] == ATTEMPTS_MAX - 1 for one in ids):
                first, second = tuple(ids[: len(ids) // 2]), tuple(ids[len(ids) // 2 :])
                self.halves |= {first: (second, batch), second: (first, batch)}
            return self._note(ids, DOWN)
        return self._note(ids, self.random.choice(GOOD))

    def _take_back(self, half: tuple[str, ...]) -> None:
        """Count the attempt of a batch that was halved no more; both halves must come."""
        other, batch = self.halves.pop(half)
        del self.halves[other]
        for one in (*half, *other):
            self.failed[one] -= 1
        batch.tails += 2
        self.owed |= {half: batch, other: batch}

    def _each(self, ids: list[str], _: Batch) -> list[Verdict]:
        """Say a word about every event, as Elasticsearch does."""
        return [self._judge(one) for one in ids]

    def _up_to_the_first(self, ids: list[str], batch: Batch) -> list[Verdict]:
        """Stop at the first event that fails, as Splunk does."""
        words: list[Verdict] = []
        for one in ids:
            words.append(self._judge(one))
            if not isinstance(words[-1], Accepted):
                break
        return self._unjudged_from(len(words), words, ids, batch)

    def _cut_short(self, ids: list[str], batch: Batch) -> list[Verdict]:
        """Tell of some events and leave the others open, as an answer that is cut off within its items does."""
        told = self.random.randint(1, len(ids))
        return self._unjudged_from(told, [self._judge(one) for one in ids[:told]], ids, batch)

    def _unjudged_from(self, at: int, words: list[Verdict], ids: list[str], batch: Batch) -> list[Verdict]:
        if at < len(ids):
            batch.tails += 1
            self.owed[tuple(ids[at:])] = batch
        return words + [UNJUDGED] * (len(ids) - at)

    def _judge(self, event_id: str) -> Verdict:
        if event_id in self.poison:
            return self._note([event_id], REFUSED)
        if self.random.random() < self.trouble:
            return self._note([event_id], self.random.choice([DOWN, BAD_FOR_NOW]))
        return self._note([event_id], self.random.choice(GOOD))

    def _note(self, ids: list[str], word: Verdict) -> Verdict:
        for one in ids:
            self.said[one] = word
            self.failed[one] += not isinstance(word, Accepted)
        return word

    def _is_settled(self, event_id: str) -> bool:
        word = self.said.get(event_id)
        return word in (*GOOD, REFUSED) or self.failed[event_id] >= ATTEMPTS_MAX


@dataclass
class Run:
    """A delivery from the first event to its end."""

    sim: Simulation
    receiver: Moody
    wanted: list[str]

    def ends(self) -> dict[str, str]:
        """Return what became of each event, by the store: delivered, dead, or anything else."""
        ids, attempts, dead = self.sim.event_ids(), self.sim.attempts(), set(self.sim.dead())
        ends = {}
        for sequence, event_id in ids.items():
            last = attempts[sequence][-1][1] if sequence in attempts else "untouched"
            ends[event_id] = "dead" if sequence in dead else last
        return ends


@contextlib.contextmanager
def delivery(seed: int, count: int, *, batch: int, filtered: bool = False, kills: int = 0) -> Iterator[Run]:
    """Let a receiver with these random judge events until nothing is left to do."""
    random = Random(seed)
    spec = DestinationSpec(
        url="https://sink.example.com/in",
        format="spoken",
        batch=BatchPolicy(max_events=batch),
        filter=Filter(datasets=("wanted",)) if filtered else Filter(),
        retry=make_settings(retry_max_attempts=ATTEMPTS_MAX).retry,
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        spoken = Spoken()
        spoken.register(patched)
        sim = Simulation(
            Path(folder),
            seed=seed,
            settings=make_settings(lease_seconds=20, auto_redrive=False),
            spec=spec,
            look_s=2.0,
        )
        try:
            wanted = record(sim, random, count, filtered=filtered)
            share = random.choice([0.0, 0.02, 0.3])
            poison = {one for one in wanted if random.random() < share}
            trouble = random.choice([0.0, 0.1, 0.5])
            ways = random.sample(range(4), random.randint(1, 4))
            receiver = Moody(spoken, random, sim.loop.time, poison, trouble, ways, faithful=not kills)
            sim.receiver.answers = receiver.answer
            worker = sim.start()
            for _ in range(kills):
                sim.advance(random.choice([0.004, 0.05, 1.0, 70.0]))
                sim.kill(worker)
                worker = sim.start()
            sim.advance(1000)
            yield Run(sim, receiver, wanted)
        finally:
            sim.close()


def record(sim: Simulation, random: Random, count: int, *, filtered: bool) -> list[str]:
    """Record events, some of them for nobody if there is a filter; returns the ids of the others."""
    wanted = []
    while sim.sent < count:
        other = filtered and random.random() < 0.5
        size = min(count - sim.sent, random.randint(1, 40 if filtered else EVENTS_MAX))
        ids = sim.append(size, dataset="other" if other else "wanted")
        wanted += [] if other else ids
    return wanted


RARE = settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a run is its seed: there is nothing to shrink
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
"""A run takes a twentieth of a second."""


@RARE
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, EVENTS_MAX),
    batch=st.sampled_from([1, 2, 7, 64, 500]),
    filtered=st.booleans(),
)
def test_every_event_ends_as_its_last_word_says(seed: int, count: int, batch: int, filtered: bool) -> None:
    """Whatever mixes a receiver answers, each event is delivered or dead by its word, after as many attempts as were judged."""
    with delivery(seed, count, batch=batch, filtered=filtered) as run:
        receiver, ends, attempts = run.receiver, run.ends(), run.sim.attempts()
        for sequence, event_id in run.sim.event_ids().items():
            if event_id not in run.wanted:
                assert event_id not in receiver.said
                continue
            good = isinstance(receiver.said[event_id], Accepted)
            assert ends[event_id] == ("delivered" if good else "dead")
            states = ["failed"] * receiver.failed[event_id] + ["delivered"] * good
            assert attempts[sequence] == list(enumerate(states, 1))
        progress = run.sim.progress()
        assert receiver.owed == {}
        assert run.sim.retries() == {}
        assert progress.cursor == count
        assert progress.delivered == sum(receiver.spoken.taken.values())
        assert progress.failed_attempts == receiver.failed.total()


@RARE
@given(seed=st.integers(0, 2**32), count=st.integers(1, EVENTS_MAX), batch=st.sampled_from([2, 7, 64, 500]))
def test_poison_is_isolated_in_few_requests(seed: int, count: int, batch: int) -> None:
    """An event that is refused costs its batch at most 2·⌈log₂ n⌉ requests more, and an answer that leaves events open one."""
    with delivery(seed, count, batch=batch) as run:
        receiver = run.receiver
        for one in receiver.batches:
            assert one.halvings <= one.poison * math.ceil(math.log2(one.size))
        again = sum(2 * one.halvings + one.tails for one in receiver.batches)
        retried = sum(min(failed, ATTEMPTS_MAX - 1) for failed in receiver.failed.values())
        assert receiver.requests == len(receiver.batches) + again
        assert len(receiver.batches) <= math.ceil(count / batch) + retried


@RARE
@given(seed=st.integers(0, 2**32), count=st.integers(1, EVENTS_MAX), kills=st.integers(1, 3))
def test_a_crash_changes_no_last_word(seed: int, count: int, kills: int) -> None:
    """When workers are killed among such answers, what was unsettled is sent again, and each event ends as its last word says."""
    with delivery(seed, count, batch=64, kills=kills) as run:
        ends = run.ends()
        assert set(run.receiver.said) == set(run.wanted) == set(ends)
        for event_id, word in run.receiver.said.items():
            assert ends[event_id] == ("delivered" if isinstance(word, Accepted) else "dead")
        assert run.sim.retries() == {}
        assert run.sim.progress().cursor == count
