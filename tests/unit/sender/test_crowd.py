"""Who gets a place at an address, and when a request may begin there: without connections, loop or clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.sender.crowd import PACE_BURST_S, Crowd, Crowds


class FakeHolder:
    """A channel, reduced to its idle connections."""

    def __init__(self, org_id: str = "org_a") -> None:
        self.org_id = org_id
        self.idle = 0
        self.told = 0

    def give_up_idle(self, crowd: Crowd) -> bool:
        if not self.idle:
            return False
        self.idle -= 1
        crowd.leave(self.org_id, self)
        return True

    def find_room(self) -> None:
        self.told += 1


def fill(crowd: Crowd, holder: FakeHolder) -> int:
    """Take as many places as there are for one channel; returns how many."""
    count = 0
    while crowd.enter(holder.org_id, holder):
        count += 1
    return count


@pytest.mark.parametrize(("places", "part"), [(2, 1), (3, 1), (4, 2), (100, 50), (2048, 1024)])
def test_an_organization_alone_gets_half(places, part):
    """However many channels it opens, one organization leaves half of the places to those who are yet to come."""
    crowd = Crowd("192.0.2.1", places, 0)

    assert fill(crowd, FakeHolder()) == part
    assert fill(crowd, FakeHolder()) == 0


@given(st.integers(2, 40), st.lists(st.sampled_from("abcdef"), max_size=200))
def test_nobody_is_shut_out(places, askers):
    """An organization that has no connection at an address always gets one, whoever came before it and in whatever number."""
    crowd, holders = Crowd("192.0.2.1", places, 0), {}
    for name in askers:
        holder = holders.setdefault(name, FakeHolder(name))
        got = crowd.enter(name, holder)
        assert got or holder in crowd.waiting[name]
    late = FakeHolder("late")
    assert crowd.enter("late", late)


@given(st.integers(4, 64), st.integers(1, 8))
def test_places_are_bounded(places, organizations):
    """Organizations that all take what they can get hold n parts of at most 1/2, 1/3 … of the places, in the order they came."""
    crowd = Crowd("192.0.2.1", places, 0)

    taken = [fill(crowd, FakeHolder(f"org_{number}")) for number in range(organizations)]

    assert taken == [max(1, places // (number + 2)) for number in range(organizations)]


def test_idle_connections_give_way():
    """Where an organization has all its places, a connection of another channel that carries nothing is closed for the new one."""
    crowd = Crowd("192.0.2.1", 4, 0)
    lazy, eager = FakeHolder(), FakeHolder()
    assert fill(crowd, lazy) == 2
    lazy.idle = 1

    assert crowd.enter("org_a", eager)
    assert lazy.idle == 0
    assert not crowd.enter("org_a", eager)


def test_the_one_that_waited_longest_is_told():
    """A place that becomes free is offered in the order of waiting, and to each organization that waits."""
    crowd = Crowd("192.0.2.1", 4, 0)
    busy, first, second = FakeHolder(), FakeHolder(), FakeHolder()
    fill(crowd, busy)
    for one in (first, second):
        assert not crowd.enter("org_a", one)

    assert list(crowd.waiting["org_a"]) == [busy, first, second]
    crowd.stop_waiting("org_a", busy)
    crowd.leave("org_a", busy)
    assert (first.told, second.told) == (1, 0)
    crowd.leave("org_a", busy)
    assert (first.told, second.told) == (1, 1)
    assert crowd.empty


def test_requests_begin_no_faster_than_the_limit():
    """A burst is a tenth of a second's worth; then one request each step, and who would wait too long is refused a turn."""
    crowd = Crowd("192.0.2.1", 10, 50)

    delays = [crowd.delay_s(100.0, 101.0) for _ in range(10)]

    burst = int(PACE_BURST_S * 50)
    assert delays[: burst + 1] == [0.0] * (burst + 1)
    assert delays[burst + 1 :] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert crowd.delay_s(100.0, 100.05) is None
    assert crowd.delay_s(100.0, 101.0) == pytest.approx(0.10), "the refused one took no turn"


def test_crowds_of_one_address_are_one():
    """All channels that connect to an address meet in one crowd, and addresses that nobody is at are forgotten."""
    crowds = Crowds(2)
    kept, holder = crowds.at("192.0.2.1"), FakeHolder()
    kept.enter("org_a", holder)
    for number in range(100):
        crowds.at(f"198.51.100.{number}")

    assert crowds.at("192.0.2.1") is kept
    assert len(crowds) <= 6
