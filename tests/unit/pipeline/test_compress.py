"""Compressed requests: what becomes of a body, and of an attempt whose body is being compressed on a thread."""

import zlib
from concurrent.futures import Executor
from dataclasses import replace

import pytest
import zstandard

from aegis_stream.domain.attempt import Request
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.pipeline.compress import (
    BESIDE_MAX,
    INLINE_BYTES_MAX,
    compress,
    compressed,
    make_threads,
)
from aegis_stream.settings import Settings
from aegis_stream.worker import BUG_PAUSE_S
from support.held import HeldThreads, start_on
from support.log import entries
from support.said import Said
from support.settings import make_settings
from support.simulation import Simulation, split_plain

LARGE = "x" * (INLINE_BYTES_MAX + 1)
URL = "https://sink.example.com/in"


def unpacked(request: Request) -> Request:
    """Return a request as it was before compression."""
    return Request(zlib.decompress(request.body, 31), request.content_type, request.path_suffix)


@pytest.fixture
def make(tmp_path):
    """Make simulations of a destination with gzip that end with the test."""
    made: list[Simulation] = []

    def build(**spec) -> Simulation:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        fields = {"url": URL, "compression": "gzip", "retry": Settings().retry.policy} | spec
        sim = Simulation(folder, spec=DestinationSpec(**fields), settings=make_settings(lease_seconds=20))
        sim.telemetry = Said()
        sim.receiver.split = lambda request: split_plain(unpacked(request))
        made.append(sim)
        return sim

    yield build
    for one in made:
        one.close()


# ── bodies ──


@pytest.mark.parametrize("body", [b"", b"x", b'{"a": 1}' * 20_000])
@pytest.mark.parametrize(
    "compression, undo", [("none", bytes), ("gzip", lambda b: zlib.decompress(b, 31)), ("zstd", zstandard.decompress)]
)  # fmt: skip
def test_a_receiver_finds_the_body_again(compression, undo, body):
    """Decompressed in one go, without a hint of its size, a body is what it was."""
    assert undo(compress(body, compression)) == body


def test_gzip_is_one_member_without_a_time():
    """The header has neither time nor file name, so that the same body is the same bytes on every machine at any time."""
    member = compress(b"x" * 1000, "gzip")
    inflater = zlib.decompressobj(31)

    assert member[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
    assert inflater.decompress(member) == b"x" * 1000
    assert (inflater.eof, inflater.unused_data) == (True, b"")


def test_zstd_is_one_frame_that_tells_its_size():
    """Receivers that make room before they read can do so."""
    frame = compress(b"x" * 100_000, "zstd")

    assert zstandard.frame_content_size(frame) == 100_000


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_only_the_body_of_a_request_changes(compression):
    """Content type and path stay, and none leaves the request itself as it is."""
    request = Request(b"body", "application/x-ndjson", "/evt_1")

    sent = compressed(request, compression)

    assert (sent.content_type, sent.path_suffix) == ("application/x-ndjson", "/evt_1")
    assert (sent is request) == (compression == "none")


def test_threads_end_with_those_who_have_them():
    """Nobody has to end the threads of a worker that began anew; what it is given works."""
    assert make_threads().submit(compress, b"x", "none").result(10) == b"x"


# ── attempts ──


@pytest.mark.parametrize("format_", ["json", "ndjson"])
@pytest.mark.parametrize("note", ["short", LARGE], ids=["on the spot", "on a thread"])
def test_every_event_arrives_once(make, format_, note):
    """Compressed on the spot or on a thread, each event is delivered once, byte for byte with format json."""
    sim = make(format=format_)
    threads = HeldThreads(holding=False)
    start_on(sim, threads)

    ids = sim.append(20, note=note)
    sim.advance(5)

    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert sim.progress().cursor == 20
    assert bool(threads.most) == (note == LARGE)
    stored = {one.event_id: one.body.encode() for one in sim.run(entries(sim.log, 1, 0, 100, 10**8))}
    assert sim.receiver.bodies == stored


def test_one_destination_has_few_bodies_on_the_threads(make):
    """However much it has to send, only so many bodies wait for a thread; the rest waits in the log, and another's comes next."""
    sim = make()
    threads = HeldThreads()
    start_on(sim, threads)
    other = DestinationSpec(url="https://other.example.com/in", compression="gzip")
    sim.run(sim.add_destination(other))
    sim.advance(1)

    ids = sim.append(30, note=LARGE)
    sim.advance(5)
    waiting = len(threads.waiting)
    threads.release(holding=False)
    sim.advance(5)

    assert waiting == 2 * BESIDE_MAX
    assert sim.receiver.accepted == dict.fromkeys(ids, 2)


def test_what_is_being_compressed_is_under_way(make):
    """The cursor does not pass a body on a thread, however long that takes, and the attempt's time begins with sending."""
    sim = make()
    threads = HeldThreads()
    running = start_on(sim, threads)

    ids = sim.append(1, note=LARGE)
    sim.advance(300)
    [forwarder] = running.worker.roster.forwarders()
    held = (sim.progress().cursor, list(sim.receiver.attempts), forwarder.in_flight, forwarder.idle)
    threads.release()
    sim.advance(1)

    assert held == (0, [], 1, False)
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert (sim.progress().cursor, sim.progress().failed_attempts) == (1, 0)


def test_a_stopped_worker_gives_back_what_is_being_compressed(make):
    """A body that is ready after the stop is not sent; the next worker sends it, as its first attempt."""
    sim = make()
    threads = HeldThreads()
    running = start_on(sim, threads)
    ids = sim.append(5, note=LARGE)
    sim.advance(1)

    running.stop.set()
    sim.advance(0.1)
    threads.release(holding=False)
    sim.advance(1)
    ended, sent, left = running.task.done(), list(sim.receiver.attempts), sim.progress()
    start_on(sim, HeldThreads(holding=False))
    sim.advance(5)

    assert (ended, sent, left.cursor, left.failed_attempts) == (True, [], 0, 0)
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert set(sim.attempts()) == set(range(1, 6))


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: replace(spec, auth_header_name="Authorization", auth_header_value="Bearer new"),
        lambda spec: replace(spec, format="ndjson"),
        lambda spec: replace(spec, url="https://new.example.com/"),
    ],
    ids=["credential", "format", "host"],
)
def test_a_body_that_is_ready_after_a_change_is_sent_by_the_new_configuration(make, change):
    """What was compressed for the old host, credential or format is not sent any more; the event goes once, the new way."""
    sim = make()
    threads = HeldThreads()
    running = start_on(sim, threads)
    ids = sim.append(3, note=LARGE)
    sim.advance(1)
    [forwarder] = running.worker.roster.forwarders()
    forwarder.attempts._channel.start = lambda *_: pytest.fail("the old host, or the old credential")

    sim.change(change)
    sim.advance(1)
    threads.release(holding=False)
    sim.advance(5)

    assert sim.receiver.accepted == dict.fromkeys(ids, 1)
    assert sim.progress().failed_attempts == 0


def test_without_compression_a_held_body_goes_as_it_is(make):
    """Where the change turned compression off, the event that was being compressed leaves uncompressed."""
    sim = make()
    threads = HeldThreads()
    start_on(sim, threads)
    ids = sim.append(2, note=LARGE)
    sim.advance(1)

    sim.receiver.split = split_plain
    sim.change(lambda spec: replace(spec, compression="none"))
    sim.advance(1)
    threads.release()
    sim.advance(5)

    assert sim.receiver.accepted == dict.fromkeys(ids, 1)


def test_a_body_that_is_ready_during_a_pause_waits_for_its_end(make):
    """Paused while its body was being compressed, an event is sent once, after the pause."""
    sim = make()
    threads = HeldThreads()
    start_on(sim, threads)
    ids = sim.append(3, note=LARGE)
    sim.advance(1)

    sim.change(lambda spec: replace(spec, enabled=False))
    sim.advance(1)
    threads.release(holding=False)
    sim.advance(60)
    paused = dict(sim.receiver.accepted)
    sim.change(lambda spec: replace(spec, enabled=True))
    sim.advance(5)

    assert paused == {}
    assert sim.receiver.accepted == dict.fromkeys(ids, 1)


def test_a_deleted_destination_is_sent_nothing_that_was_being_compressed(make):
    """A body that is ready after the deletion goes nowhere, and the worker goes on."""
    sim = make()
    threads = HeldThreads()
    running = start_on(sim, threads)
    sim.append(3, note=LARGE)
    sim.advance(1)

    sim.run(
        sim.directory.delete_destination(sim.org.organization_no, sim.destination.dst_id, sim.clock.now())
    )
    sim.bells.notify_changes()
    sim.advance(1)
    threads.release(holding=False)
    sim.advance(5)

    assert sim.receiver.attempts == []
    assert not running.task.done()


def test_without_a_thread_a_body_is_compressed_all_the_same(make):
    """Where the machine has no thread to give, a body is compressed on the event loop; nobody is blamed for it."""

    class NoThreads(Executor):
        """Threads that cannot be started."""

        def submit(self, *_: object, **__: object) -> None:
            raise RuntimeError("can't start new thread")

    sim = make()
    start_on(sim, NoThreads())
    sim.append(3, note=LARGE)
    sim.advance(1)

    assert sim.progress().delivered == 3
    assert sim.telemetry.named("destination.halted") == []


def test_a_failing_thread_halts_one_destination_and_no_other(make):
    """Where a body cannot be compressed for lack of memory, its destination pauses and loses nothing; others feel nothing."""
    sim = make()
    threads = HeldThreads()
    running = start_on(sim, threads)
    other = DestinationSpec(url="https://other.example.com/in", compression="gzip")
    sim.run(sim.add_destination(other))
    sim.advance(1)
    ids = [*sim.append(3, note="short"), *sim.append(1, note=LARGE)]
    sim.advance(1)

    broken, _ = threads.waiting.pop(0)
    broken.set_exception(MemoryError())
    sim.advance(1)
    threads.release(holding=False)
    sim.advance(1)
    soon = dict(sim.receiver.accepted)
    sim.advance(BUG_PAUSE_S + 5)

    assert sum(soon.values()) == 2 * 4 - 1
    assert all(count >= 2 for count in sim.receiver.accepted.values())
    assert set(sim.receiver.accepted) == set(ids)
    assert not running.task.done()
    assert [one["kind"] for one in sim.telemetry.named("destination.halted")] == ["MemoryError"]
