"""Promises of the reader that watchers of an organization share."""

import asyncio
from types import SimpleNamespace

import pytest

from aegis_stream.control import live
from aegis_stream.control.caller import Caller, Principal
from aegis_stream.control.live import Live
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import Limited, Unavailable

ALICE = Caller.of_key(Principal(1, "org_a", Scope.READ, "key_a"), None)
BOB = Caller.of_key(Principal(2, "org_b", Scope.READ, "key_b"), None)


@pytest.fixture
def reads(monkeypatch):
    """Count the reads of each organization; each finds what the list says, and then the last of it again."""
    made: dict[str, int] = {}
    answers: dict[str, list[object]] = {}

    async def read(_, caller):
        made[caller.org_id] = made.get(caller.org_id, 0) + 1
        await asyncio.sleep(0)
        found = answers.get(caller.org_id, ["same"])
        one = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(one, Exception):
            raise one
        return one

    monkeypatch.setattr(live.overview, "read", read)
    return SimpleNamespace(made=made, answers=answers)


async def first_of(watching, count):
    """Return the first things that somebody sees."""
    seen = []
    async for one in watching:
        seen.append(one)
        if len(seen) == count:
            break
    await watching.aclose()
    return seen


async def test_watchers_share_one_read(reads):
    """However many watch an organization, it is read once in a while; another one is read apart."""
    one = Live(interval_s=0.001)
    watching = [one.watch(None, ALICE) for _ in range(10)] + [one.watch(None, BOB)]
    await asyncio.gather(*[first_of(each, 3) for each in watching])

    assert reads.made["org_a"] < 10
    assert reads.made["org_b"] >= 3


async def test_nobody_watches_and_nothing_is_read(reads):
    """When the last watcher is gone the reads end."""
    one = Live(interval_s=0.001)
    await first_of(one.watch(None, ALICE), 2)
    before = dict(reads.made)
    await asyncio.sleep(0.02)

    assert reads.made == before
    assert one.watchers == 0


async def test_a_change_is_another_object(reads):
    """Without a change the same object comes again, so that nobody needs to compare."""
    reads.answers["org_a"] = ["a", "a", "b", "b"]
    seen = await first_of(Live(interval_s=0.001).watch(None, ALICE), 6)

    assert sorted(set(seen)) == ["a", "b"]
    assert len({id(each) for each in seen}) == 2


async def test_what_is_shown_first_was_read_after_the_call(reads):
    """Whoever comes while others watch gets no older read, and a read that had begun before is not enough."""
    reads.answers["org_a"] = ["old", "older than the call", "new"]
    one = Live(interval_s=3600)
    early = one.watch(None, ALICE)
    await anext(early)
    ticker = one._tickers[1]
    under_way = asyncio.create_task(ticker.read(None, ALICE))
    await asyncio.sleep(0)
    late = one.watch(None, ALICE)

    async with asyncio.timeout(20):
        assert await anext(late) == "new"
        await under_way
    await early.aclose()
    await late.aclose()


async def test_a_fault_ends_the_stream(reads):
    """Where the store cannot be read the watcher gets the error, and the next one a new reader."""
    reads.answers["org_a"] = ["a", Unavailable("the store is gone")]
    one = Live(interval_s=0.001)
    with pytest.raises(Unavailable):
        await first_of(one.watch(None, ALICE), 1000)
    reads.answers["org_a"] = ["b"]

    assert await first_of(one.watch(None, ALICE), 1) == ["b"]


async def test_who_comes_after_a_fault_gets_a_new_reader(reads):
    """Also while somebody who watched before has not noticed the fault yet."""
    reads.answers["org_a"] = ["a", Unavailable("the store is gone")]
    one = Live(interval_s=0.001)
    slow = one.watch(None, ALICE)
    await anext(slow)
    async with asyncio.timeout(5):
        while one.watchers:  # until the reader that met the fault is forgotten
            await asyncio.sleep(0.001)
    reads.answers["org_a"] = ["b"]

    async with asyncio.timeout(5):
        assert await first_of(one.watch(None, ALICE), 1) == ["b"]
    with pytest.raises(Unavailable):
        await anext(slow)
    assert one.watchers == 0


async def test_too_many_watchers_are_refused(reads, monkeypatch):
    """One more than the limit is told to wait; a place that becomes free is free."""
    monkeypatch.setattr(live, "WATCHERS_MAX", 2)
    one = Live(interval_s=0.001)
    kept = [one.watch(None, ALICE) for _ in range(2)]
    for each in kept:
        await anext(each)
    with pytest.raises(Limited):
        await anext(one.watch(None, ALICE))
    await kept[0].aclose()

    assert await first_of(one.watch(None, ALICE), 1) == ["same"]
    await kept[1].aclose()


async def test_closing_ends_all_streams(reads):
    """A process that stops ends every stream at once."""
    one = Live(interval_s=3600)
    watching = one.watch(None, ALICE)
    await anext(watching)
    one.close()

    assert [each async for each in watching] == []
