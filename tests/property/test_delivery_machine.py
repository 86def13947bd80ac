"""The whole delivery against a model: whatever happens in whatever order, nothing is lost and the counts are right.

Hypothesis drives the real worker on the real store in simulated time, with a receiver that changes its mind, workers that
crash, freeze past their lease and come back, and a person who pauses, replays, redrives and reconfigures.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aegis_stream.domain.attempt import Answer
from aegis_stream.domain.destination import DestinationSpec, Filter
from aegis_stream.domain.ids import ReplayId, new_id
from aegis_stream.settings import Settings
from support.log import entries
from support.settings import make_settings
from support.simulation import MOODS, Running, Simulation
from support.sql import raw


class Delivery(RuleBasedStateMachine):
    """One organization, one destination, any number of workers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.sent: list[str] = []
        self.wanted: set[str] = set()
        self.cursor_before = 0
        self.frozen: list[Running] = []
        self.mood = "ok"
        self.troubled: set[int] = set()

    @initialize(seed=st.integers(0, 2**16), batches=st.booleans(), filtered=st.booleans())
    def begin(self, seed: int, batches: bool, filtered: bool) -> None:
        spec = DestinationSpec(
            url="https://sink.example.com/in",
            format="ndjson" if batches else "json",
            filter=Filter(datasets=("wanted",)) if filtered else Filter(),
        )
        self.filtered = filtered
        self.sim = Simulation(
            self.folder,
            seed=seed,
            settings=make_settings(lease_seconds=20),
            spec=replace(spec, retry=Settings().retry.policy),
            look_s=2.0,
        )
        self.sim.receiver.answers = self._answer
        self.sim.start()

    def _answer(self, event_ids: list[str]) -> Answer | None:
        if any(int(one[1:]) % 17 in self.troubled for one in event_ids):
            return MOODS["picky"]
        return MOODS[self.mood]

    def alive(self) -> list[Running]:
        return [one for one in self.sim.running if one not in self.frozen]

    # ── what the world does ──

    @rule(count=st.integers(1, 40), wanted=st.booleans())
    def record(self, count: int, wanted: bool) -> None:
        dataset = "wanted" if wanted else "other"
        ids = self.sim.append(count, event={"dataset": dataset})
        self.sent += ids

    @rule(mood=st.sampled_from(sorted(MOODS)))
    def receiver_changes_its_mind(self, mood: str) -> None:
        self.mood = mood

    @rule(troubled=st.sets(st.integers(0, 16), max_size=2))
    def receiver_dislikes_some_events(self, troubled: set[int]) -> None:
        self.troubled = troubled

    @rule(seconds=st.sampled_from([0.001, 0.03, 0.5, 11.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.sim.advance(seconds)

    @rule(deaf=st.booleans())
    def rings_get_lost(self, deaf: bool) -> None:
        self.sim.bells.deaf = deaf

    @rule(hours=st.sampled_from([0, -1, 1]))
    def clock_is_set(self, hours: int) -> None:
        self.sim.clock.skew_us = hours * 3_600_000_000

    # ── what workers do ──

    @precondition(lambda self: self.alive())
    @rule()
    def worker_is_killed_and_restarted(self) -> None:
        self.sim.kill(self.alive()[0])
        self.sim.start()

    @precondition(lambda self: self.alive())
    @rule()
    def machine_of_a_worker_is_lost(self) -> None:
        self.sim.crash(self.alive()[0])
        self.sim.start()

    @precondition(lambda self: self.alive())
    @rule()
    def worker_is_redeployed(self) -> None:
        self.sim.stop(self.alive()[0])
        self.sim.start()

    @precondition(lambda self: len(self.sim.running) < 3)
    @rule()
    def another_worker_joins(self) -> None:
        self.sim.start()

    @precondition(lambda self: self.alive() and not self.frozen)
    @rule()
    def worker_is_frozen_past_its_lease(self) -> None:
        one = self.alive()[0]
        one.ledger.freeze()
        self.frozen.append(one)
        self.sim.start()
        self.sim.advance(25)

    @precondition(lambda self: self.frozen)
    @rule()
    def frozen_worker_wakes(self) -> None:
        self.frozen.pop().ledger.thaw()
        self.sim.advance(1)

    # ── what people do ──

    @rule(enabled=st.booleans())
    def paused_or_resumed(self, enabled: bool) -> None:
        self.sim.change(lambda spec: replace(spec, enabled=enabled))

    @rule()
    def redriven(self) -> None:
        self.sim.redrive()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def replayed(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(1, len(self.sent)))
        last = data.draw(st.integers(first, len(self.sent)))
        replay_id = ReplayId(new_id("rpl", self.sim.clock.now(), self.sim.random.random_bytes(10)))
        self.sim.run(
            self.sim.directory.add_replay(self.sim.destination, replay_id, first, last, self.sim.clock.now())
        )
        self.sim.bells.notify_changes()

    # ── what must hold, always ──

    @invariant()
    def the_log_is_gapless_and_in_order(self) -> None:
        if self.sent:
            assert list(self.sim.event_ids().items()) == list(enumerate(self.sent, 1))

    @invariant()
    def nothing_below_the_watermark_is_unaccounted_for(self) -> None:
        if not hasattr(self, "sim"):
            return
        progress = self.sim.progress()
        excused = {*self.sim.retries(), *self.sim.dead()}
        for sequence, event_id in enumerate(self.sent[: progress.cursor], 1):
            if self._wants(sequence):
                assert self.sim.receiver.accepted[event_id] or sequence in excused, f"{event_id} is lost"

    @invariant()
    def the_watermark_never_goes_back(self) -> None:
        if hasattr(self, "sim"):
            cursor = self.sim.progress().cursor
            assert self.cursor_before <= cursor <= len(self.sent)
            self.cursor_before = cursor

    @invariant()
    def counts_equal_rows(self) -> None:
        if hasattr(self, "sim"):
            progress = self.sim.progress()
            assert progress.retrying == len(self.sim.retries())
            assert progress.dead_letters == len(self.sim.dead())

    @invariant()
    def history_equals_counts(self) -> None:
        if hasattr(self, "sim"):
            progress = self.sim.progress()
            assert self.sim.history() == (progress.delivered, progress.failed_attempts)

    @invariant()
    def no_more_than_the_window_is_in_flight(self) -> None:
        if hasattr(self, "sim"):
            assert self.sim.receiver.in_flight <= 64 * max(1, len(self.sim.running))

    def teardown(self) -> None:
        """When everything is well again, every event arrives, and nothing is left over."""
        if hasattr(self, "sim"):
            try:
                self._heal()
            finally:
                self.sim.close()
        shutil.rmtree(self.folder)

    def _heal(self) -> None:
        sim = self.sim
        self.mood, self.troubled, sim.bells.deaf, sim.clock.skew_us = "ok", set(), False, 0
        for one in self.frozen:
            one.ledger.thaw()
        sim.advance(30)
        sim.change(lambda spec: replace(spec, enabled=True))
        sim.advance(2 * 3600 + 60)
        sim.redrive()
        sim.advance(200)

        progress = sim.progress()
        assert progress.cursor == len(self.sent)
        assert sim.retries() == {}
        assert sim.dead() == []
        assert not sim.db.read_now(lambda db: raw(db).rows("SELECT * FROM replays WHERE finished_at IS NULL"))
        for sequence, event_id in enumerate(self.sent, 1):
            assert bool(sim.receiver.accepted[event_id]) == self._wants(sequence), event_id
        stored = {
            one.event_id: one.body
            for one in sim.run(entries(sim.log, sim.org.organization_no, 0, 10**6, 10**6))
        }
        assert all(stored[event_id].encode() == body for event_id, body in sim.receiver.bodies.items())

    def _wants(self, sequence: int) -> bool:
        if not self.filtered:
            return True
        if not hasattr(self, "_datasets") or len(self._datasets) < len(self.sent):
            rows = self.sim.db.read_now(
                lambda db: raw(db).rows("SELECT dataset FROM events ORDER BY position")
            )
            self._datasets = [row[0] for row in rows]
        return self._datasets[sequence - 1] == "wanted"


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ),  # a run takes seconds; shrinking one would take many minutes
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
