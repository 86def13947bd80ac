"""Who gets one of a process's connections; without connections or a loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.sender.shares import ConnectionShares


class FakeChannel:
    """A channel, reduced to its connections in use and its idle ones."""

    def __init__(self, shares: ConnectionShares, org_id: str = "org_a") -> None:
        self.shares = shares
        self.org_id = org_id
        self.busy = self.idle = self.told = 0

    def open(self) -> bool:
        """Open one more connection."""
        got = self.shares.enter(self.org_id, self)
        self.busy += got
        return got

    def fill(self) -> int:
        """Open connections until there is no more place; returns how many."""
        before = self.busy
        while self.open():
            pass
        return self.busy - before

    def end(self) -> None:
        """End one request, as a real channel does."""
        self.busy -= 1
        if self.shares.pressed and self.shares.must_give(self.org_id):
            self.shares.leave(self.org_id, self)
        else:
            self.idle += 1

    def give_up_any_idle(self) -> bool:
        if not self.idle:
            return False
        self.idle -= 1
        self.shares.leave(self.org_id, self)
        return True

    def find_room(self) -> None:
        self.told += 1


@pytest.mark.parametrize(("places", "part"), [(2, 1), (3, 1), (4, 2), (100, 50), (4096, 2048)])
def test_an_organization_alone_gets_half(places, part):
    """An organization gets at most half of the connections, however many channels it has."""
    shares = ConnectionShares(places)

    assert FakeChannel(shares).fill() == part
    assert FakeChannel(shares).fill() == 0


@given(
    st.integers(2, 40),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["open", "end"])), max_size=300),
)
def test_there_are_never_more_than_allowed(places, steps):
    """All organizations together never have more connections than allowed, whatever they do in whatever order."""
    shares, channels = ConnectionShares(places), {}
    for name, step in steps:
        channel = channels.setdefault(name, FakeChannel(shares, name))
        if step == "open":
            channel.open()
        elif channel.busy:
            channel.end()
        assert sum(one.busy + one.idle for one in channels.values()) <= places


@pytest.mark.parametrize("greedy", [1, 3, 10])
def test_shares_become_equal_as_requests_end(greedy):
    """Organizations that came first and took everything give way, request by request, until a late one has its share."""
    shares = ConnectionShares(60)
    first = [FakeChannel(shares, f"org_{number}") for number in range(greedy)]
    for channel in first:
        channel.fill()
    late = FakeChannel(shares, "late")
    part = 60 // (greedy + 2)

    for _ in range(200):
        late.open()
        for channel in first:
            if channel.busy:
                channel.end()
                channel.open()
        if late.busy == part:
            break

    assert late.busy == part


def test_an_idle_connection_gives_way_at_once():
    """An organization at its share closes an idle connection of another of its channels for a new one."""
    shares = ConnectionShares(4)
    lazy, eager = FakeChannel(shares), FakeChannel(shares)
    assert lazy.fill() == 2
    lazy.end()

    assert eager.open()
    assert (lazy.idle, eager.busy) == (0, 1)
    assert not eager.open()


def test_connections_are_kept_unless_somebody_needs_them():
    """As long as there is room and nobody waits, connections stay open after their request."""
    shares = ConnectionShares(8)
    channel = FakeChannel(shares)
    channel.open()
    channel.end()

    assert channel.idle == 1
    assert not shares.pressed


def test_who_waited_longest_is_told():
    """A free place is offered to the channel of each organization that has waited longest."""
    shares = ConnectionShares(4)
    busy, first, second = (FakeChannel(shares) for _ in range(3))
    busy.fill()
    shares.stop_waiting("org_a", busy)
    assert not first.open()
    assert not second.open()

    busy.end()
    assert (first.told, second.told) == (1, 0)
    busy.end()
    assert (first.told, second.told) == (1, 1)
    assert not shares.pressed


def test_a_place_that_was_not_needed_wakes_nobody():
    """A place that is given back unused tells nobody, so that two who wait elsewhere do not wake each other for ever."""
    shares = ConnectionShares(4)
    busy, waiting = FakeChannel(shares), FakeChannel(shares)
    busy.fill()
    waiting.open()

    shares.leave("org_a", busy, tell=False)

    assert waiting.told == 0
