"""Who gets one of a process's connections; without connections or a loop."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.sender.shares import ASKED_MAX, TURN_S, ConnectionShares


class FakeChannel:
    """A channel, reduced to its connections in use and its idle ones."""

    def __init__(self, shares: ConnectionShares, org_id: str = "org_a") -> None:
        self.shares = shares
        self.org_id = org_id
        self.busy = self.idle = self.told = self.asked = 0
        self.age_s = TURN_S

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
        if self.shares.pressed and self.shares.must_give(self.org_id, self, self.age_s):
            self.shares.leave(self.org_id, self)
        else:
            self.idle += 1

    def give_up_idle(self, shares: ConnectionShares) -> bool:
        self.asked += 1
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
    assert first.open()
    busy.end()
    assert (first.told, second.told) == (1, 1)
    assert second.open()
    assert not shares.pressed


def test_a_place_that_was_not_needed_wakes_nobody():
    """A place that is given back unused tells nobody, so that two who wait elsewhere do not wake each other for ever."""
    shares = ConnectionShares(4)
    busy, waiting = FakeChannel(shares), FakeChannel(shares)
    busy.fill()
    waiting.open()

    shares.leave("org_a", busy, tell=False)

    assert waiting.told == 0


class Backlog(FakeChannel):
    """A channel with more to send than places: it uses each connection again at once, and counts its dials and requests."""

    def __init__(self, shares: ConnectionShares, wanted: int = 16) -> None:
        super().__init__(shares)
        self.wanted = wanted
        self.dials = self.requests = 0

    def work(self, age_s: float) -> None:
        """End each request and begin the next, on the same connection or on a new one."""
        for _ in range(self.busy):
            self.busy -= 1
            self.requests += 1
            if self.shares.pressed and self.shares.must_give(self.org_id, self, age_s):
                self.shares.leave(self.org_id, self)
            else:
                self.busy += 1
        while self.busy < self.wanted and self.open():
            self.dials += 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_connections_are_used_again_while_others_wait(wanted, chance):
    """However many channels wait for more connections, each has some, nobody has two more than one that waits, and dials are few."""
    shares = ConnectionShares(128)
    channels = [Backlog(shares, one) for one in wanted]

    def work(rounds: int) -> int:
        for _ in range(rounds):
            chance.shuffle(channels)
            for channel in channels:
                channel.work(0.1)
        return sum(one.dials for one in channels)

    settled = work(50)
    dials = work(20) - settled
    short = [one.busy for one in channels if one.busy < one.wanted]

    assert sum(one.busy for one in channels) == min(64, sum(wanted))
    assert min(one.busy for one in channels) >= 1
    assert not short or max(one.busy for one in channels) <= min(short) + 1
    assert dials == 0


def test_more_channels_than_places_take_turns():
    """With twice as many channels as places everybody gets a connection again and again, each for many requests."""
    shares = ConnectionShares(16)
    channels = [Backlog(shares) for _ in range(16)]

    for turn in range(400):
        for channel in channels:
            channel.work(TURN_S if turn % 20 == 0 else 0.1)

    assert all(one.requests >= 50 for one in channels)
    assert sum(one.dials for one in channels) <= sum(one.requests for one in channels) / 4


def test_a_place_that_was_offered_is_kept_for_that_channel():
    """While a channel that was told of a place looks its name up, a channel that has one does not take it."""
    shares = ConnectionShares(4)
    busy, told, late = (FakeChannel(shares) for _ in range(3))
    busy.fill()
    shares.stop_waiting("org_a", busy)
    assert not told.open()
    busy.end()

    assert told.told == 1
    assert not busy.open()
    assert not late.open()
    assert told.open()


def test_a_place_that_was_not_wanted_is_offered_to_the_next():
    """A channel that was told of a place and no longer waits leaves it to the next one."""
    shares = ConnectionShares(4)
    busy, gone, following = (FakeChannel(shares) for _ in range(3))
    busy.fill()
    shares.stop_waiting("org_a", busy)
    assert not gone.open()
    assert not following.open()
    busy.end()

    shares.stop_waiting("org_a", gone)

    assert following.told == 1
    assert following.open()


def test_a_connection_without_a_request_is_given_to_a_channel_without_one():
    """A channel keeps an idle connection unless another channel of its organization has none at all."""
    shares = ConnectionShares(4)
    one, other = FakeChannel(shares), FakeChannel(shares)
    one.fill()
    assert not shares.must_give_idle("org_a")

    other.open()

    assert shares.must_give_idle("org_a")


def test_few_channels_are_asked_for_an_idle_connection():
    """A search for an idle connection asks few channels, however many there are, and goes on where the last one ended."""
    shares = ConnectionShares(2000)
    channels = [FakeChannel(shares) for _ in range(1000)]
    for channel in channels:
        assert channel.open()
    channels[500].busy, channels[500].idle = 0, 1
    late = FakeChannel(shares)

    searches = 0
    while not late.open():
        searches += 1

    assert searches == 500 // ASKED_MAX
    assert sum(one.asked for one in channels) == 501
