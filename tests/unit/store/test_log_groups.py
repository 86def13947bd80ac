"""Which appends share a commit, and when it begins: promises of store/log.py, with a database that commits when a test says so."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.errors import Unavailable
from aegis_stream.store.database import EVENT_VALUES, Lane, LogAppend, NotAppended
from aegis_stream.store.log import GATHER_MANY_S, GATHER_S, MANY, StoredLog
from support.clock import T0
from support.outbound import in_virtual_time

ORG = OrganizationNo(5)
COMMIT_S = 0.0005
"""How long a commit takes here."""


class Counting:
    """A unit of work that stores nothing, and counts the events it was given."""

    def __init__(self) -> None:
        self.events = 0

    def append_each(self, whole: list[LogAppend], *_: Any) -> list[NotAppended]:
        self.events += sum(len(one.values) // EVENT_VALUES for one in whole)
        return [NotAppended.UNREACHABLE] * len(whole)


@dataclass
class HeldDatabase:
    """Commits one thing at a time, as the writer of a store does.

    Attributes:
        begun: of each commit, when it was asked for, seconds, and how many events were in it.
        busy: True while the writer is about something else.
    """

    begun: list[tuple[float, int]] = field(default_factory=list)
    busy: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def submit(self, work: Callable[[Any], Any], lane: Lane) -> "asyncio.Future[Any]":
        assert lane is Lane.APPEND
        loop = asyncio.get_running_loop()
        future, asked_s = loop.create_future(), loop.time()

        def commit() -> None:
            unit = Counting()
            result = work(unit)
            self.begun.append((round(asked_s, 6), unit.events))
            loop.call_later(COMMIT_S, future.set_result, result)

        self.waiting.append(commit)
        if not self.busy:
            loop.call_soon(self.go_on)
        return future

    def go_on(self) -> None:
        """Begin the oldest commit."""
        self.waiting.pop(0)()


@dataclass
class Bench:
    """A log with callers.

    Attributes:
        told: names of callers in the order in which they heard of their commit.
    """

    db: HeldDatabase = field(default_factory=HeldDatabase)
    told: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = StoredLog(cast(Any, self.db))

    def append(self, *callers: int) -> None:
        """Append an event of each of these callers."""
        for caller in callers:
            event = NewEvent(f"e{caller}", "", None, "{}", 0, None, 2)
            self.log.append(ORG, [event], T0, lambda _, caller=caller: self.told.append(caller))

    async def crowd(self, count: int) -> float:
        """Have so many callers append in one turn of the loop, and wait until they are told. Returns: when that commit began."""
        before = len(self.told)
        self.append(*range(count))
        while len(self.told) < before + count:
            await asyncio.sleep(COMMIT_S / 10)
        return self.db.begun[-1][0]


async def after(begun_s: float, seconds: float) -> None:
    """Wait until so long after a time."""
    await asyncio.sleep(begun_s + seconds - asyncio.get_running_loop().time())


def sizes(bench: Bench) -> list[int]:
    """Return how many events each commit had."""
    return [count for _, count in bench.db.begun]


@in_virtual_time
async def test_a_caller_who_is_alone_never_waits():
    """Each of its commits begins when it appends."""
    bench, at_s = Bench(), []
    for _ in range(3):
        at_s.append(round(asyncio.get_running_loop().time(), 6))
        await bench.crowd(1)

    assert bench.db.begun == [(at, 1) for at in at_s]


@in_virtual_time
async def test_callers_of_one_turn_share_a_commit():
    """Those who append at the same time are told at the same time, in the order in which they came."""
    bench = Bench()
    await bench.crowd(3)

    assert sizes(bench) == [3]
    assert bench.told == [0, 1, 2]


@in_virtual_time
async def test_a_commit_begins_when_all_have_come_who_were_told():
    """Three who were told come back one by one: the commit begins with the third, and not at the end of the wait."""
    bench = Bench()
    first_s = await bench.crowd(3)
    for caller in range(3):
        await after(first_s, GATHER_S / 2 + caller * GATHER_S / 10)
        bench.append(caller)
    await asyncio.sleep(COMMIT_S * 2)

    assert bench.db.begun[1:] == [(pytest.approx(first_s + 0.7 * GATHER_S), 3)]


@in_virtual_time
async def test_nobody_waits_long_for_a_caller_who_does_not_come():
    """Two of three come back: the commit begins GATHER_S after the last one began."""
    bench = Bench()
    first_s = await bench.crowd(3)
    bench.append(0, 1)
    await asyncio.sleep(GATHER_S * 2)

    assert bench.db.begun[1:] == [(pytest.approx(first_s + GATHER_S), 2)]


@pytest.mark.parametrize(("count", "wait_s"), [(MANY - 1, GATHER_S), (MANY, GATHER_MANY_S)])
@in_virtual_time
async def test_many_callers_are_waited_for_longer(count, wait_s):
    """From `MANY` callers on a commit costs little beside their requests, and is worth a longer wait."""
    bench = Bench()
    first_s = await bench.crowd(count)
    bench.append(0)
    await asyncio.sleep(GATHER_MANY_S * 2)

    assert bench.db.begun[1:] == [(pytest.approx(first_s + wait_s), 1)]


@in_virtual_time
async def test_those_who_wait_during_a_commit_are_expected_with_those_it_tells():
    """Two groups that took turns become one: the two who are told, and the one who waits."""
    bench = Bench()
    await bench.crowd(2)
    bench.append(0, 1)
    await asyncio.sleep(COMMIT_S / 2)
    bench.append(2)
    await asyncio.sleep(COMMIT_S)
    bench.append(0)
    await asyncio.sleep(COMMIT_S / 10)
    before = sizes(bench)
    bench.append(1)
    await asyncio.sleep(COMMIT_S / 10)

    assert before == [2, 2]
    assert sizes(bench) == [2, 2, 3]


@in_virtual_time
async def test_a_crowd_is_expected_for_a_while_after_it_became_smaller():
    """What is expected falls by a quarter with each smaller commit; a commit for one alone ends it."""
    bench = Bench()
    await bench.crowd(8)
    expected = [bench.log._expected]
    for size in (2, 2, 2, 1):
        await bench.crowd(size)
        expected.append(bench.log._expected)

    assert expected == [8, 6, 4, 3, 1]


@in_virtual_time
async def test_what_comes_before_the_writer_is_ready_goes_along():
    """A commit that was asked for takes what is appended until the writer begins it, and nothing afterwards."""
    bench = Bench(HeldDatabase(busy=True))
    bench.append(0)
    await asyncio.sleep(0)
    bench.append(1)
    await asyncio.sleep(1.0)
    asked = len(bench.db.waiting)
    bench.db.go_on()
    bench.append(2)
    await asyncio.sleep(1.0)
    bench.db.go_on()

    assert asked == 1
    assert sizes(bench) == [2, 1]


class DatabaseAtOnce:
    """Commits at once, as a store without threads does.

    Args:
        end: gives the future of a commit its end.
    """

    def __init__(self, end: Callable[["asyncio.Future[Any]"], object]) -> None:
        self._end = end

    def submit(self, work: Callable[[Any], Any], lane: Lane) -> "asyncio.Future[Any]":
        work(Counting())
        future = asyncio.get_running_loop().create_future()
        self._end(future)
        return future


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda future: future.set_result([Unavailable("a")]), ("unavailable", "a")),
        (lambda future: future.set_exception(Unavailable("full")), ("unavailable", "full")),
        (lambda future: future.set_exception(GeneratorExit("ended")), ("unavailable", "ended")),
        (lambda future: future.cancel(), ("store-unwritable", "the store is closing")),
    ],
)
@in_virtual_time
async def test_everybody_is_told_how_the_commit_ended(end, told):
    """By the result, by an error, or that the store closes: nobody waits for ever."""
    log, results = StoredLog(cast(Any, DatabaseAtOnce(end))), []
    log.append(ORG, [NewEvent("e", "", None, "{}", 0, None, 2)], T0, results.append)
    await asyncio.sleep(0.001)

    assert [(one.code, str(one)) for one in results] == [told]


@in_virtual_time
async def test_a_caller_that_fails_does_not_keep_the_others_from_being_told():
    """Its error goes to the event loop's handler; each of the others hears how the commit ended."""
    bench, found = Bench(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    event, error = NewEvent("e", "", None, "{}", 0, None, 2), RuntimeError("a bug")

    def fail(_: Any) -> None:
        raise error

    results: list[Any] = []
    bench.log.append(ORG, [event], T0, fail)
    bench.log.append(ORG, [event], T0, results.append)
    await asyncio.sleep(COMMIT_S * 2)

    assert [one["exception"] for one in found] == [error]
    assert "append" in found[0]["message"]
    assert [type(one) for one in results] == [Unavailable]
