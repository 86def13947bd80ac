"""Which of a name's addresses is connected to, on simulated time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.sender.race import (
    DEAD_S,
    HANDSHAKE_S,
    HEAD_START_S,
    UNDER_WAY_MAX,
    Failed,
    Progress,
    Race,
    Reach,
)
from support.simulation import VirtualLoop

NEVER = 1e9
ATTEMPT_S = 10.0


class Made:
    """A connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Network:
    """Addresses that accept, fail or swallow packets after some time, and may take more for the handshake.

    Args:
        script: address → (seconds, error or None, seconds of the handshake).
    """

    def __init__(self, script: dict[str, tuple[float, Exception | None, float]]) -> None:
        self.script = script
        self.began: list[str] = []
        self.made: list[Made] = []
        self.now = self.most = 0

    async def connect(self, progress: Progress) -> Made:
        self.began.append(progress.address)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            seconds, error, handshake_s = self.script[progress.address]
            async with asyncio.timeout(ATTEMPT_S):
                await asyncio.sleep(seconds)
                if error is not None:
                    raise error
                progress.accepted = True
                await asyncio.sleep(handshake_s)
        except TimeoutError as late:
            raise Failed(late) from late
        finally:
            self.now -= 1
        self.made.append(Made(progress.address))
        return self.made[-1]


def refused(*, dead: bool = True) -> Failed:
    """Return a failure of one address."""
    return Failed(ConnectionRefusedError(), dead=dead)


def simulate(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run on a loop whose time jumps; returns the result and how long it took."""
    loop = VirtualLoop()
    began_s = loop.time()
    try:
        return loop.run_until_complete(work()), loop.time() - began_s
    finally:
        loop.close()


async def race(network: Network, reach: Reach | None = None) -> Made:
    """Connect to one of the network's addresses."""
    reach = reach or Reach()
    now = asyncio.get_running_loop().time()
    return await Race(network.connect, reach).run(reach.in_order(list(network.script), now), now + ATTEMPT_S)


LIVE, DEAD = (0.05, None, 0.0), (NEVER, None, 0.0)


@pytest.mark.parametrize("dead", [1, 4, 5, 15, 31])
def test_the_one_that_lives_is_found(dead):
    """However many addresses swallow packets, the one behind them is reached well within the attempt."""
    network = Network({**{f"dead{i}": DEAD for i in range(dead)}, "live": LIVE})

    made, took_s = simulate(lambda: race(network))

    assert made.address == "live"
    assert took_s <= min(dead * HEAD_START_S, ATTEMPT_S) + 0.1
    assert network.most <= UNDER_WAY_MAX + 1
    assert network.now == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.01, 0.2, 0.3, 1.0, NEVER]),
            st.booleans(),
            st.sampled_from([0.0, 0.3, NEVER]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_one_connection_or_a_failure(outcomes):
    """Whatever the addresses do, there is one open connection or a failure, and nothing stays under way."""
    network = Network(
        {
            f"a{number}": (seconds, refused() if fails else None, handshake_s)
            for number, (seconds, fails, handshake_s) in enumerate(outcomes)
        }
    )

    async def work() -> Made | None:
        try:
            return await race(network)
        except (ConnectionRefusedError, TimeoutError):
            return None

    made, took_s = simulate(work)

    good = any(seconds <= 1 and not fails and handshake_s <= 0.3 for seconds, fails, handshake_s in outcomes)
    assert (made is not None) == good
    assert took_s <= 2 * ATTEMPT_S + len(outcomes) * HANDSHAKE_S
    assert [one for one in network.made if not one.aborted] == ([made] if made else [])
    assert network.now == 0


def test_a_refusal_costs_no_time():
    """After an address that refuses, the next one is tried at once."""
    network = Network({"a": (0.0, refused(), 0), "b": (0.0, refused(), 0), "c": (0.0, None, 0)})

    made, took_s = simulate(lambda: race(network))

    assert (made.address, took_s) == ("c", 0.0)


def test_a_handshake_has_more_time():
    """An address that has accepted the connection is given more time before the next one is tried."""
    network = Network({"slow": (0.1, None, 1.0), "other": LIVE})

    made, _ = simulate(lambda: race(network))

    assert made.address == "slow"
    assert network.began == ["slow"]


def test_what_is_known_dead_comes_last_for_a_while():
    """An address that failed or was too slow is tried after the others, until it may have recovered."""
    reach = Reach()
    network = Network({"dead": DEAD, "refused": (0.0, refused(), 0), "live": LIVE})

    async def work() -> list[list[str]]:
        orders = []
        for pause_s in (0, DEAD_S / 2, DEAD_S):
            await asyncio.sleep(pause_s)
            network.began.clear()
            await race(network, reach)
            orders.append(list(network.began))
        return orders

    orders, _ = simulate(work)

    assert orders == [["dead", "refused", "live"], ["live"], ["dead", "refused", "live"]]
    assert reach.knows_one


def test_want_of_a_place_is_not_a_dead_address():
    """An address at which there is no place now is passed over, and not tried last for that."""
    reach = Reach()
    network = Network({"full": (0.0, refused(dead=False), 0), "live": LIVE})

    simulate(lambda: race(network, reach))

    assert reach.in_order(["full", "live"], 1000.0) == ["full", "live"]


def test_another_error_ends_the_race():
    """An error that is about all addresses ends the race, and closes what is under way."""
    network = Network({"dead": DEAD, "wrong": (0.0, ValueError("certificate"), 0), "live": LIVE})

    async def work() -> None:
        with pytest.raises(ValueError, match="certificate"):
            await race(network)

    simulate(work)
    assert network.began == ["dead", "wrong"]
    assert network.now == 0


def test_cancellation_leaves_nothing_open():
    """After a cancelled race nothing is under way."""
    network = Network({f"dead{i}": DEAD for i in range(5)})

    async def work() -> None:
        task = asyncio.ensure_future(race(network))
        await asyncio.sleep(1.1)
        assert network.now == 5
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    simulate(work)
    assert network.now == 0
    assert not network.made
