"""The last requests of a key: noted while somebody looks, by all processes, within bounds."""

import os

import pytest

from aegis_stream.api import recent as recent_module
from aegis_stream.api.counts import IngestCounts, open_counts, share_counts
from aegis_stream.api.recent import KEYS_MAX, SHOWN_MAX, WATCH_US, SeenRequest
from aegis_stream.domain.ids import Micros


@pytest.fixture
def processes():
    """Return what three processes of one service share."""
    fd = share_counts(3)
    yield [open_counts(fd, slot).recent for slot in range(3)]
    os.close(fd)


def seen(at, **fields):
    """Build a request."""
    return SeenRequest(**({"at": Micros(at), "status": 202, "size": 100, "accepted": 1} | fields))


def test_nothing_is_noted_unless_somebody_looks():
    """Before anybody looks, and after the last look is over, requests leave nothing."""
    recent = IngestCounts().recent
    recent.note("key_1", seen(1))
    recent.watch("key_1", 0)
    before = recent.of("key_1")
    recent.note("key_1", seen(2))
    recent.note("key_2", seen(3))
    recent.refresh(WATCH_US)
    recent.note("key_1", seen(4))

    assert before == []
    assert [one.at for one in recent.of("key_1")] == [2]
    assert recent.of("key_2") == []
    assert recent.watched == {}


def test_all_processes_note_and_read(processes):
    """Whoever looks at one process sees the requests of all, the newest first, with all that was noted."""
    processes[0].watch("key_1", 0)
    refused = seen(7, status=422, accepted=0, rejected=2, duplicates=1, reason="event 0: é must be text")
    for number, one in enumerate(processes):
        one.refresh(10)
        one.note("key_1", refused if number == 2 else seen(number + 1))

    assert [one.at for one in processes[1].of("key_1")] == [7, 2, 1]
    assert processes[1].of("key_1")[0] == refused


def test_a_key_has_the_newest_requests_only(processes):
    """However many requests come, twenty are shown."""
    processes[0].watch("key_1", 0)
    for at in range(1, 100):
        processes[0].note("key_1", seen(at))

    assert [one.at for one in processes[1].of("key_1")] == list(range(99, 99 - SHOWN_MAX, -1))


def test_few_keys_are_looked_at_and_do_not_mix(processes):
    """One key more than there are places ends the watch that began first; no key shows requests of another."""
    recent = processes[0]
    for number in range(KEYS_MAX + 1):
        recent.watch(f"key_{number}", number)
        recent.note(f"key_{number}", seen(number + 1))
    recent.note("key_0", seen(50))

    shown = [[one.at for one in recent.of(f"key_{number}")] for number in range(KEYS_MAX + 1)]
    assert shown == [[number + 1] for number in range(KEYS_MAX + 1)]


def test_looking_again_goes_on(processes):
    """A second look prolongs the first, and what was noted stays."""
    recent = processes[0]
    recent.watch("key_1", 0)
    recent.note("key_1", seen(1))
    recent.watch("key_1", WATCH_US - 1)
    recent.refresh(WATCH_US + 1)
    recent.note("key_1", seen(2))

    assert [one.at for one in recent.of("key_1")] == [2, 1]


def test_while_nobody_looks_a_process_compares_one_number(processes, monkeypatch):
    """The marks of keys are read after a look in any process and until its time is over, and not otherwise."""
    other, mine = processes[:2]
    read = []
    marks = recent_module._WATCH

    class Counted:
        size = marks.size
        pack_into = staticmethod(marks.pack_into)

        @staticmethod
        def unpack_from(*where):
            read.append(where)
            return marks.unpack_from(*where)

    monkeypatch.setattr(recent_module, "_WATCH", Counted)
    mine.refresh(1)
    assert read == []
    other.watch("key_1", 2)
    read.clear()
    mine.refresh(3)
    assert (len(read), list(mine.watched.values())) == (KEYS_MAX, [0])
    mine.refresh(3 + WATCH_US)
    assert mine.watched == {}
    read.clear()
    mine.refresh(4 + WATCH_US)
    assert read == []


def test_whatever_is_noted_fits():
    """A long reason is cut, and a number beyond its place is shown as the largest."""
    recent = IngestCounts().recent
    recent.watch("key_1", 0)
    recent.note("key_1", seen(1, size=1 << 40, reason="ü" * 1000))
    recent.note("key_1", seen(2))

    newest, oldest = recent.of("key_1")
    assert (newest.size, newest.reason) == (100, "")
    assert oldest.size == (1 << 32) - 1
    assert 50 < len(oldest.reason) < 200


def test_requests_and_counts_do_not_touch(processes):
    """What is noted changes no count."""
    counts = IngestCounts()
    counts.answered(202)
    counts.recent.watch("key_1", 0)
    for at in range(1, 100):
        counts.recent.note("key_1", seen(at, reason="x" * 500))

    assert counts.requests() == {"202": 1}
    assert counts.events() == {"accepted": 0, "duplicate": 0, "rejected": 0}
