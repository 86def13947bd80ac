"""Promises of aegis_stream.receiver.inbox: every event once."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_stream.receiver import TEST_DATASET, BusyError, Inbox, event_id, is_test


def make_event(identity="pflt_1", dataset="aegis.preflight"):
    """Return the smallest event of a dataset."""
    return {"event": {"id": identity, "dataset": dataset}}


def handle(inbox, event):
    """Handle an event successfully; return whether it was new."""
    with inbox.once(event) as first_time:
        return first_time


def test_the_second_time_is_a_duplicate():
    """An event is new once, and so is another one."""
    inbox = Inbox()

    assert [handle(inbox, make_event(identity)) for identity in ("a", "a", "b", "a")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_dotted_id_is_the_same_id():
    """An id and a dataset spelled with a dot count like nested ones."""
    inbox = Inbox()

    assert handle(inbox, {"event.id": "a", "event": {"kind": "event"}})
    assert not handle(inbox, make_event("a"))
    assert is_test({"event.dataset": TEST_DATASET})


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
def test_an_event_that_failed_is_not_remembered(exception):
    """After an exception or a cancellation, the repeated event counts as new."""
    inbox = Inbox()

    with pytest.raises(exception), inbox.once(make_event()):
        raise exception

    assert handle(inbox, make_event())


def test_an_event_in_work_is_neither_new_nor_done():
    """While one request handles an event, a second one gets BusyError, and a failed duplicate changes nothing."""
    inbox = Inbox()

    with inbox.once(make_event()) as first_time:
        assert first_time
        with pytest.raises(BusyError), inbox.once(make_event()):
            pass
        with pytest.raises(BusyError), inbox.once(make_event()):
            pass

    assert not handle(inbox, make_event())


def test_the_least_recent_event_is_forgotten_first():
    """Memory is bounded, and a duplicate makes its event the most recent."""
    inbox = Inbox(remember_max=2)
    for identity in ("a", "b", "a", "c"):
        handle(inbox, make_event(identity))

    assert len(inbox) == 2
    assert not handle(inbox, make_event("a"))
    assert not handle(inbox, make_event("c"))
    assert handle(inbox, make_event("b"))


def test_memory_has_a_size():
    """An inbox that remembers nothing is an error."""
    with pytest.raises(ValueError, match="at least 1"):
        Inbox(remember_max=0)


@pytest.mark.parametrize("event", [{}, {"event": "text"}, {"event": {}}, {"event": {"id": 7}}], ids=repr)
def test_an_event_without_an_id_is_always_new(event):
    """An event without an id is always new: better twice than never."""
    inbox = Inbox()

    assert event_id(event) is None
    assert handle(inbox, event)
    assert handle(inbox, event)
    assert len(inbox) == 0


def test_threads_agree_on_who_was_first():
    """If many threads have the same event, exactly one handles it."""
    inbox = Inbox()

    def deliver(number):
        try:
            return handle(inbox, make_event(str(number % 50)))
        except BusyError:
            return None

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(deliver, range(2000)))

    assert outcomes[True] == 50
    assert sum(outcomes.values()) == 2000


def test_the_dataset_tells_test_events():
    """An event with the reserved dataset is a test event, whatever else it has."""
    assert is_test(make_event(dataset=TEST_DATASET))
    assert TEST_DATASET == "aegis.audit_stream.test"
    assert not is_test({**make_event(), "aegis": {"test": True}})
    assert not is_test({"event": None})
