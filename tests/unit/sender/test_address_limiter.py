"""Who gets a place at an address, and when a request may start there; without connections, loop or clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.sender.address_limiter import PACE_BURST_S, AddressLimiter, AddressLimiters


class FakeHolder:
    """A channel, reduced to its idle connections."""

    def __init__(self, org_id: str = "org_a") -> None:
        self.org_id = org_id
        self.idle = 0
        self.told = 0

    def give_up_idle(self, limiter: AddressLimiter) -> bool:
        if not self.idle:
            return False
        self.idle -= 1
        limiter.leave(self.org_id, self)
        return True

    def find_room(self) -> None:
        self.told += 1


def fill(limiter: AddressLimiter, holder: FakeHolder) -> int:
    """Take as many places as there are for one channel; returns how many."""
    count = 0
    while limiter.enter(holder.org_id, holder):
        count += 1
    return count


@pytest.mark.parametrize(("places", "part"), [(2, 1), (3, 1), (4, 2), (100, 50), (2048, 1024)])
def test_an_organization_alone_gets_half(places, part):
    """An organization gets at most half of the places, however many channels it opens."""
    limiter = AddressLimiter("192.0.2.1", places, 0)

    assert fill(limiter, FakeHolder()) == part
    assert fill(limiter, FakeHolder()) == 0


@given(st.integers(2, 40), st.lists(st.sampled_from("abcdef"), max_size=200))
def test_nobody_is_shut_out(places, askers):
    """An organization without a connection at an address always gets one, however many others have connections."""
    limiter, holders = AddressLimiter("192.0.2.1", places, 0), {}
    for name in askers:
        holder = holders.setdefault(name, FakeHolder(name))
        got = limiter.enter(name, holder)
        assert got or holder in limiter.waiting[name].waiting
    late = FakeHolder("late")
    assert limiter.enter("late", late)


@given(st.integers(4, 64), st.integers(1, 8))
def test_places_are_bounded(places, organizations):
    """If all organizations take as much as they can, they get at most 1/2, 1/3 … of the places, in the order of arrival."""
    limiter = AddressLimiter("192.0.2.1", places, 0)

    taken = [fill(limiter, FakeHolder(f"org_{number}")) for number in range(organizations)]

    assert taken == [max(1, places // (number + 2)) for number in range(organizations)]


def test_idle_connections_give_way():
    """If an organization has its share of places, an idle connection of another channel is closed for the new one."""
    limiter = AddressLimiter("192.0.2.1", 4, 0)
    lazy, eager = FakeHolder(), FakeHolder()
    assert fill(limiter, lazy) == 2
    lazy.idle = 1

    assert limiter.enter("org_a", eager)
    assert lazy.idle == 0
    assert not limiter.enter("org_a", eager)


def test_the_one_that_waited_longest_is_told():
    """A free place is offered to each waiting organization, in the order of waiting."""
    limiter = AddressLimiter("192.0.2.1", 4, 0)
    busy, first, second = FakeHolder(), FakeHolder(), FakeHolder()
    fill(limiter, busy)
    for one in (first, second):
        assert not limiter.enter("org_a", one)

    assert list(limiter.waiting["org_a"].waiting) == [busy, first, second]
    limiter.stop_waiting("org_a", busy)
    limiter.leave("org_a", busy)
    assert (first.told, second.told) == (1, 0)
    limiter.leave("org_a", busy)
    assert (first.told, second.told) == (1, 1)
    for one in (first, second):
        assert limiter.enter("org_a", one)
        limiter.leave("org_a", one)
    assert limiter.empty


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "64:ff9b::c000:201", True),
        ("64:ff9b::c000:201", "64:ff9b::c000:202", False),
    ],
)
def test_what_counts_as_one_address(one, other, same):
    """Addresses of one IPv6 /64 share their places, and so do the spellings of an IPv4 address."""
    limiters = AddressLimiters(8)

    assert (limiters.at(one) is limiters.at(other)) is same


def test_requests_begin_no_faster_than_the_limit():
    """A burst is the rate of a tenth of a second; then requests start one by one, and one that would wait too long is rejected."""
    limiter = AddressLimiter("192.0.2.1", 10, 50)

    delays = [limiter.delay_s(100.0, 101.0) for _ in range(10)]

    burst = int(PACE_BURST_S * 50)
    assert delays[: burst + 1] == [0.0] * (burst + 1)
    assert delays[burst + 1 :] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert limiter.delay_s(100.0, 100.05) is None
    assert limiter.delay_s(100.0, 101.0) == pytest.approx(0.10), "the refused one took no turn"


def test_crowds_of_one_address_are_one():
    """All channels share the limiter of an address, and limiters of unused addresses are removed."""
    limiters = AddressLimiters(2)
    kept, holder = limiters.at("192.0.2.1"), FakeHolder()
    kept.enter("org_a", holder)
    for number in range(100):
        limiters.at(f"198.51.100.{number}")

    assert limiters.at("192.0.2.1") is kept
    assert len(limiters) <= 6
