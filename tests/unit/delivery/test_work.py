"""Events that travel in one request: promises of delivery/work.py."""

from dataclasses import dataclass, replace

from aegis_stream.delivery.work import Limits, Work
from aegis_stream.domain.destination import BatchPolicy
from aegis_stream.formats import REGISTRY


@dataclass
class FakeSource:
    """Where work comes from; nothing is asked of it."""


def make_work() -> Work:
    """Build a request of four events, between which the filter leaves some out."""
    sequences, bodies = [11, 12, 15, 18], [b"a", b"bb", b"ccc", b"dddd"]
    return Work(FakeSource(), 10, 20, sequences, bodies, 3, may_be_stored=True)


def test_a_request_is_as_large_as_its_events_in_the_format():
    """Bodies count, and what the format adds to each."""
    assert make_work().bytes_with(7) == 1 + 2 + 3 + 4 + 4 * 7
    assert make_work().bytes_with(0) == 10


def test_two_parts_are_the_whole():
    """Both parts have the source, the attempt and the history of the whole; their stretches of the log touch."""
    whole = make_work()

    left, right = whole.split(1)

    assert (left.first, left.last, left.sequences, left.bodies) == (10, 11, [11], [b"a"])
    assert (right.first, right.last, right.sequences) == (12, 20, [12, 15, 18])
    assert right.bodies == [b"bb", b"ccc", b"dddd"]
    for part in (left, right):
        assert part.source is whole.source
        assert (part.attempt, part.may_be_stored) == (3, True)


def test_halves_are_halves():
    """A batch is cut in the middle."""
    left, right = make_work().halves()

    assert (left.sequences, right.sequences) == ([11, 12], [15, 18])


def test_an_event_that_travels_alone_has_nothing_added():
    """Where the format takes one event a request, its body is the request, whatever a batch of it would add."""
    batch = BatchPolicy(max_events=500, max_bytes=1000)
    alone = replace(REGISTRY["ndjson"], batches=False, frame_bytes=9)

    assert Limits.of(batch, alone) == Limits(1, 1000, 0)
    assert Limits.of(batch, REGISTRY["json"]).frame_bytes == 0
