"""Compression loses nothing: the bytes are those of the format, and no event is lost or stuck while its body is compressed."""

import shutil
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aegis_stream.domain.attempt import Request
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.formats import REGISTRY
from aegis_stream.pipeline.compress import BESIDE_MAX, INLINE_BYTES_MAX, compress, compressed
from aegis_stream.settings import Settings
from support.formats import EVENTS, UNHURRIED
from support.held import HeldThreads, start_on
from support.settings import make_settings
from support.simulation import Simulation, split_plain

UNDO = {"gzip": lambda body: zlib.decompress(body, 31), "zstd": zstandard.decompress}
PAIRS = [(name, one) for name, format_ in sorted(REGISTRY.items()) for one in sorted(format_.compressions)]


@pytest.mark.parametrize("name, compression", PAIRS)
@settings(UNHURRIED, max_examples=30)
@given(events=EVENTS)
def test_what_was_sent_is_what_the_format_made(name, compression, events):
    """Whatever the events, the body of a request, decompressed, is byte for byte what the format made of them."""
    bodies = [msgspec.json.encode(one) for one in (events if REGISTRY[name].batches else events[:1])]
    request = REGISTRY[name].encode(bodies)

    sent = compressed(request, compression)

    assert UNDO[compression](sent.body) == request.body
    assert (sent.content_type, sent.path_suffix) == (request.content_type, request.path_suffix)


@given(st.binary(max_size=5000), st.sampled_from(sorted(UNDO)))
def test_any_bytes_come_back_and_are_the_same_bytes_again(body, compression):
    """Whatever the body, it comes back, and compressed once more it is the same."""
    once = compress(body, compression)

    assert UNDO[compression](once) == body
    assert compress(body, compression) == once


def split_any(request: Request) -> list[bytes]:
    """Return the events of a request with gzip or without."""
    is_packed = request.body[:2] == b"\x1f\x8b"
    return split_plain(
        Request(zlib.decompress(request.body, 31), request.content_type) if is_packed else request
    )


class Compressing(RuleBasedStateMachine):
    """A destination with large events, threads that take their time, and everything that may happen meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.sent: list[str] = []

    @initialize(batches=st.booleans())
    def begin(self, batches: bool) -> None:
        spec = DestinationSpec(
            "https://sink.example.com/in",
            format="ndjson" if batches else "json",
            retry=Settings().retry.policy,
            compression="gzip",
        )
        self.sim = Simulation(self.folder, settings=make_settings(lease_seconds=20), spec=spec, look_s=2.0)
        self.sim.receiver.split = split_any
        self.threads = HeldThreads()
        start_on(self.sim, self.threads)

    @rule(count=st.integers(1, 4), large=st.booleans())
    def record(self, count: int, large: bool) -> None:
        self.sent += self.sim.append(count, note="x" * INLINE_BYTES_MAX if large else "x")
        self.sim.advance(0.3)

    @rule(count=st.integers(1, 3))
    def threads_get_something_done(self, count: int) -> None:
        self.threads.release(count)
        self.sim.advance(0.01)

    @rule(seconds=st.sampled_from([0.001, 0.3, 11.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.sim.advance(seconds)

    @rule(enabled=st.booleans())
    def paused_or_resumed(self, enabled: bool) -> None:
        self.sim.change(lambda spec: replace(spec, enabled=enabled))
        self.sim.advance(0.1)

    @rule(compression=st.sampled_from(["none", "gzip"]))
    def configured_otherwise(self, compression: str) -> None:
        self.sim.change(lambda spec: replace(spec, compression=compression))
        self.sim.advance(0.1)

    @rule(stop=st.booleans(), often=st.integers(0, 3))
    def worker_ends_and_another_begins(self, stop: bool, often: int) -> None:
        if often:
            return  # seldom: another worker begins with everything anew
        [one] = self.sim.running
        if stop:
            one.stop.set()
            self.sim.advance(0.05)
            self.threads.release()
            self.sim.stop(one)
        else:
            self.sim.kill(one)
        self.threads = HeldThreads()
        start_on(self.sim, self.threads)

    @invariant()
    def nothing_below_the_watermark_is_unaccounted_for(self) -> None:
        if hasattr(self, "sim"):
            cursor, excused = self.sim.progress().cursor, self.sim.retries()
            lost = [
                one
                for sequence, one in enumerate(self.sent[:cursor], 1)
                if not self.sim.receiver.accepted[one] and sequence not in excused
            ]
            assert lost == []

    @invariant()
    def few_bodies_wait_for_threads(self) -> None:
        if hasattr(self, "threads"):
            assert self.threads.most <= BESIDE_MAX

    def teardown(self) -> None:
        """When everything is well again, every event has arrived, and none was counted as failed."""
        if hasattr(self, "sim"):
            try:
                self.sim.change(lambda spec: replace(spec, enabled=True))
                self.sim.advance(3)
                self.threads.release(holding=False)
                self.sim.advance(200)
                progress = self.sim.progress()
                assert all(self.sim.receiver.accepted[one] for one in self.sent)
                assert (progress.cursor, progress.failed_attempts, self.sim.retries()) == (
                    len(self.sent),
                    0,
                    {},
                )
            finally:
                self.sim.close()
        shutil.rmtree(self.folder)


TestCompressing = Compressing.TestCase
TestCompressing.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # as in test_delivery_machine.py
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
