"""Counts of ingest in shared memory: one slot for each process, one sum for all."""

import os

import pytest

from aegis_stream.api.counts import SLOT_BYTES, IngestCounts, open_counts, share_counts
from aegis_stream.api.problems import STATUSES
from aegis_stream.errors import Misconfigured


@pytest.fixture
def shared():
    """Return the descriptor of counts for three processes."""
    fd = share_counts(3)
    yield fd
    os.close(fd)


def test_every_process_reads_the_sum(shared):
    """What each process counts in its slot, all of them read as one sum."""
    processes = [open_counts(shared, slot) for slot in range(3)]
    for number, one in enumerate(processes, 1):
        for _ in range(number):
            one.answered(202)
        one.recorded(100 * number, 10 * number, number)

    assert [one.requests() for one in processes] == [{"202": 6}] * 3
    assert [one.events() for one in processes] == [{"accepted": 600, "duplicate": 60, "rejected": 6}] * 3
    assert processes[0].processes == 3


def test_a_process_that_is_started_again_goes_on_counting(shared):
    """The next process in a slot adds to what the one before it counted, and changes no other slot."""
    open_counts(shared, 2).answered(422)
    open_counts(shared, 1).answered(422)

    again = open_counts(shared, 2)
    again.answered(422)

    assert again.requests() == {"422": 3}


def test_each_status_has_its_own_count():
    """Every status that ingest answers is told apart; any other one is counted as "other"."""
    counts, known = IngestCounts(), sorted({202, *(status for _, status, _ in STATUSES)})
    for status in [*known, 299, 418]:
        counts.answered(status)

    assert counts.requests() == {**{str(status): 1 for status in known}, "other": 2}
    assert counts.events() == {"accepted": 0, "duplicate": 0, "rejected": 0}


def test_counts_of_one_process_are_its_own():
    """Without shared memory two counts have nothing in common."""
    one, other = IngestCounts(), IngestCounts()
    one.recorded(1, 2, 3)

    assert one.events() == {"accepted": 1, "duplicate": 2, "rejected": 3}
    assert other.events() == {"accepted": 0, "duplicate": 0, "rejected": 0}
    assert (one.processes, one.requests()) == (1, {})


@pytest.mark.parametrize("slot", [-1, 3])
def test_a_slot_that_does_not_exist_is_refused(shared, slot):
    """A process whose slot the memory does not have says so instead of counting elsewhere."""
    with pytest.raises(Misconfigured, match="no slot"):
        open_counts(shared, slot)


def test_memory_of_another_version_is_refused(shared):
    """Memory whose length is no number of slots was made by another version, and is not written to."""
    os.ftruncate(shared, SLOT_BYTES + 8)

    with pytest.raises(Misconfigured, match="another version"):
        open_counts(shared, 0)


def test_a_descriptor_without_memory_is_refused():
    """A descriptor that is none of ours is named in the error."""
    reading, writing = os.pipe()
    try:
        with pytest.raises(Misconfigured, match=f"descriptor {reading}"):
            open_counts(reading, 0)
    finally:
        os.close(reading)
        os.close(writing)
