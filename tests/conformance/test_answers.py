"""Promises about the answers to failed attempts that the store keeps for people."""

import pytest

from aegis_stream.domain.delivery import AttemptRun, KeptAnswer
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.store import answers, attempts
from support.stores import T0, add_destination, append_to, events, serve, settle, settlement


def answered(second: int, first: int, last: int, message: str = "answered 503", status: int = 503):
    """Build an answer to a request of a range of events."""
    at = Micros(T0 + second * SECOND)
    return KeptAnswer(at, first, last, f"{first}-{last}", status, message, "server: x", f"busy {second}")


def failed(second: int, sequence: int, message: str = "answered 503", status: int = 503) -> AttemptRun:
    """Build the row of a failed attempt of one event."""
    return AttemptRun(sequence, sequence, 1, "failed", status, message, 7, Micros(T0 + second * SECOND))


@pytest.fixture
async def served(store, org):
    """A destination with nine events, and the lease under which it is served."""
    destination = await add_destination(store, org)
    await append_to(store.log, org, events(1, 9), T0)
    return destination, await serve(store)


async def found_for(store, destination, sequence: int) -> list[str | None]:
    """Return the excerpt that is shown for each attempt of an event, newest first."""

    def work(unit):
        rows = attempts.list_of(unit, destination, attempts.AttemptQuery(None, sequence, 2**62, 100))
        return [answers.find(unit, destination, row, sequence) for row in rows]

    return [one.excerpt if one is not None else None for one in await store.db.read(work)]


async def test_an_attempt_has_its_answer_or_that_of_one_that_failed_alike(store, org, served):
    """The answer to the attempt itself is preferred; else it is the newest before it with the same status and message."""
    destination, lease = served
    runs = [failed(1, 1), failed(2, 4), failed(3, 5), failed(4, 6, "answered 400", 400), failed(5, 7)]
    kept = [answered(1, 1, 3), answered(3, 5, 5)]
    await settle(store, settlement(lease, org, 9, runs=runs, answers=kept))

    found = [await found_for(store, destination, sequence) for sequence in (1, 4, 5, 6, 7)]

    assert found == [["busy 1"], ["busy 1"], ["busy 3"], [None], ["busy 3"]]


async def test_a_repeated_answer_is_kept_once(store, org, served):
    """An answer that a settlement brings again changes nothing."""
    _, lease = served
    for _ in range(2):
        await settle(store, settlement(lease, org, 9, answers=[answered(1, 1, 3)]))

    assert store.count("answers") == 1


async def test_a_destination_keeps_its_newest_answers(store, org, served, monkeypatch):
    """Beyond a number the oldest answers go, so that a receiver that always says something else does not fill the store."""
    monkeypatch.setattr(answers, "ANSWERS_MAX", 3)
    destination, lease = served
    for second in range(1, 6):
        await settle(
            store,
            settlement(
                lease,
                org,
                9,
                runs=[failed(second, second, f"m{second}")],
                answers=[answered(second, second, second, f"m{second}")],
            ),
        )

    found = [await found_for(store, destination, sequence) for sequence in range(1, 6)]

    assert found == [[None], [None], ["busy 3"], ["busy 4"], ["busy 5"]]


async def test_answers_go_with_the_attempts(store, org, served):
    """Retention removes answers that are as old as attempts that it removes, leaves the others, and counts all that went."""
    destination, lease = served
    runs = [failed(1, 1), failed(100, 2, "other")]
    await settle(
        store, settlement(lease, org, 9, runs=runs, answers=[answered(1, 1, 1), answered(100, 2, 2, "other")])
    )

    removed = await store.retention.step(Micros(T0 + 50 * SECOND))

    assert store.count("answers") == 1
    assert removed == 9 + 1 + 1, "the events, an attempt and its answer: 0 would end the sweep"
    assert await found_for(store, destination, 2) == ["busy 100"]


async def test_answers_go_with_their_destination(store, org, served):
    """When a destination is deleted nothing of its answers stays."""
    destination, lease = served
    await settle(store, settlement(lease, org, 9, answers=[answered(1, 1, 1)]))

    await store.directory.delete_destination(org, destination.dst_id, T0)
    while await store.retention.step(Micros(0)):
        pass

    assert store.count("answers") == 0
