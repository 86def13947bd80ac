"""Shares of organizations in look-ups, on simulated time."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aegis_stream.sender.look_ups import (
    ALL_MAX,
    ANSWER_MAX,
    FAILED_S,
    LOOK_UP_S,
    ORGANIZATION_MAX,
    PLACE_S,
    QUEUE_MAX,
    SLOWED_S,
    LookUps,
    LookUpsFull,
    PromptLookUps,
    TooManyAddresses,
)
from support.simulation import VirtualLoop

NEVER = 1e9


class FakeResolver:
    """Takes its time for each name, and counts."""

    def __init__(self, script: Callable[[str], tuple[float, list[str] | Exception]]) -> None:
        self.script = script
        self.asked: list[tuple[float, str]] = []
        self.now = self.most = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append((asyncio.get_running_loop().time() - 1000, host))
        seconds, outcome = self.script(host)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def simulate(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run on a loop whose time jumps."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


async def ended(look_ups: LookUps, org_id: str, names: list[str]) -> list[Any]:
    """Look up names at the same time."""
    one = look_ups.of(org_id)
    return await asyncio.gather(*(one.resolve(name, 443) for name in names), return_exceptions=True)


def test_one_organization_holds_its_share_only():
    """However many names an organization asks for, only so many look-ups run, and others begin at once."""
    resolver = FakeResolver(lambda host: (0.0 if host == "good" else NEVER, ["192.0.2.1"]))

    async def work() -> float:
        look_ups = LookUps(resolver)
        bad = asyncio.ensure_future(ended(look_ups, "org_bad", [f"dead{i}" for i in range(160)]))
        await asyncio.sleep(1)
        assert resolver.now == ORGANIZATION_MAX
        began = asyncio.get_running_loop().time()
        await ended(look_ups, "org_good", ["good"])
        took_s = asyncio.get_running_loop().time() - began
        assert all(isinstance(one, socket.gaierror) for one in await bad)
        return took_s

    assert simulate(work) == 0.0


def test_all_organizations_together_have_a_bound():
    """The look-ups of all organizations together have a bound, and each of them ends."""
    resolver = FakeResolver(lambda _: (NEVER, []))

    async def work() -> None:
        look_ups, began = LookUps(resolver), asyncio.get_running_loop().time()
        many = 2 * ALL_MAX // ORGANIZATION_MAX
        names = [f"n{i}" for i in range(ORGANIZATION_MAX)]
        await asyncio.gather(*(ended(look_ups, f"org_{i}", names) for i in range(many)))
        took_s = asyncio.get_running_loop().time() - began
        assert took_s == pytest.approx(2 * LOOK_UP_S)

    simulate(work)
    assert resolver.most == ALL_MAX


def test_one_look_up_for_all_who_ask():
    """Those who ask for the same name share one look-up; one who gives up takes nothing from the others."""
    resolver = FakeResolver(lambda _: (1.0, ["192.0.2.1"]))

    async def work() -> list[Any]:
        one = LookUps(resolver).of("org_a")
        asking = [asyncio.ensure_future(one.resolve("siem", 443)) for _ in range(5)]
        await asyncio.sleep(0.5)
        asking[0].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    answers = simulate(work)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [["192.0.2.1"]] * 4
    assert len(resolver.asked) == 1


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "x"), ValueError("label"), OSError()])
def test_a_failure_is_kept_for_a_moment(error):
    """A name that does not resolve is not asked for again at once, but later it is."""
    resolver = FakeResolver(lambda _: (0.0, error))

    async def work() -> None:
        one = LookUps(resolver).of("org_a")
        for _ in range(10):
            with pytest.raises(type(error)):
                await one.resolve("gone", 443)
        assert len(resolver.asked) == 1
        await asyncio.sleep(FAILED_S)
        with pytest.raises(type(error)):
            await one.resolve("gone", 443)

    simulate(work)
    assert len(resolver.asked) == 2


def test_names_that_wait_have_a_bound():
    """Beyond the bound of names that wait, a look-up fails at once as a temporary failure."""
    resolver = FakeResolver(lambda _: (NEVER, []))

    async def work() -> None:
        look_ups = LookUps(resolver)
        one = look_ups.of("org_a")
        waiting = [asyncio.ensure_future(one.resolve(f"n{i}", 443)) for i in range(QUEUE_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(socket.gaierror) as caught:
            await one.resolve("one more", 443)
        assert caught.value.errno == socket.EAI_AGAIN
        look_ups.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    simulate(work)


def test_huge_answers_slow_their_organization_down():
    """After an answer with very many addresses an organization's look-ups come one a second; others are not slowed."""
    huge = [f"10.0.{i // 250}.{i % 250}" for i in range(ANSWER_MAX + 1)]
    resolver = FakeResolver(lambda host: (0.0, huge if "huge" in host else ["192.0.2.1"]))

    async def work() -> None:
        look_ups = LookUps(resolver)
        with pytest.raises(TooManyAddresses):
            await look_ups.of("org_a").resolve("huge", 443)
        await asyncio.gather(
            ended(look_ups, "org_a", [f"huge{i}" for i in range(5)]),
            ended(look_ups, "org_b", [f"log{i}" for i in range(5)]),
        )
        await asyncio.sleep(SLOWED_S)
        await ended(look_ups, "org_a", [f"siem{i}" for i in range(5)])

    simulate(work)
    times = {host: at for at, host in resolver.asked}
    assert [times[f"huge{i}"] for i in range(5)] == pytest.approx([1, 2, 3, 4, 5])
    assert {at for host, at in times.items() if host.startswith("log")} == {0}
    assert {at for host, at in times.items() if host.startswith("siem")} == {5 + SLOWED_S}


def test_organizations_without_look_ups_are_forgotten():
    """The number of organizations that are remembered has a bound."""
    resolver = FakeResolver(lambda _: (0.0, ["192.0.2.1"]))

    async def work() -> int:
        look_ups = LookUps(resolver)
        for i in range(5000):
            await look_ups.of(f"org_{i}").resolve("siem", 443)
        return len(look_ups._of)

    assert simulate(work) <= 1000


def test_whoever_has_no_place_is_told_so_and_not_that_a_name_server_is_silent():
    """Names that wait behind dead ones fail within a second for our own limit; the dead ones fail as names."""
    resolver = FakeResolver(lambda host: (NEVER if host.startswith("dead") else 0.0, ["192.0.2.1"]))

    async def work() -> tuple[list[Any], list[Any], float, list[Any]]:
        look_ups = LookUps(resolver)
        dead = asyncio.ensure_future(ended(look_ups, "org", [f"dead{i}" for i in range(ORGANIZATION_MAX)]))
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        prompt = PromptLookUps(look_ups.of("org"))
        behind = await asyncio.gather(
            *(prompt.resolve(name, 443) for name in ("behind", "behind", "another")), return_exceptions=True
        )
        took_s = asyncio.get_running_loop().time() - began
        failed = await dead
        return failed, behind, took_s, await ended(look_ups, "org", ["behind"])

    failed, behind, took_s, later = simulate(work)

    assert [type(one) for one in failed] == [socket.gaierror] * ORGANIZATION_MAX
    assert [type(one) for one in behind] == [LookUpsFull] * 3
    assert took_s == PLACE_S
    assert later == [["192.0.2.1"]]
